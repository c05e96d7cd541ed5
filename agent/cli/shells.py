"""What a shell needs to complete our words, made from the parser when the pages are written."""

from collections.abc import Iterator, Mapping

from .words import Words


def bash(tree: Mapping[str, Words]) -> str:
    """A function that looks at the words before the cursor."""
    cases = "\n".join(
        f'        "{path}") words="{" ".join([*found.below, *found.options])}" ;;'
        for path, found in tree.items()
    )
    return _BASH.replace("@CASES@", cases)


def zsh(tree: Mapping[str, Words]) -> str:
    """The same by zsh's own emulation of bash's completion."""
    return f"#compdef poolhand\nautoload -U +X bashcompinit && bashcompinit\n{bash(tree)}"


def fish(tree: Mapping[str, Words]) -> str:
    """One line for each word and each option."""
    return "\n".join(["complete -c poolhand -f", *_fish(tree)]) + "\n"


def _fish(tree: Mapping[str, Words]) -> Iterator[str]:
    for path, found in tree.items():
        verbs = path.split()[1:]
        seen = "; and ".join(f"__fish_seen_subcommand_from {verb}" for verb in verbs)
        none = "" if not found.below else _none_of(found.below)
        when = "; and ".join(part for part in (seen, none) if part) or "true"
        for word, what in found.below.items():
            yield f"complete -c poolhand -n '{when}' -a {word} -d {_quoted(what)}"
        for option, what in found.options.items():
            flag = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            yield f"complete -c poolhand -n '{seen or 'true'}' {flag} -d {_quoted(what)}"


def _none_of(words: Mapping[str, str]) -> str:
    return f"not __fish_seen_subcommand_from {' '.join(words)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_BASH = """\
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
@CASES@
    esac
    echo "$words"
}
complete -F _poolhand poolhand
"""
