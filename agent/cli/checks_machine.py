"""Checks of the machine: its limits, its memory, its boards, its engines."""

import platform
import resource
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ...backends.engines.catalog import choice
from ...backends.engines.survey import EngineReport, survey
from ...backends.hosts.base import HostFacts, HostSample
from ...backends.hosts.catalog import probe_for
from ...backends.hosts.cgroups import memory_room
from ...backends.stores.base import Stock
from ...config.settings import ModelEntry
from ..core import admission
from ..core.admission import GIB
from ..core.shape import ModelShape
from .checks_disk import stocks_of
from .checks_told import Finding, Ground, fail, ok, skipped, warn
from .render import items, size, table

LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "limits.files": "enough files may be open at once",
        "limits.cores": "a crash leaves no memory, and so no prompt, on the disk",
    }
)
ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "limits.memory": "how much memory the control groups leave",
        "memory.fits": "each model fits into the memory that is free now, by the load gate's rule",
        "engine.available": "the engine that each model gets can run here",
    }
)
_FEW_FILES, _LOW_FILES = 256, 1024
"""A fetch has up to 64 connections, a request two or three files; our choice."""


def limits(ground: Ground) -> Iterator[Finding]:
    """Look at the limits of the running agent, else at those that this user would start it with."""
    yield _files(ground)
    yield _cores(ground)


def look(ground: Ground) -> Iterator[Finding]:
    """Read the machine as the agent does; may take seconds on a Mac."""
    probe = probe_for(ground.platform, platform.machine(), root=ground.root)
    facts, sample = probe.facts(), probe.sample()
    yield _groups(ground, facts)
    yield from _memory(ground, sample)
    yield from _engines(ground, facts)


def _limit(ground: Ground, words: str, number: int) -> tuple[int | None, str]:
    """A limit, ``None`` for none, and whose it is."""
    if ground.pid is not None:
        try:
            text = (ground.root / "proc" / str(ground.pid) / "limits").read_text()
        except OSError:
            text = ""
        for line in text.splitlines():
            if line.startswith(words):
                soft = line.removeprefix(words).split()[0]
                return (int(soft) if soft.isdecimal() else None), "the agent"
    soft_limit = resource.getrlimit(number)[0]
    is_endless = soft_limit == resource.RLIM_INFINITY
    return (None if is_endless else soft_limit), "this shell"


def _files(ground: Ground) -> Finding:
    most, whose = _limit(ground, "Max open files", resource.RLIMIT_NOFILE)
    if most is not None and most < _LOW_FILES:
        told = fail if most < _FEW_FILES else warn
        cause = f"{whose} may have {most} files open"
        return told("limits.files", cause, "Raise it: LimitNOFILE= in the unit, or `ulimit -n`.")
    return ok("limits.files", f"{whose} may have {most or 'any number of'} files open")


def _cores(ground: Ground) -> Finding:
    if not ground.runs:
        return skipped("limits.cores", "no agent runs; it forbids core dumps when it starts")
    most, whose = _limit(ground, "Max core file size", resource.RLIMIT_CORE)
    if whose != "the agent":
        return skipped("limits.cores", "this system does not show another process's limits")
    if most != 0:
        cause = "the agent may leave its memory on the disk when it crashes"
        return fail("limits.cores", cause, "Restart the agent; look who changed its limits.")
    return ok("limits.cores", "the agent leaves no core dumps")


def _groups(ground: Ground, facts: HostFacts) -> Finding:
    if ground.platform != "linux":
        return skipped("limits.memory", "there are no control groups on this system")
    # a limit that is beyond any machine limits nothing
    room = memory_room(ground.root, total_bytes=2**62)
    if room is None or room.limit_bytes >= (facts.memory_total_bytes or 2**62) * 4:
        return ok("limits.memory", "no control group bounds it")
    told = f"{size(room.available_bytes)} left of a limit of {size(room.limit_bytes)}"
    if room.available_bytes < GIB:
        return warn("limits.memory", told, "Raise the group's limit, or stop what else is in it.")
    return ok("limits.memory", told)


def _memory(ground: Ground, sample: HostSample) -> Iterator[Finding]:
    entries = ground.settings.models
    if not entries:
        yield skipped("memory.fits", "no model is offered")
    loaded = {table(one).get("model") for one in items(ground.status.get("slots"))}
    for entry, stock in zip(entries, stocks_of(ground), strict=True):
        if entry.is_elsewhere:
            yield skipped("memory.fits", "somebody else runs it", entry.id)
        elif entry.id in loaded:
            yield ok("memory.fits", "it is in memory, or on its way", entry.id)
        else:
            yield _fits(ground, entry, stock, sample)


def _fits(ground: Ground, entry: ModelEntry, stock: Stock, sample: HostSample) -> Finding:
    memory = ground.settings.memory
    if sample.memory_available_bytes is None or sample.memory_total_bytes is None:
        return warn("memory.fits", "this machine's memory cannot be read", "See the log.", entry.id)
    build = stock.build
    weights_bytes = stock.size_bytes if build is None else build.weights_bytes
    if weights_bytes is None:
        return skipped("memory.fits", "its size is not known before it was listed once", entry.id)
    most = min(memory.kv_context_tokens, entry.context_tokens or memory.kv_context_tokens)
    shape = None if build is None else ModelShape.from_config(build.config)
    needs = admission.needs_of(weights_bytes, shape, context_tokens=most)
    # what an agent holds already may be idle and make way: the largest budget counts
    free_bytes = admission.budget_bytes(
        total_bytes=sample.memory_total_bytes,
        available_bytes=sample.memory_available_bytes,
        reserve_bytes=int(memory.reserve_gib * GIB),
    )
    guess = "" if build is not None else ", judged by its files"
    told = f"needs {size(needs.total_bytes)}{guess}; {size(free_bytes)} are free for models"
    if admission.fits(needs, free_bytes):
        return ok("memory.fits", told, entry.id)
    ceiling = admission.ceiling_bytes(sample.memory_total_bytes)
    if needs.total_bytes > ceiling:
        remedy = "Offer a smaller build: this machine never has so much."
        return fail("memory.fits", f"{told}, and never more than {size(ceiling)}", remedy, entry.id)
    return warn("memory.fits", told, "Free memory, or let another model make way.", entry.id)


def _engines(ground: Ground, facts: HostFacts) -> Iterator[Finding]:
    if not ground.settings.models:
        yield skipped("engine.available", "no model is offered")
        return
    boards = [board.name or f"board {board.index}" for board in facts.gpus]
    found = survey(ground.settings.engines, chip=facts.chip_name, boards=boards)
    known = {one.name: one for one in found}
    for entry in ground.settings.models:
        if entry.external is not None:
            yield ok("engine.available", f"{entry.external.dialect}, at its provider", entry.id)
            continue
        name = choice(entry, ground.settings)
        if name == "echo":
            cause = "echo repeats its prompt: it is for tests"
            yield warn("engine.available", cause, "Choose another engine.", entry.id)
        else:
            yield _engine(entry.id, known[name])


def _engine(model: str, told: EngineReport) -> Finding:
    if not told.available:
        cause = f"{told.name}: {told.why_not or 'it cannot run here'}"
        remedy = told.install or "Choose another engine; see `poolhand engines`."
        return fail("engine.available", cause, remedy, model)
    words = " ".join(word for word in (told.name, told.version, told.device) if word)
    return ok("engine.available", words, model)
