"""One node in a storm: commands, orders, clocks, owners and rooms in any order, and what must hold.

Everything that can reach a node reaches it here, drawn by one seeded chance: a coordinator that
lies and repeats itself, an operator who changes his mind, rooms that fail, lines that drop, a
clock that jumps. :mod:`~tests.journeys.laws` keeps the books; here stands what local policy and
the end of the storm add to them.

    python -m tests.journeys.hostile --sequences 10000
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import cache

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core.assignment import Assignment
from poolhand.agent.core.effects import Effect
from poolhand.agent.core.events import RequestKey
from poolhand.agent.core.slots import COMING, LEAVING, SlotState, residents
from poolhand.agent.wire.inbound import DesiredModels, Inbound
from poolhand.backends.engines.base import Loaded, Usage
from poolhand.backends.engines.errors import EngineDied, EngineStartFailed
from poolhand.backends.hosts.base import Activity
from poolhand.backends.stores.base import Stock
from poolhand.backends.stores.errors import StoreUnreachable
from poolhand.config.settings import Settings
from tests.journeys.hostile_words import MODELS, OFFERED, word
from tests.journeys.world import FACTS, GIB, World, build, sample, settings

ALLOWED = {"org/a", "org/b", "org/c"}
BAD = EngineStartFailed(engine="mlx", kind="bad_model", reason="odd")
DEAD = EngineDied(engine="mlx", exit_code=9)
AWAY = StoreUnreachable(store="s3", reason="silence")
MONDAY_S = 1_795_420_800.0
MAY_UNPIN = (
    happened.SettingsChanged,
    ordered.PoolSetAsked,
    ordered.PoolReleased,
    ordered.UnpinAsked,
    happened.EngineFailed,
)
"""A pin holds until the owner or the engine itself ends it."""


@cache
def made(
    slots: int,
    assigned: str | None,
    advertise: str,
    idle_unload_s: float,
    *,
    enforce: bool,
    follows: bool,
    has_hours: bool,
    has_owner: bool,
) -> Settings:
    """Settings that an operator may have; the allow-list is always the same."""
    owner = {"yield_to": ["input", "heat"], "yield_after_s": 0.0, "resume_after_s": 5.0}
    hours = {"windows": ["06:00-22:00"], "timezone": "UTC", "drain_before_s": 5.0}
    return settings(
        pools={
            "allowed": ["tiny", "org/c"],
            "assigned": assigned,
            "enforce": enforce,
            "advertise": advertise,
            "follow_coordinator": follows,
            "min_dwell_s": 0.0,
            "move_deadline_s": 60.0,
        },
        slots={
            "max_model_slots": slots,
            "max_loads_per_h": 3600,
            "idle_unload_s": idle_unload_s,
        },
        hours=hours if has_hours else {},
        owner=owner if has_owner else {},
        models=[
            {"id": "org/a", "aliases": ["tiny"], "ref": "s3://models/a"},
            {"id": "org/b", "aliases": ["tiny"], "ref": "s3://models/b"},
            {"id": "org/c", "aliases": ["other"], "ref": "s3://models/c"},
            {"id": "org/d", "aliases": ["other"], "ref": "s3://models/d"},
        ],
    )


def chosen(chance: random.Random, slots: int) -> Settings:
    """Some of them."""
    return made(
        slots,
        chance.choice((None, None, "tiny")),
        chance.choice(("pool", "pool", "all")),
        chance.choice((0.0, 0.0, 20.0)),
        enforce=chance.random() > 0.1,
        follows=chance.random() > 0.3,
        has_hours=chance.random() < 0.15,
        has_owner=chance.random() < 0.2,
    )


@cache
def still(slots: int) -> Settings:
    """Settings under which everything comes to rest."""
    return settings(
        pools={"assigned": "tiny", "allowed": ["tiny", "org/c"]}, slots={"max_model_slots": slots}
    )


class Storm:
    """A node, everyone around it, and what they have not answered yet.

    Args:
        seed: Decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311  # a story, no secret
        self.slots = self.chance.choice((1, 1, 1, 2))
        self.world = World(chosen(self.chance, self.slots), chance=self.chance.random)
        self.world.wall_s = MONDAY_S + self.chance.choice((0, 43_200, 79_140)) - 1000.0
        self.open: list[Effect] = []
        self.last: Inbound = DesiredModels()
        self.asks = 0
        self.seen: Counter[str] = Counter()
        first = Assignment(("tiny",), "hash", 4, -1000.0)
        self.tell(happened.AssignmentRead(first if self.chance.random() > 0.2 else None))
        self.tell(happened.HostKnown(FACTS))
        for _ in range(8):
            self.answer()

    # ── one step ──────────────────────────────────────────────────────────────────────

    def tell(self, event: happened.Event) -> None:
        """One event, held against local policy."""
        world, node = self.world, self.world.node
        kept = set[str]() if isinstance(event, MAY_UNPIN) else self._pinned()
        effects = world.tell(event)
        self._drop_answered(effects)
        self._owe(effects)
        pool = node.loads.pool
        assert {*pool.models, *pool.advertised} <= ALLOWED, "policy is never widened"
        assert len(residents(node.loads.stays.all())) <= max(self.slots, 1), "slots"
        is_resting = any(node.loads.drains.has(rest) for rest in ("hours", "owner"))
        assert is_resting or kept <= self._pinned(), "a pin holds against every word"

    def _pinned(self) -> set[str]:
        """Models of the pool that answer, and are to go on doing so."""
        node = self.world.node
        pinned = node.loads.pins.of(node.settings)
        if not pinned:
            return set()
        ready = {s.model for s in node.loads.stays.all() if s.state is SlotState.READY}
        return {model for model in ready & pinned if node.loads.pool.serves(model)}

    def _owe(self, effects: list[Effect]) -> None:
        quiet = (do.Send, do.PersistAssignment, do.PersistMeasured, do.PersistOrders, do.TellOwner)
        self.open += [effect for effect in effects if not isinstance(effect, quiet)]
        for effect in effects:
            kind = type(effect).__name__
            self.seen[kind] += 1

    def _drop_answered(self, effects: list[Effect]) -> None:
        """What is taken back is not told of any more."""
        for effect in effects:
            if isinstance(effect, do.CancelFetch):
                kinds = (do.FetchWeights, do.VerifyWeights)
                mine = effect.model
                self.open = [e for e in self.open if not (isinstance(e, kinds) and e.model == mine)]

    def step(self) -> None:
        """Something happens."""
        choices: list[tuple[float, Callable[[], None]]] = [
            (12, self.hear),
            (15, self.answer),
            (2, self.finish),
            (1, self.order),
            (0.5, self.fail),
            (3, self.wait),
            (0.3, self.line),
            (0.3, self.choose),
        ]
        (act,) = self.chance.choices([c for _, c in choices], [weight for weight, _ in choices])
        act()

    def hear(self) -> None:
        """The coordinator says something, or the same again."""
        if self.world.laws.socket is None or not self.world.laws.is_open:
            return
        if self.chance.random() > 0.2:
            here = [stay.model for stay in self.world.node.loads.stays.all()]
            self.last = word(self.chance, self.world.node.choice.assignment.epoch, here)
        unix_s = (self.world.wall_s or 0.0) + self.world.now_s
        self.tell(happened.Heard(self.world.line, self.last, unix_s))

    def answer(self) -> None:
        """A room tells what became of something that it was told to do."""
        if self.open:
            at = self.chance.randrange(min(len(self.open), 3))
            event = self._outcome(self.open.pop(at), is_good=self.chance.random() > 0.08)
            if event is not None:
                self.tell(event)

    def _outcome(self, effect: Effect, *, is_good: bool) -> happened.Event | None:
        match effect:
            case do.Dial(line):
                return happened.LinkOpened(line)
            case do.FetchWeights(model):
                return (
                    happened.WeightsFetched(model)
                    if is_good
                    else happened.WeightsFailed(model, AWAY)
                )
            case do.VerifyWeights(model):
                return happened.WeightsVerified(model, build(model))
            case do.LoadEngine(model):
                loaded = happened.EngineLoaded(model, Loaded(1.0, 5 * GIB, 8192))
                return loaded if is_good else happened.EngineFailed(model, BAD)
            case do.StopEngine(model):
                return happened.EngineStopped(model)
            case do.SampleHost():
                return happened.HostSampled(sample())
            case do.ReadActivity():
                idle_s = self.chance.choice((0.0, 600.0))
                return happened.ActivityRead(Activity(input_idle_s=idle_s))
            case do.RefreshInventory():
                here = [m for m in OFFERED if self.chance.random() > 0.5]
                return happened.InventoryChanged(
                    tuple(Stock(m, "here", 4 * GIB, 4 * GIB, build(m)) for m in here)
                )
            case do.CancelGeneration(key):
                usage = Usage(1, 1) if self.chance.random() > 0.5 else None
                return happened.GenerationEnded(key, "cancelled", usage, has_output=bool(usage))
            case _:
                return self._opened(effect)

    def _opened(self, effect: Effect) -> happened.Event | None:
        if not isinstance(effect, do.OpenRequest):
            return None
        return happened.RequestOpened(effect.request, self._asked_for(), 8)

    def _asked_for(self) -> str:
        """Mostly what is served, often what is in memory."""
        stays = self.world.node.loads.stays.all()
        here = [s.model for s in stays if s.state is SlotState.READY]
        served = self.world.node.loads.pool.models
        return self.chance.choice([*here, *here, *served, *OFFERED])

    def finish(self) -> None:
        """An answer is whole."""
        running = [*self.world.laws.running]
        if running:
            self._end(self.chance.choice(running))

    def _end(self, key: RequestKey) -> None:
        self.open = [e for e in self.open if e != do.CancelGeneration(key)]
        self.tell(happened.GenerationEnded(key, "complete", Usage(1, 2), has_output=True))

    def order(self) -> None:
        """The operator wants something."""
        self.asks += 1
        ask, model = self.asks, self.chance.choice(MODELS)
        pool, now = self.chance.choice(("tiny", "other", "org/d")), self.chance.random() > 0.8
        self.tell(
            self.chance.choice(
                [
                    ordered.PoolSetAsked(ask, pool, now),
                    ordered.PoolReleased(ask),
                    ordered.PinAsked(ask, model),
                    ordered.UnpinAsked(ask, model),
                    ordered.UnpinAsked(ask, model),
                    ordered.DrainAsked(ask, self.chance.choice((None, 2.0))),
                    ordered.UndrainAsked(ask),
                    ordered.UndrainAsked(ask),
                    ordered.UndrainAsked(ask),
                    ordered.UndrainAsked(ask),
                ]
            )
        )

    def fail(self) -> None:
        """An engine dies, and with it its answers."""
        ready = [s for s in self.world.node.loads.stays.all() if s.state is SlotState.READY]
        if ready:
            model = self.chance.choice(ready).model
            self.tell(happened.EngineFailed(model, DEAD))
            for key in [k for k, of in self.world.laws.running.items() if of == model]:
                self.open = [e for e in self.open if e != do.CancelGeneration(key)]
                self.tell(happened.GenerationEnded(key, "failed", None, error=DEAD))

    def wait(self) -> None:
        """Time passes; now and then it jumps, or the wall clock alone does."""
        (jump_s,) = self.chance.choices((0.1, 1.0, 2.0, 6.0, 40.0, 700.0), (9, 9, 9, 3, 0.5, 0.5))
        self.world.now_s += jump_s
        if self.chance.random() < 0.1 and self.world.wall_s is not None:
            self.world.wall_s += self.chance.choice((-7200.0, 7200.0, -86_400.0, 3600.0))
        self.tell(happened.Due())

    def line(self) -> None:
        """The line drops."""
        if self.world.laws.socket is not None:
            self.open = [e for e in self.open if not isinstance(e, do.Dial)]
            self._owe(self.world.drop(self.chance.choice((1000, 1006, 1012))))

    def choose(self) -> None:
        """The operator edits the file, or a public catalog is read: an alias stands elsewhere."""
        if self.chance.random() > 0.5:
            self.tell(happened.SettingsChanged(chosen(self.chance, self.slots)))
        else:
            builds = tuple(self.chance.sample(MODELS, 2))
            self.tell(happened.CatalogRead({self.chance.choice(("tiny", "other")): builds}))

    # ── the end ───────────────────────────────────────────────────────────────────────

    def calm(self) -> None:
        """Everybody does his part; nothing may be left that nobody is told of.

        Raises:
            AssertionError: Somebody was lost.
        """
        settings = self.world.node.settings
        if settings.hours.windows or settings.owner.yield_to:
            self.tell(happened.SettingsChanged(still(self.slots)))
        self.tell(ordered.UndrainAsked(9999))
        for _ in range(400):
            while self.open:
                event = self._outcome(self.open.pop(0), is_good=True)
                if event is not None:
                    self.tell(event)
            for key in [*self.world.laws.running]:
                self._end(key)
            if not self.open and self._is_calm():
                break
            self.world.now_s += 2.0
            self.tell(happened.Due())
        assert self._is_calm(), [(s.model, s.state) for s in self.world.node.loads.stays.all()]
        assert self.world.laws.is_square, "everyone who asked was answered"

    def _is_calm(self) -> bool:
        node = self.world.node
        on_the_way = [s for s in node.loads.stays.all() if s.state in COMING | LEAVING]
        is_online = self.world.laws.is_open and node.session.is_online
        return is_online and not on_the_way and not len(node.answers.ledger)


def storm(seed: int, sequences: int, steps: int) -> Counter[str]:
    """Run sequences, one after the other, each from where the one before has come to rest.

    Args:
        seed: Decides everything.
        sequences: How many.
        steps: How long they are, on average; some are much longer.

    Returns:
        How often the node wanted what.

    Raises:
        AssertionError: A law was broken.
    """
    here = Storm(seed)
    for _ in range(sequences):
        for _ in range(1 + int(here.chance.expovariate(1 / steps))):
            here.step()
        here.calm()
        if here.chance.random() > 0.5:
            here.tell(happened.SettingsChanged(chosen(here.chance, here.slots)))
    return here.seen


def main() -> int:
    """Run many sequences; the exit status is 1 if one of them breaks a law."""
    parser = argparse.ArgumentParser(description="Hostile sequences against the node's laws.")
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=40, help="on average")
    parser.add_argument("--in-a-row", type=int, default=10, help="sequences for each node")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    args = parser.parse_args()
    began_s, broken, seen = time.process_time(), 0, Counter[str]()
    for seed in range(args.first, args.first + args.sequences // args.in_a_row):
        try:
            seen += storm(seed, args.in_a_row, args.steps)
        except AssertionError as error:
            broken += 1
            sys.stdout.write(f"seed {seed}: {error}\n")
    took_s = time.process_time() - began_s
    told = f"{args.sequences} sequences of {args.steps} steps, {broken} broken, {took_s:.0f} s\n"
    sys.stdout.write(told + f"effects: {dict(seen.most_common())}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
