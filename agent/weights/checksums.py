r"""Digests as ``sha256sum`` prints them, read into promises that a fetch is held to.

Both marks (text and binary), escaped names and the ``--tag`` form are understood. A line
that is none of them is an error, never skipped: a promise nobody reads protects nobody.

Source:
    GNU coreutils manual, "cksum output modes" and "md5sum": a leading backslash says that
    ``\\``, ``\n`` and ``\r`` in the name are escaped.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ...config.patterns import pattern

MAX_CHECKSUMS_BYTES = 16 * 2**20
"""A list of 100,000 files has about 10 MB; more than this is not read."""

_PLAIN = pattern(r"(\\?)([0-9A-Fa-f]{64}) [ *](.+)")
_TAGGED = pattern(r"(\\?)SHA256 \((.+)\) = ([0-9A-Fa-f]{64})")
_ESCAPE = pattern(r"\\(.?)")
_ESCAPED: Mapping[str, str] = MappingProxyType({"\\": "\\", "n": "\n", "r": "\r"})


class ChecksumsInvalid(ValueError):
    """A list of checksums cannot be believed; the text says why."""

    def __init__(self, *, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}" if line else problem)


def parse(data: bytes) -> dict[str, str]:
    """Read a list.

    Args:
        data: What ``sha256sum`` printed; empty lines and those that begin with ``#`` count
            for nothing.

    Returns:
        Relative name, without a leading ``./``, to sha256 in lower-case hex.

    Raises:
        ChecksumsInvalid: A line is none, one name has two digests, or there is no line.
    """
    if len(data) > MAX_CHECKSUMS_BYTES:
        raise ChecksumsInvalid(line=0, problem=f"it is longer than {MAX_CHECKSUMS_BYTES} bytes")
    found: dict[str, str] = {}
    for number, line in _lines(data):
        name, sha256 = _entry(line, number)
        if found.setdefault(name, sha256) != sha256:
            raise ChecksumsInvalid(line=number, problem=f"{name[:200]!r} has two digests")
    if not found:
        raise ChecksumsInvalid(line=0, problem="it names no file")
    return found


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ChecksumsInvalid(line=0, problem="it is no UTF-8 text") from error
    # not splitlines(): a name may hold any character that it takes for a line's end
    for number, line in enumerate(text.split("\n"), 1):
        kept = line.removesuffix("\r")
        if kept.strip() and not kept.startswith("#"):
            yield number, kept


def _entry(line: str, number: int) -> tuple[str, str]:
    if plain := _PLAIN.fullmatch(line):
        mark, sha256, name = plain.groups()
    elif tagged := _TAGGED.fullmatch(line):
        mark, name, sha256 = tagged.groups()
    else:
        raise ChecksumsInvalid(line=number, problem="it is not what sha256sum prints")
    if mark:
        name = _ESCAPE.sub(lambda found: _unescaped(found[1], number), name)
    return name.removeprefix("./"), sha256.lower()


def _unescaped(letter: str, number: int) -> str:
    try:
        return _ESCAPED[letter]
    except KeyError:
        raise ChecksumsInvalid(line=number, problem="it has an unknown escape") from None
