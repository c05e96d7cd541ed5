#!/bin/sh
# Builds dist/poolhand_VERSION_ARCH.deb with Debian's own tools: everything that the agent
# imports lies in /usr/lib/poolhand, so that the installation needs no network.
#
#   EXTRAS   what comes along (default: what a GPU host or a trial on the CPU wants)
#   OUT      another file
#   LEVEL    how hard to compress, 0 to 9
#   PYTHON   the Python of the target system (default: /usr/bin/python3)
set -eu
cd "$(dirname "$0")/../.."
extras=${EXTRAS:-s3,gs,cuda,mlx}
python=${PYTHON:-/usr/bin/python3}
pip=$PWD/.venv/bin/python

for tool in dpkg-deb dpkg "$python" "$pip"; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: not built" >&2; exit 3; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
home=$root/usr/lib/poolhand

SOURCE_DATE_EPOCH=$(sh packaging/epoch.sh)
export SOURCE_DATE_EPOCH
umask 022
version=$("$pip" -c 'import poolhand; print(poolhand.__version__)')
arch=$(dpkg --print-architecture)
minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next=$("$python" -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')

"$pip" -m build --no-isolation --wheel --outdir "$work/dist" . >"$work/build.log" 2>&1 || {
    cat "$work/build.log" >&2
    exit 1
}
"$pip" packaging/closure.py --extras "$extras" --python "$python" >"$work/needed.lock"
"$python" -m venv --without-pip "$home"
"$pip" -m pip --python "$home/bin/python" install --quiet --disable-pip-version-check --no-compile \
    --no-deps --only-binary :all: --require-hashes --requirement "$work/needed.lock"
"$pip" -m pip --python "$home/bin/python" install --quiet --disable-pip-version-check --no-compile \
    --no-deps "$work"/dist/*.whl

# one command, with the place where it will lie; nothing that remembers where it was built
site=$home/lib/python$minor/site-packages
find "$home/bin" -mindepth 1 ! -name 'python*' ! -name poolhand -delete
sed -i "1s|.*|#!/usr/lib/poolhand/bin/python|" "$home/bin/poolhand"
sed -i '/^command = /d' "$home/pyvenv.cfg"
find "$site" -name direct_url.json -delete
find "$site" -path '*.dist-info/RECORD' -delete
find "$site" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
find "$site" -name __pycache__ -prune -exec rm -rf {} +
"$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$root" "$site" >/dev/null || true

install -d "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/usr/share/doc/poolhand" "$root/DEBIAN"
ln -s ../lib/poolhand/bin/poolhand "$root/usr/bin/poolhand"
for unit in poolhand.service poolhand-gpu.service; do
    sed 's|^ExecStart=/usr/bin/env poolhand |ExecStart=/usr/bin/poolhand |' "packaging/units/$unit" \
        >"$root/usr/lib/systemd/system/$unit"
done
cp packaging/deb/agent.toml "$root/usr/share/doc/poolhand/agent.toml"
cp packaging/deb/copyright "$root/usr/share/doc/poolhand/copyright"
gzip -9nc CHANGELOG.md >"$root/usr/share/doc/poolhand/changelog.gz"
install -D -m 644 -t "$root/usr/share/doc/poolhand/observability" packaging/observability/*
install -d "$root/usr/share/man/man1"
gzip -9nc packaging/man/poolhand.1 >"$root/usr/share/man/man1/poolhand.1.gz"
words=agent/cli/completions/poolhand
install -D -m 644 "$words.bash" "$root/usr/share/bash-completion/completions/poolhand"
install -D -m 644 "$words.zsh" "$root/usr/share/zsh/vendor-completions/_poolhand"
install -D -m 644 "$words.fish" "$root/usr/share/fish/vendor_completions.d/poolhand.fish"
for script in postinst prerm postrm; do
    install -m 755 "packaging/deb/$script" "$root/DEBIAN/$script"
done
size=$(du -sk --apparent-size "$root" | cut -f1)
sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" \
    -e "s/@PYTHON@/python3 (>= $minor), python3 (<< $next), libpython$minor-stdlib/" \
    packaging/deb/control >"$root/DEBIAN/control"
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"

find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
out=${OUT:-dist/poolhand_${version}_$arch.deb}
mkdir -p "$(dirname "$out")"
dpkg-deb --root-owner-group -Zxz -z"${LEVEL:-6}" --build "$root" "$out" >/dev/null
ls -l "$out"
