_poolhand() {
    local path="poolhand" word words=""
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$word" in
            -*) ;;
            *) case " $(_poolhand_words "$path") " in
                *" $word "*) path="$path $word" ;;
               esac ;;
        esac
    done
    words="$(_poolhand_words "$path")"
    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
    case "${COMP_WORDS[COMP_CWORD-1]}" in
        --config|--state-dir|--checksums|--to|--output)
            COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")) ;;
    esac
}
_poolhand_words() {
    local found=""
    case "$1" in
        "poolhand") found="run status doctor models bench pool pin unpin drain undrain reload top logs config login logout service completion support-bundle engines dev version --help --version" ;;
        "poolhand run") found="--help --config --state-dir" ;;
        "poolhand status") found="--help --config --state-dir --json --watch --interval" ;;
        "poolhand doctor") found="--help --config --state-dir --json --offline --quiet" ;;
        "poolhand models") found="list fetch manifest show verify rm prune why pin unpin --help" ;;
        "poolhand models list") found="--help --config --state-dir --json" ;;
        "poolhand models fetch") found="--help --config --state-dir --json --to --metadata-only --checksums --no-verify --id --endpoint --connections --peer --peers-key --limit" ;;
        "poolhand models manifest") found="--help --config --state-dir --json --id --version" ;;
        "poolhand models show") found="--help --config --state-dir --json" ;;
        "poolhand models verify") found="--help --config --state-dir --json --to --repair" ;;
        "poolhand models rm") found="--help --config --state-dir --json" ;;
        "poolhand models prune") found="--help --config --state-dir --json" ;;
        "poolhand models why") found="--help --config --state-dir --json" ;;
        "poolhand models pin") found="--help --config --state-dir --json" ;;
        "poolhand models unpin") found="--help --config --state-dir --json" ;;
        "poolhand bench") found="--help --streams --seconds --json --config --state-dir" ;;
        "poolhand pool") found="status set release --help" ;;
        "poolhand pool status") found="--help --config --state-dir --json" ;;
        "poolhand pool set") found="--help --config --state-dir --json --no-wait --now" ;;
        "poolhand pool release") found="--help --config --state-dir --json" ;;
        "poolhand pin") found="--help --config --state-dir --json" ;;
        "poolhand unpin") found="--help --config --state-dir --json" ;;
        "poolhand drain") found="--help --config --state-dir --json --no-wait --deadline" ;;
        "poolhand undrain") found="--help --config --state-dir --json" ;;
        "poolhand reload") found="--help --config --state-dir --json" ;;
        "poolhand top") found="--help --config --state-dir --interval --json --once" ;;
        "poolhand logs") found="--help --config --state-dir --follow --lines --json" ;;
        "poolhand config") found="init check show get set diff schema --help" ;;
        "poolhand config init") found="--help --config --url --force" ;;
        "poolhand config check") found="--help --config --json" ;;
        "poolhand config show") found="--help --config --effective --json" ;;
        "poolhand config get") found="--help --config --json" ;;
        "poolhand config set") found="--help --config --json" ;;
        "poolhand config diff") found="--help --config --state-dir --json" ;;
        "poolhand config schema") found="--help --json" ;;
        "poolhand login") found="--help --config --keychain" ;;
        "poolhand logout") found="--help --config" ;;
        "poolhand service") found="install uninstall start stop restart status logs --help" ;;
        "poolhand service install") found="--help --system --user --gpu --no-gpu --config --run-as --root --dry-run --no-start" ;;
        "poolhand service uninstall") found="--help --system --user --gpu --no-gpu --config --run-as --root --dry-run" ;;
        "poolhand service start") found="--help --system --user --gpu --no-gpu --config --run-as --root" ;;
        "poolhand service stop") found="--help --system --user --gpu --no-gpu --config --run-as --root" ;;
        "poolhand service restart") found="--help --system --user --gpu --no-gpu --config --run-as --root" ;;
        "poolhand service status") found="--help --system --user --gpu --no-gpu --config --run-as --root --json" ;;
        "poolhand service logs") found="--help --system --user --gpu --no-gpu --config --run-as --root --follow --lines" ;;
        "poolhand completion") found="bash zsh fish --help" ;;
        "poolhand support-bundle") found="--help --config --state-dir --output --show --list --yes --json" ;;
        "poolhand engines") found="--help --config --json" ;;
        "poolhand dev") found="coordinator store demo model --help" ;;
        "poolhand version") found="--help" ;;
    esac
    echo "$found"
}
complete -F _poolhand poolhand
