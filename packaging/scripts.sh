#!/bin/sh
# Holds every shell script of ours to shellcheck, where it is here.
set -eu
cd "$(dirname "$0")/.."
if ! command -v shellcheck >/dev/null 2>&1; then
    echo "shellcheck is not here: the scripts are not looked at"
    exit 0
fi
shellcheck packaging/*.sh packaging/*/*.sh packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm .ci/run
echo "the scripts are clean"
