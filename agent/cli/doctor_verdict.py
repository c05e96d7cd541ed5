"""How ``poolhand doctor`` ends: would a request for a model be answered by this machine?

A running agent knows, by a coordinator's own gates (``agent/core/blockers.py``). Without one, what
was found stands in the way, the first thing to mend first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from ...config.frozen import frozen
from ..core.pool import is_allowed
from .checks_told import Finding, Ground, Verdict
from .render import items, plain, table

_OF_COMING = frozenset({"store.listable", "cache.room"})
"""Checks that say nothing of a model that is on this disk."""


@frozen
class Obstacle:
    """One thing in the way of a request; of a running agent's, as it tells it.

    Attributes:
        code: Stable, for programs; without an agent, the id of a check.
        words: For a person.
        remedy: What helps.
        is_certain: Whether it holds with any coordinator, not only with one left at its defaults.
    """

    code: str
    words: str
    remedy: str
    is_certain: bool = True


@frozen
class Chance:
    """What becomes of a request for one model.

    Attributes:
        blockers: What is in its way, the first thing to mend first.
    """

    model: str
    blockers: tuple[Obstacle, ...]

    @property
    def is_certain(self) -> bool:
        """Whether nothing is in its way that is so with any coordinator."""
        return not any(one.is_certain for one in self.blockers)

    def told(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "model": self.model,
            "answered": not self.blockers,
            "blockers": [asdict(one) for one in self.blockers],
        }


def lines(told: Sequence[Chance]) -> Iterator[str]:
    """All of them for people; models with the same in their way share a paragraph.

    What would only be in the way of a coordinator left at its defaults is counted and not spelt
    out where something is in the way of any.
    """
    alike: dict[tuple[Obstacle, ...], list[Chance]] = {}
    for one in told:
        alike.setdefault(one.blockers, []).append(one)
    for blockers, those in alike.items():
        names = ", ".join(one.model for one in those)
        if not blockers:
            yield f"{names}: a request would be answered here"
            continue
        sure = [one for one in blockers if one.is_certain]
        yield f"{names}: a request {'would not' if sure else 'may not'} reach this machine"
        for one in sure or blockers:
            doubt = "" if one.is_certain else " (with a coordinator left at its defaults)"
            yield f"  {one.code}: {one.words}{doubt}"
            yield f"  -> {one.remedy}"
        more = len(blockers) - len(sure)
        if sure and more:
            yield f"  and {more} gate(s) of a coordinator left at its defaults"
            yield f"  -> See `poolhand models why {those[0].model}`."


def chances(
    ground: Ground, found: Sequence[Finding], models: object, named: str | None
) -> list[Chance]:
    """The chance of the named model, or of each that is offered.

    Args:
        ground: The configuration, and whether an agent runs.
        found: What the checks found.
        models: The running agent's answer to ``/v1/models``.
        named: A build's id; ``None``: all that are offered.
    """
    offered = [] if ground.loaded is None else [entry.id for entry in ground.settings.models]
    asked = offered if named is None else [named]
    if not ground.runs:
        return [Chance(model, tuple(_without_agent(ground, found, model))) for model in asked]
    known = {str(table(one).get("id")): table(one) for one in items(models)}
    return [_by_agent(model, known.get(model), found) for model in asked]


def _by_agent(model: str, told: object, found: Sequence[Finding]) -> Chance:
    if told is None:
        words = f"the running agent offers no model '{model}'"
        return Chance(model, (Obstacle("not_offered", words, "See `poolhand models list`."),))
    blockers = [table(one) for one in items(table(told).get("blockers"))]
    is_to_come = table(told).get("state") in {"listed", "partial"}
    lost = [one for one in found if one.verdict is Verdict.FAIL and one.subject == model]
    has_no_engine = any(one.id == "engine.available" for one in lost)  # and that is said here
    return Chance(
        model,
        (
            # what a running agent finds out only when it is asked for the model
            *(
                Obstacle(one.id, one.cause, one.remedy)
                for one in lost
                if is_to_come or one.id not in _OF_COMING
            ),
            *(
                Obstacle(
                    plain(one.get("code")),
                    plain(one.get("words")),
                    plain(one.get("remedy")),
                    one.get("certain") is not False,
                )
                for one in blockers
                if not (has_no_engine and one.get("code") == "engine_missing")
            ),
        ),
    )


def _without_agent(ground: Ground, found: Sequence[Finding], model: str) -> Iterator[Obstacle]:
    if ground.loaded is None:
        words = "the configuration cannot be used"
        yield Obstacle("config_unusable", words, "See config.readable and config.valid above.")
        return
    entry = ground.settings.entry(model)
    if entry is None:
        yield Obstacle("not_offered", f"no [[models]] entry has the id '{model}'", "Add one.")
    elif not is_allowed(entry, ground.settings.pools.allowed):
        words = f"pools.allowed does not allow '{model}'"
        yield Obstacle("not_allowed", words, "Widen pools.allowed.")
    yield Obstacle("agent_not_running", "no agent runs", "Say `poolhand run`.")
    for one in found:
        if one.verdict is Verdict.FAIL and one.subject in {"", model}:
            yield Obstacle(one.id, one.cause, one.remedy)
