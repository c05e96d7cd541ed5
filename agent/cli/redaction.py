"""Takes out of a text what must not leave a machine: secrets by value and by shape.

What is known is taken out wherever it stands; what only looks like a secret, by its name or its
form, is taken out too. It errs on the side of too much.
"""

import re
from collections.abc import Iterable, Mapping

GONE = "[redacted]"

SHORTEST = 6
"""Shorter values are no secrets, and would take words out of sentences."""

_NAMES = r"token|secret|passw(?:or)?d|passphrase|api_?key|access_?key|private_?key|credential"

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL), GONE),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w+/=.~-]{6,}"), rf"\1 {GONE}"),
    (re.compile(r"://[^/\s:@\"']+:[^/\s@\"']+@"), f"://{GONE}@"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), GONE),
    (re.compile(r"\b(?:hf|ghp|gho|nvapi|sk|pk|xox[a-z])[-_][A-Za-z0-9_-]{12,}"), GONE),
    (re.compile(r"\bey[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*"), GONE),
    (re.compile(r"(?i)([?&](?:x-amz-\w+|sig\w*|token|key|se|sp)=)[^&\s\"']+"), rf"\1{GONE}"),
    (
        re.compile(
            rf"(?im)^(\s*[\"']?[\w.-]*(?:{_NAMES})[\w.-]*?[\"']?\s*[=:]\s*)"
            r"(?!\s*(?:null|none|true|false|\d+(?:\.\d+)?)\b)([\"']?)[^\s\"',}#]+"
        ),
        rf"\1\2{GONE}",
    ),
)

_POINTERS = re.compile(r"(?im)^\s*[\"']?[\w.]*_(?:file|env|credential|keychain)[\"']?\s*[=:].*$")
"""Keys that say where a secret is and not what it is; a person needs them to help."""


def redacted(text: str, secrets: Iterable[str] = (), home: str = "") -> str:
    """The text without secrets.

    Args:
        text: Any.
        secrets: Values that are known; each is taken out wherever it stands.
        home: The user's folder, which becomes ``~``; empty: left as it is.
    """
    for value in sorted(set(secrets), key=len, reverse=True):
        if len(value) >= SHORTEST:
            text = text.replace(value, GONE)
    kept: list[str] = []

    def keep(found: "re.Match[str]") -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    text = _POINTERS.sub(keep, text.replace("\0", ""))
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    text = re.sub(r"\0(\d+)\0", lambda found: kept[int(found[1])], text)
    return text.replace(home, "~") if len(home) > 1 else text


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    """Values of variables whose names say that they are secrets."""
    named = re.compile(_NAMES, re.IGNORECASE)
    return {value for name, value in environ.items() if named.search(name) and value}
