#!/bin/sh
# Builds the wheel and runs it where nothing of this checkout is: a clean virtual environment
# that holds the wheel and what it requires, with the versions and hashes of the lock file.
set -eu
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --no-isolation --wheel --outdir "$work/dist" . >"$work/build.log" 2>&1 || {
    cat "$work/build.log" >&2
    exit 1
}
"$python" packaging/wheel_contents.py "$work"/dist/*.whl

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint packaging/constraints.txt "$work"/dist/*.whl
cd "$work"
"$work/venv/bin/poolhand" --version
"$work/venv/bin/python" - <<'PYTHON'
import importlib.util
import sys

for bare in ("agent", "backends", "config", "packaging"):
    assert importlib.util.find_spec(bare) is None or bare == "packaging", bare
from importlib.resources import files

assert [unit.name for unit in (files("poolhand") / "packaging" / "units").iterdir()]
sys.exit(0)
PYTHON
printf '[coordinator]\nurl = "ws://127.0.0.1:1/ws/provider"\n' >agent.toml
"$work/venv/bin/poolhand" config check --config agent.toml
printf '[coordinator]\nurl = "ws://127.0.0.1:1"\nheartbeat_intervall_s = 5\n' >bad.toml
code=0
"$work/venv/bin/poolhand" config check --config bad.toml 2>bad.txt || code=$?
[ "$code" = 78 ] || { echo "config check ended with $code, not 78" >&2; exit 1; }
code=0
"$work/venv/bin/poolhand" status --state-dir "$work/none" >/dev/null 2>&1 || code=$?
[ "$code" = 3 ] || { echo "status ended with $code, not 3" >&2; exit 1; }
echo "the installed wheel runs"
