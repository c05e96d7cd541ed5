#!/bin/sh
# What the checks of units, scripts and packages use, from Debian, by name. Where it cannot be
# had, those checks say so and are skipped: nothing here fails.
set -eu
missing=
for pair in systemd-analyze:systemd dpkg-deb:dpkg shellcheck:shellcheck unshare:util-linux dbus-daemon:dbus; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
# with it a user's own systemd comes up, where the .deb is tried
[ -e /usr/share/doc/libpam-systemd ] || [ ! -d /usr/share/doc/systemd ] || missing="$missing libpam-systemd"
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not here, and not ours to install:$missing"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # a list of names
if ! (timeout 30 apt-get update -qq && timeout 60 apt-get install -qq -y --no-install-recommends $missing) >/dev/null 2>&1; then
    echo "not here, and Debian's packages are out of reach:$missing"
fi
