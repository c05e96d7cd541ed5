#!/bin/sh
# Builds the wheel and the source archive, each twice, and ends with 1 if two builds of one state
# of the source differ in a byte. The result lies in dist/, or in the folder that is named.
set -eu
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
out=${1:-dist}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=$(sh packaging/epoch.sh)
export SOURCE_DATE_EPOCH
build() { # turn, umask, time zone: neither may show
    for kind in wheel sdist; do
        (umask "$2" && TZ=$3 "$python" -m hatchling build --target "$kind" \
            --directory "$work/$1" >"$work/log" 2>&1) || {
            cat "$work/log" >&2
            exit 1
        }
    done
}
build first 022 UTC
build second 077 UTC-9
(cd "$work/first" && sha256sum ./*) >"$work/sums"
(cd "$work/second" && sha256sum --check --quiet --strict "$work/sums") || {
    echo "two builds of the same source differ" >&2
    exit 1
}
mkdir -p "$out"
cp "$work"/first/* "$out/"
sed 's|\./||' "$work/sums"
