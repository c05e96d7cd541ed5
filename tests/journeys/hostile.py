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

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.assignment import Assignment
from poolhand.agent.core.effects import Effect
from poolhand.agent.core.events import RequestKey
from poolhand.agent.core.slots import COMING, LEAVING, SlotState, residents
from poolhand.agent.wire.extensions import AssignPool, CancelLoad, Drain, Undrain, UnloadModel
from poolhand.agent.wire.inbound import (
    Cancel,
    DesiredModels,
    Inbound,
    InferenceRequest,
    LoadModel,
    PrefetchModel,
)
from poolhand.agent.wire.types import DesiredModel
from poolhand.backends.engines.base import Loaded, Usage
from poolhand.backends.engines.errors import EngineDied, EngineStartFailed
from poolhand.backends.hosts.base import Activity
from poolhand.backends.stores.base import Stock
from poolhand.backends.stores.errors import StoreUnreachable
from poolhand.config.settings import Settings
from tests.journeys.world import FACTS, GIB, SEALED, World, build, sample, settings

MODELS = ("org/a", "org/b", "org/c", "org/d", "org/../x", "tiny", "other")
OFFERED = ("org/a", "org/b", "org/c", "org/d")
ALLOWED = {"org/a", "org/b", "org/c"}
BAD = EngineStartFailed(engine="mlx", kind="bad_model", reason="odd")
DEAD = EngineDied(engine="mlx", exit_code=9)
AWAY = StoreUnreachable(store="s3", reason="silence")
MONDAY_S = 1_795_420_800.0


def chosen(chance: random.Random, slots: int) -> Settings:
    """Settings that an operator may have; the allow-list is always the same."""
    owner = {"yield_to": ["input", "heat"], "yield_after_s": 0.0, "resume_after_s": 5.0}
    return settings(
        pools={
            "allowed": ["tiny", "org/c"],
            "assigned": chance.choice((None, None, "tiny")),
            "enforce": chance.random() > 0.1,
            "advertise": chance.choice(("pool", "pool", "all")),
            "follow_coordinator": chance.random() > 0.3,
            "min_dwell_s": 0.0,
            "move_deadline_s": 60.0,
        },
        slots={
            "max_model_slots": slots,
            "max_loads_per_h": 3600,
            "idle_unload_s": chance.choice((0.0, 0.0, 20.0)),
        },
        hours={"windows": ["06:00-22:00"], "timezone": "UTC", "drain_before_s": 5.0}
        if chance.random() < 0.3
        else {},
        owner=owner if chance.random() < 0.4 else {},
        models=[
            {"id": "org/a", "aliases": ["tiny"], "ref": "s3://models/a"},
            {"id": "org/b", "aliases": ["tiny"], "ref": "s3://models/b"},
            {"id": "org/c", "aliases": ["other"], "ref": "s3://models/c"},
            {"id": "org/d", "aliases": ["other"], "ref": "s3://models/d"},
        ],
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
        pinned = node.loads.pins.of(node.settings)
        kept = {s.model for s in node.loads.stays.all() if s.state is SlotState.READY} & pinned
        effects = world.tell(event)
        self._drop_answered(effects)
        self._owe(effects)
        pool = node.loads.pool
        assert {*pool.models, *pool.advertised} <= ALLOWED, "policy is never widened"
        assert len(residents(node.loads.stays.all())) <= max(self.slots, 1), "slots"
        is_word = isinstance(event, happened.Heard)
        gone = kept - {s.model for s in node.loads.stays.all() if s.state is SlotState.READY}
        assert not (is_word and gone and not node.loads.drains.has("hours")), "pins hold"

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
            (30, self.answer),
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
            self.last = self._word()
        unix_s = (self.world.wall_s or 0.0) + self.world.now_s
        self.tell(happened.Heard(self.world.line, self.last, unix_s))

    def _word(self) -> Inbound:
        chance = self.chance
        model, other = chance.choice(MODELS), chance.choice(MODELS)
        epoch = self.world.node.moves.assignment.epoch + chance.choice((-2, -1, 0, 1, 1, 2, 50))
        row = DesiredModel(
            model_name=chance.choice(("tiny", "other", "new")),
            desired_build=model,
            previous_build=chance.choice((None, other)),
        )
        request = str(chance.randint(0, 5))
        words: list[Inbound] = [
            LoadModel(model_id=model),
            LoadModel(model_id=chance.choice(OFFERED[:3])),
            LoadModel(model_id=chance.choice(OFFERED[:3])),
            PrefetchModel(model_id=model, priority=chance.randint(-5, 5)),
            DesiredModels(models=(row,)),
            DesiredModels(models=(row, DesiredModel(model_name="tiny", desired_build="org/b"))),
            DesiredModels(),
            AssignPool(pool=other, epoch=max(0, epoch), preload=model, models=(model,)),
            AssignPool(pool=chance.choice(("tiny", "other")), epoch=max(0, epoch)),
            AssignPool(pool="other", epoch=max(0, epoch), preload="org/c"),
            AssignPool(pool="tiny", epoch=max(0, epoch), preload="org/b"),
            AssignPool(epoch=max(0, epoch)),
            UnloadModel(model_id=model),
            CancelLoad(model_id=model),
            Drain(deadline_s=chance.choice((0.0, 3.0, None))),
            Undrain(),
            Undrain(),
            Undrain(),
            InferenceRequest(request_id=request, encrypted_body=SEALED),
            InferenceRequest(request_id=request, encrypted_body=SEALED),
            InferenceRequest(request_id=request, encrypted_body=SEALED),
            Cancel(request_id=request),
        ]
        return chance.choice(words)

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
                    happened.PoolSetAsked(ask, pool, now),
                    happened.PoolReleased(ask),
                    happened.PinAsked(ask, model),
                    happened.UnpinAsked(ask, model),
                    happened.UnpinAsked(ask, model),
                    happened.DrainAsked(ask, self.chance.choice((None, 2.0))),
                    happened.UndrainAsked(ask),
                    happened.UndrainAsked(ask),
                    happened.UndrainAsked(ask),
                    happened.UndrainAsked(ask),
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
        """The operator edits the file."""
        fresh = chosen(self.chance, self.slots)
        self.tell(happened.SettingsChanged(fresh))

    # ── the end ───────────────────────────────────────────────────────────────────────

    def calm(self) -> None:
        """Everybody does his part; nothing may be left that nobody is told of.

        Raises:
            AssertionError: Somebody was lost.
        """
        still = settings(pools={"assigned": "tiny", "allowed": ["tiny", "org/c"]})
        slots = still.slots.model_copy(update={"max_model_slots": self.slots})
        self.tell(happened.SettingsChanged(still.model_copy(update={"slots": slots})))
        self.tell(happened.UndrainAsked(9999))
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


def storm(seed: int, steps: int) -> Counter[str]:
    """Run one sequence to its end.

    Returns:
        How often the node wanted what.

    Raises:
        AssertionError: A law was broken.
    """
    here = Storm(seed)
    for _ in range(steps):
        here.step()
    here.calm()
    return here.seen


def main() -> int:
    """Run many sequences; the exit status is 1 if one of them breaks a law."""
    parser = argparse.ArgumentParser(description="Hostile sequences against the node's laws.")
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    args = parser.parse_args()
    began_s, broken, seen = time.process_time(), 0, Counter[str]()
    for seed in range(args.first, args.first + args.sequences):
        try:
            seen += storm(seed, args.steps)
        except AssertionError as error:
            broken += 1
            sys.stdout.write(f"seed {seed}: {error}\n")
    took_s = time.process_time() - began_s
    told = f"{args.sequences} sequences of {args.steps} steps, {broken} broken, {took_s:.0f} s\n"
    sys.stdout.write(told + f"effects: {dict(seen.most_common())}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
