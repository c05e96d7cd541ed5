#!/bin/sh
# Installs poolhand the way this machine installs things, and says which command does it: a .deb
# with apt, a formula with Homebrew, else a virtual environment of its own. It does nothing that
# those commands do not do; --dry-run prints them.
#
#   sh install.sh [--dry-run] [FILE.deb | FILE.rb | FILE.whl | NAME]
set -eu

dry=
what=
for word in "$@"; do
    case $word in
    --dry-run) dry=yes ;;
    -*) echo "usage: install.sh [--dry-run] [FILE.deb | FILE.rb | FILE.whl | NAME]" >&2; exit 2 ;;
    *) what=$word ;;
    esac
done

do_it() {
    echo "+ $*"
    [ -n "$dry" ] || "$@"
}
has() { command -v "$1" >/dev/null 2>&1; }

case $what in
*.deb)
    has apt-get || { echo "a .deb needs Debian or one of its kin" >&2; exit 1; }
    case $what in /*) ;; *) what=$PWD/$what ;; esac
    if [ "$(id -u)" = 0 ]; then do_it apt-get install -y "$what"; else do_it sudo apt-get install -y "$what"; fi
    ;;
*.rb)
    has brew || { echo "a formula needs Homebrew" >&2; exit 1; }
    do_it brew install --formula "$what"
    ;;
*)
    python=
    for candidate in python3.13 python3.12 python3.11 python3; do
        if has "$candidate" && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || { echo "poolhand needs Python 3.11 or newer" >&2; exit 1; }
    if [ "$(id -u)" = 0 ]; then
        home=/opt/poolhand bin=/usr/local/bin
    else
        home=${XDG_DATA_HOME:-$HOME/.local/share}/poolhand/venv bin=$HOME/.local/bin
    fi
    do_it "$python" -m venv "$home"
    do_it "$home/bin/pip" install --upgrade "${what:-poolhand}[default]"
    do_it mkdir -p "$bin"
    do_it ln -sf "$home/bin/poolhand" "$bin/poolhand"
    case :$PATH: in *":$bin:"*) ;; *) echo "$bin is not in PATH: add it, or type $bin/poolhand" ;; esac
    ;;
esac
echo "next: poolhand --help, and docs/first-node.md"
