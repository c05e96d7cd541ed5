#!/bin/sh
# Makes .venv, with everything that the tests and the demo need, out of the lock file.
# Needs Python 3.11 or newer and nothing else; takes uv where it is there. Run again, it looks
# at a stamp and is done in a moment.
set -eu
cd "$(dirname "$0")/.."

lock=packaging/requirements.lock
venv=${POOLHAND_VENV:-.venv}
stamp="$venv/.poolhand-stamp"

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    if command -v "$candidate" >/dev/null 2>&1 && usable "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    found=$(python3 --version 2>&1 || echo "no python3 at all")
    echo "poolhand needs Python 3.11 or newer; found: $found." >&2
    echo "Install a newer one, or name it: make PYTHON=/path/to/python3.12 test" >&2
    exit 1
fi

version=$("$python" -c 'import sys; print(sys.version)')
# the checkout's place counts too: an editable install points to it
want=$( (pwd; echo "$version"; cat pyproject.toml "$lock") | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
    exit 0
fi

echo "poolhand: making $venv (once; a minute or two)"
rm -rf "$venv"
if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --python "$python" "$venv"
    VIRTUAL_ENV="$PWD/$venv" uv pip install --quiet --compile-bytecode --require-hashes --requirement "$lock"
    VIRTUAL_ENV="$PWD/$venv" uv pip install --quiet --no-deps --no-build-isolation --editable .
else
    if ! "$python" -m venv "$venv"; then
        echo "This Python cannot make virtual environments." >&2
        echo "On Debian and Ubuntu: apt install python3-venv. Or install uv, which needs nothing." >&2
        exit 1
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes --requirement "$lock"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-deps --no-build-isolation --editable .
fi
# a start compiles nothing then, also where Python is told to write no bytecode
"$venv/bin/python" -m compileall -q agent backends config
echo "$want" >"$stamp"
