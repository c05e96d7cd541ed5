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
    local words=""
    case "$1" in
        "poolhand") words="run status doctor models bench pool pin unpin drain undrain reload top logs config login logout service completion support-bundle engines dev version --help --version" ;;
        "poolhand run") words="--help --config --state-dir" ;;
        "poolhand status") words="--help --config --state-dir --json --watch --interval" ;;
        "poolhand doctor") words="--help --config --state-dir --json --offline --quiet" ;;
        "poolhand models") words="list fetch manifest show verify rm prune why pin unpin --help" ;;
        "poolhand models list") words="--help --config --state-dir --json" ;;
        "poolhand models fetch") words="--help --config --state-dir --json --to --metadata-only --checksums --no-verify --id --endpoint --connections --peer --peers-key --limit" ;;
        "poolhand models manifest") words="--help --config --state-dir --json --id --version" ;;
        "poolhand models show") words="--help --config --state-dir --json" ;;
        "poolhand models verify") words="--help --config --state-dir --json --to --repair" ;;
        "poolhand models rm") words="--help --config --state-dir --json" ;;
        "poolhand models prune") words="--help --config --state-dir --json" ;;
        "poolhand models why") words="--help --config --state-dir --json" ;;
        "poolhand models pin") words="--help --config --state-dir --json" ;;
        "poolhand models unpin") words="--help --config --state-dir --json" ;;
        "poolhand bench") words="--help --streams --seconds --json --config --state-dir" ;;
        "poolhand pool") words="status set release --help" ;;
        "poolhand pool status") words="--help --config --state-dir --json" ;;
        "poolhand pool set") words="--help --config --state-dir --json --no-wait --now" ;;
        "poolhand pool release") words="--help --config --state-dir --json" ;;
        "poolhand pin") words="--help --config --state-dir --json" ;;
        "poolhand unpin") words="--help --config --state-dir --json" ;;
        "poolhand drain") words="--help --config --state-dir --json --no-wait --deadline" ;;
        "poolhand undrain") words="--help --config --state-dir --json" ;;
        "poolhand reload") words="--help --config --state-dir --json" ;;
        "poolhand top") words="--help --config --state-dir --interval --json --once" ;;
        "poolhand logs") words="--help --config --state-dir --follow --lines --json" ;;
        "poolhand config") words="init check show get set diff schema --help" ;;
        "poolhand config init") words="--help --config --url --force" ;;
        "poolhand config check") words="--help --config --json" ;;
        "poolhand config show") words="--help --config --effective --json" ;;
        "poolhand config get") words="--help --config --json" ;;
        "poolhand config set") words="--help --config --json" ;;
        "poolhand config diff") words="--help --config --state-dir --json" ;;
        "poolhand config schema") words="--help --json" ;;
        "poolhand login") words="--help --config --keychain" ;;
        "poolhand logout") words="--help --config" ;;
        "poolhand service") words="install uninstall start stop restart status logs --help" ;;
        "poolhand service install") words="--help --system --user --gpu --no-gpu --config --run-as --root --dry-run --no-start" ;;
        "poolhand service uninstall") words="--help --system --user --gpu --no-gpu --config --run-as --root --dry-run" ;;
        "poolhand service start") words="--help --system --user --gpu --no-gpu --config --run-as --root" ;;
        "poolhand service stop") words="--help --system --user --gpu --no-gpu --config --run-as --root" ;;
        "poolhand service restart") words="--help --system --user --gpu --no-gpu --config --run-as --root" ;;
        "poolhand service status") words="--help --system --user --gpu --no-gpu --config --run-as --root --json" ;;
        "poolhand service logs") words="--help --system --user --gpu --no-gpu --config --run-as --root --follow --lines" ;;
        "poolhand completion") words="bash zsh fish --help" ;;
        "poolhand support-bundle") words="--help --config --state-dir --output --show --list --yes --json" ;;
        "poolhand engines") words="--help --config --json" ;;
        "poolhand dev") words="coordinator store demo model --help" ;;
        "poolhand version") words="--help" ;;
    esac
    echo "$words"
}
complete -F _poolhand poolhand
