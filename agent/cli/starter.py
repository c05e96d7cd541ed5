"""The text of a first configuration file, made for the machine that it lies on."""

from collections.abc import Iterator

from ...backends.hosts.base import HostFacts
from ...config.frozen import frozen
from ...config.paths import SCHEMA_FILE
from ...config.told import toml

GIB = 2**30

EXAMPLE_URL = "wss://coordinator.example/ws/provider"
"""Nobody answers there: ``config check`` says so until it is another."""

_SHARED_PART = 8
"""The part of a memory that people share with the models, kept for them: one eighth."""

_LEAST_SHARED_GIB, _OWN_GIB = 2.0, 0.5


@frozen
class Place:
    """What the text is made for.

    Attributes:
        url: The coordinator; empty if nobody said.
        disk_free_bytes: Where weights will lie; ``None`` if it could not be read.
    """

    url: str
    facts: HostFacts
    disk_free_bytes: int | None = None


def starter(place: Place) -> str:
    """The file: what most owners set, with what this machine suggests, and the rest as comments."""
    return "\n".join([*_head(place), *_who(place), *_what(place), *_bounds(place), ""])


def reserve_gib(facts: HostFacts) -> float:
    """Memory to keep for others: a part of what people share with models, little of boards' own."""
    if facts.kind == "nvidia" or facts.memory_total_bytes is None:
        return _OWN_GIB
    shared_gib = facts.memory_total_bytes / GIB / _SHARED_PART
    return max(_LEAST_SHARED_GIB, round(2 * shared_gib) / 2)


def _head(place: Place) -> Iterator[str]:
    facts = place.facts
    told = [facts.chip_name or facts.machine_model or f"a {facts.kind} machine"]
    if facts.memory_total_bytes is not None:
        told.append(f"{facts.memory_total_bytes / GIB:.0f} GiB of memory for models")
    boards = len(facts.gpus)
    told += [f"{boards} boards"] if boards > 1 else []
    yield f"#:schema ./{SCHEMA_FILE.name}"
    yield f"# poolhand's configuration, made for this machine: {', '.join(told)}."
    yield "#"
    yield "# A running agent reads it as soon as it is saved; an edit that does not hold changes"
    yield "# nothing. Every key and its default: poolhand config show --effective"
    yield "# Files in agent.d/*.toml beside this one are laid over it, by name."


def _who(place: Place) -> Iterator[str]:
    yield "\n[coordinator]"
    yield f"url = {toml(place.url or EXAMPLE_URL)}" + (
        "" if place.url else "  # whom this node calls"
    )
    yield '# token_file = "token"            # `poolhand login` stores a token there'
    yield "\n[pools]"
    yield '# assigned = "tiny"               # an alias or a model id; unset: the node chooses'
    yield '# allowed = ["tiny", "org/*"]     # nothing that comes over the line widens this'


def _what(place: Place) -> Iterator[str]:
    facts = place.facts
    yield "\n# What this machine may serve, one table a model."
    if facts.memory_total_bytes is not None:
        fits_gib = facts.memory_total_bytes / GIB - reserve_gib(facts)
        yield f"# Weights, context and engine may take {max(0.0, fits_gib):.0f} GiB together."
    yield "# [[models]]"
    yield '# id = "org/tiny-a"'
    yield '# aliases = ["tiny"]'
    yield '# ref = "s3://models/tiny-a"      # or gs://, ngc://, hf://org/name, https://, file:///'
    yield "\n# [stores.s3]"
    yield '# endpoint = "http://127.0.0.1:9000"   # leave it out for AWS'


def _bounds(place: Place) -> Iterator[str]:
    yield "\n[slots]"
    yield "max_model_slots = 1               # models in memory at once"
    yield "\n[memory]"
    yield f"reserve_gib = {reserve_gib(place.facts):<20}# never promised to a model"
    yield "\n[cache]"
    yield '# dir = "/path"                   # where weights lie; unset: the usual cache folder'
    free_gib = None if place.disk_free_bytes is None else place.disk_free_bytes // GIB
    if free_gib:
        half = max(1, free_gib // 2)
        yield f"# quota_gib = {half:<20}# most they may take; {free_gib} GiB are free here"
    yield "\n# [hours]"
    yield '# windows = ["mon-fri 22:00-07:00", "sat,sun 00:00-24:00"]   # unset: it always serves'
    if place.facts.kind == "apple":
        yield "\n# [owner]"
        yield '# yield_to = ["input", "battery"]   # step aside while somebody is at this Mac'
