#!/bin/sh
# Resolves the lock files: every distribution for every platform and Python that we support,
# with hashes. Needs uv. The result is plain pip format, so that nobody else needs it.
set -eu
cd "$(dirname "$0")/.."
resolve() {
    uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header "$@"
}
resolve --generate-hashes --extra dev --output-file packaging/requirements.lock pyproject.toml
resolve --extra dev --output-file packaging/constraints.txt pyproject.toml
