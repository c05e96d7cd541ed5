#!/bin/sh
# Writes dist/poolhand.rb: the formula for the source archive in dist/. URL names where it will be
# downloaded from; without it, the formula installs the file that lies here.
set -eu
cd "$(dirname "$0")/../.."
archive=$(find "$PWD/dist" -name 'poolhand-*.tar.gz' | sort | tail -n 1)
[ -n "$archive" ] || { echo "no source archive in dist/: make packages" >&2; exit 1; }
digest=$(sha256sum "$archive" | cut -d ' ' -f 1)
sed -e "s|@URL@|${URL:-file://$archive}|; s|@SHA256@|$digest|" packaging/homebrew/poolhand.rb >dist/poolhand.rb
echo "dist/poolhand.rb"
