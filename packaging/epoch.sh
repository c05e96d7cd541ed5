#!/bin/sh
# The moment that a build bears: SOURCE_DATE_EPOCH if it is set, else the last commit's, else the
# changelog's. Two builds of one state of the source then give the same bytes.
set -eu
cd "$(dirname "$0")/.."
if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
    echo "$SOURCE_DATE_EPOCH"
else
    git log -1 --format=%ct 2>/dev/null || date -r CHANGELOG.md +%s
fi
