"""What a shell needs to complete our words, made from the parser when the pages are written."""

from collections.abc import Iterator, Mapping

from .words import Words


def bash(tree: Mapping[str, Words]) -> str:
    """A function that looks at the words before the cursor."""
    return _BASH + _words(tree) + "complete -F _poolhand poolhand\n"


def zsh(tree: Mapping[str, Words]) -> str:
    """The same in zsh's own manner: it lies on ``fpath``, or is sourced."""
    return _ZSH + _words(tree) + _ZSH_END


def _words(tree: Mapping[str, Words]) -> str:
    """A function that both shells read: what may stand after these verbs."""
    cases = (
        f'        "{path}") found="{" ".join([*found.below, *found.options])}" ;;'
        for path, found in tree.items()
    )
    inner = "\n".join(['    local found=""', '    case "$1" in', *cases, "    esac"])
    return f'_poolhand_words() {{\n{inner}\n    echo "$found"\n}}\n'


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
"""

_ZSH = """\
#compdef poolhand
_poolhand() {
    local at="poolhand" word
    local -a known
    for word in "${(@)words[2,CURRENT-1]}"; do
        known=(${=$(_poolhand_words "$at")})
        if [[ $word != -* ]] && (( ${known[(Ie)$word]} )); then at="$at $word"; fi
    done
    case "${words[CURRENT-1]}" in
        --config|--state-dir|--checksums|--to|--output) _files ;;
        *) known=(${=$(_poolhand_words "$at")}); compadd -- "${known[@]}" ;;
    esac
}
"""

_ZSH_END = """\
if [[ "${funcstack[1]}" == _poolhand ]]; then _poolhand "$@"; else compdef _poolhand poolhand; fi
"""
