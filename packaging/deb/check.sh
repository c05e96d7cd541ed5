#!/bin/sh
# Installs, starts, crashes, upgrades and purges the package under a systemd of its own: PID 1 of
# new namespaces, over a copy of this machine's root that is thrown away. Nothing of the machine is
# written. DEB names one that is built already. Where that is not allowed, it says so and ends with 0; with --strict, with 3.
set -eu
cd "$(dirname "$0")/../.."
skip() {
    echo "the package is not tried: $1"
    [ "${strict:-}" = yes ] && exit 3
    exit 0
}
[ "${1:-}" = --strict ] && strict=yes
if [ "$(uname -s)" != Linux ] || [ "$(id -u)" != 0 ]; then skip "it needs root on Linux"; fi
for tool in dpkg-deb unshare systemctl /lib/systemd/systemd /usr/bin/python3 dbus-daemon; do
    command -v "$tool" >/dev/null 2>&1 || skip "$tool is not here"
done
/usr/bin/python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' || skip "Debian's Python is too old"
unshare --fork --pid --mount --uts --ipc --cgroup --propagation private true 2>/dev/null || skip "no namespaces"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/root" "$work/out"
if [ -n "${DEB:-}" ]; then
    cp "$DEB" "$work/out/poolhand.deb"
else
    EXTRAS=${EXTRAS:-s3,gs,cuda} LEVEL=0 OUT=$work/out/poolhand.deb sh packaging/deb/build.sh \
        >"$work/build.log" 2>&1 || {
        cat "$work/build.log" >&2
        exit 1
    }
fi
cp packaging/deb/trial.sh "$work/out/trial.sh"

# a younger one of the same bytes, to upgrade to
dpkg-deb -R "$work/out/poolhand.deb" "$work/younger"
sed -i 's/^Version: .*/&+1/' "$work/younger/DEBIAN/control"
dpkg-deb --root-owner-group -Znone --build "$work/younger" "$work/out/younger.deb" >/dev/null

cat >"$work/stage.sh" <<'STAGE'
set -e
work=$1 root=$1/root
mount -t tmpfs tmpfs "$root"
mkdir "$root/up" "$root/work" "$root/r"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/up,workdir=$root/work" "$root/r"
root=$root/r
for hidden in tmp run root home; do mount -t tmpfs tmpfs "$root/$hidden"; done
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
: >"$root/run/console"
mount --bind "$root/run/console" "$root/dev/console"
mount --bind "$work/out" "$root/mnt"
units=$root/etc/systemd/system
rm -rf "$units"/*.wants "$root/etc/machine-id"
: >"$root/etc/machine-id"
# what would prepare a machine prepares none here
for unit in systemd-tmpfiles-setup systemd-tmpfiles-setup-dev systemd-udevd systemd-udev-trigger \
    systemd-sysctl systemd-modules-load systemd-remount-fs systemd-firstboot; do
    ln -sf /dev/null "$units/$unit.service"
done
cat >"$units/trial.service" <<'UNIT'
[Unit]
After=basic.target dbus.service
Wants=dbus.service
[Service]
Type=oneshot
TimeoutStartSec=400
ExecStart=/bin/sh -c '/bin/sh -eux /mnt/trial.sh >/mnt/log 2>&1; echo $? >/mnt/code; systemctl poweroff --force --force'
UNIT
mkdir "$root/run/old"
cd "$root"
pivot_root . run/old
umount -l /run/old
# as the kernel hands it over to a first process: systemd brings credentials in by mounts that spread
mount --make-rshared /
container=poolhand exec /lib/systemd/systemd --system --log-target=console --unit=trial.service
STAGE
timeout --kill-after=5 460 unshare --kill-child --fork --pid --mount --uts --ipc --cgroup --propagation private \
    sh "$work/stage.sh" "$work" >"$work/stage.log" 2>&1 || true
if [ ! -e "$work/out/log" ]; then
    tail -n 5 "$work/stage.log"
    skip "systemd did not come up in namespaces of its own"
fi
if [ "$(cat "$work/out/code" 2>/dev/null)" != 0 ]; then
    cat "$work/out/log" >&2
    exit 1
fi
grep '^== ' "$work/out/log"
