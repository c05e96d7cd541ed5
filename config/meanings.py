"""What each key means, in words that pages, the schema and a new file share.

The words stand where the key is defined, under ``Attributes:`` of its table's docstring; the
few that would only repeat a name there are here.
"""

import inspect
import re
from collections.abc import Mapping
from types import MappingProxyType

from .problems import dotted
from .settings import Section

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "_bytes_per_s": "bytes a second",
        "_mib_s": "MiB a second",
        "_s": "seconds",
        "_days": "days",
        "_bytes": "bytes",
        "_gib": "GiB",
        "_tokens": "tokens",
    }
)
"""What the end of a key's name says of its value."""

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "coordinator.heartbeat_interval_s": "From one heartbeat to the next.",
        "coordinator.pong_timeout_s": "How long a ping may go unanswered.",
        "coordinator.dial_timeout_s": "How long opening a line may take.",
        "slots.max_model_slots": "Models in memory at once.",
        "models.ref": "Where its weights live: `s3://bucket/prefix`, `file:///path`, …",
        "stores.s3.region": "Unset: what the environment or the AWS profile says.",
        "cache.dir": "Where weights lie; unset: the platform's cache folder.",
        "log.level": "The least that is written to standard error.",
        "log.format": "`auto`: text on a terminal, JSON elsewhere.",
    }
)
"""Meanings of keys that their tables' docstrings leave to the name, or say for programmers."""


def unit(key: str) -> str:
    """The unit that a key's name bears; empty if it bears none."""
    return next((word for end, word in UNITS.items() if key.endswith(end)), "")


def purpose(section: type[Section]) -> str:
    """What a table is for: the first sentence of its docstring, after the table's name."""
    said = inspect.getdoc(section) or ""
    words = said.split("\n\n")[0].replace("\n", " ").partition(": ")[2]
    return _inline(words[:1].upper() + words[1:])


def meanings(section: type[Section], at: tuple[str, ...]) -> Mapping[str, str]:
    """What each key of a table means; one that is said nowhere is missing.

    Args:
        section: The table.
        at: Its path, such as ``("stores", "s3")``.
    """
    block = (inspect.getdoc(section) or "").partition("Attributes:\n")[2]
    found = re.findall(r"(?ms)^    (\w+): (.*?)(?=^    \w+: |\Z)", block)
    said = {name: _inline(" ".join(words.split())) for name, words in found}
    ours = {name: WORDS.get(dotted((*at, name))) for name in section.model_fields}
    return said | {name: words for name, words in ours.items() if words}


def _inline(text: str) -> str:
    """Docstring markup as Markdown."""
    text = re.sub(r":class:`~?[\w.]*\.(\w+)`", r"`\1`", text)
    return text.replace("``", "`")
