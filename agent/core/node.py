"""The node: one event in, effects out.

Joins the line, the loads and the answers. It never waits, reads no clock and touches nothing
outside: what it knows came in as an event, and what it wants goes out as an effect. ``handle``
is the whole interface; ``snapshot`` lets others look.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from ...backends.hosts.base import HostFacts
from ...config.errors import AgentError
from ...config.refusals import InsufficientMemory, NodeDraining
from ...config.settings import Settings
from ..wire.inbound import DesiredModels
from ..wire.later import ProviderDrain
from . import events as happened
from . import report, rooms
from .adapters import Adapters
from .answers import Answers
from .choice import Choice
from .commands import Commands
from .effects import Effect, HangUp, RefreshInventory, SampleHost, Send
from .events import Event
from .failed import Failed
from .foresight import obstacle
from .hearing import Hearing
from .leaving import Leaving
from .loads import Loads, Said
from .machine import Machine
from .moves import Moves
from .orders import Orders
from .pool import pool_of
from .rest import Rest
from .session import Session, State, Step
from .slots import HOLDS_MEMORY, SlotState
from .stays import LoadEnded, Outcome
from .voice import Voice
from .wanted import Wanted, wanted_of
from .will import will

LINK_GRACE_S = 5.0
"""How long past its own deadline a dial may still take."""


class Node:
    """All decisions of this node.

    Args:
        settings: What the operator chose.
        identity: Who this process is.
        chance: Gives numbers in [0, 1).
    """

    def __init__(
        self, settings: Settings, identity: report.Identity, *, chance: Callable[[], float]
    ) -> None:
        self._chance = chance
        self.settings = settings
        self.identity = identity
        self.session = Session(
            chance=chance,
            heartbeat_s=settings.coordinator.heartbeat_interval_s,
            patience_s=settings.coordinator.dial_timeout_s + LINK_GRACE_S,
        )
        number = identity.machine_id
        self.loads = Loads(settings, pool_of(settings, machine_id=number), chance=chance)
        self.answers = Answers(self.loads)
        self.choice = Choice(settings, self.loads, self.answers.ledger, machine_id=number)
        self.moves = Moves(self.choice)
        self.commands = Commands(settings, self.loads, self.answers, self.moves)
        self.rest = Rest(settings, self.loads, self.answers)
        self.machine = Machine()
        self.orders = Orders(self.loads, self.answers, self.moves, self.machine)
        self._hearing = Hearing(
            self.loads,
            self.answers,
            self.moves,
            self.commands,
            self.machine,
            snapshot=self.snapshot,
        )
        self.standing = self._hearing.standing
        self.failed = Failed()
        self.rejected: AgentError | None = None
        self._voice = Voice(settings, self.session)
        self._adapters = Adapters(settings)
        self._leaving = Leaving()

    @property
    def is_done(self) -> bool:
        """Whether the node has left, and nothing is to be done any more."""
        return self.session.state is State.CLOSED

    @property
    def deadline_s(self) -> float:
        """By when ``handle`` wants to be called again; infinite if only an event can help."""
        known = [self.session.deadline_s if self.machine.facts else None, self._leaving.deadline_s]
        known += [self.moves.deadline_s, self.loads.drains.deadline_s, self.loads.deadline_s]
        known.append(self.rest.deadline_s)
        return min((at_s for at_s in known if at_s is not None), default=float("inf"))

    def handle(self, event: Event, now_s: float, unix_s: float | None = None) -> list[Effect]:
        """Take one event in; give back what is to be done, in order.

        What means nothing as things are is dropped: the outside may come late, or twice.

        Args:
            event: What happened.
            now_s: A clock that never jumps.
            unix_s: The wall clock, by which the hours are told; unset: they are not looked at.
        """
        before = self._slots()
        event = self._adapters.heard(event, self.loads.stays.all())
        effects = [] if self.machine.facts is None else self._step(self.session.woke(now_s), now_s)
        effects += self._carry(self._on(event, now_s), now_s)
        self.standing.ended(self.answers.ledger.ends(), now_s)
        for said in self._looked(now_s, unix_s):
            if said:  # nothing, nearly always
                effects += self._carry(said, now_s)
        if self.machine.facts is not None:
            effects += self._step(self.session.due(now_s), now_s)
        if self._slots() != before:
            effects += self._voice.say(report.heartbeat(self.snapshot(now_s)))
        return self._adapters.said(
            effects,
            self.settings,
            self.loads.stays.all(),
            line=self.session.line if self.session.is_online else None,
            offer=lambda: report.models(self.snapshot(now_s)),
        )

    def snapshot(self, now_s: float) -> report.Snapshot:
        """Everything the node knows of itself now."""
        return report.Snapshot(
            now_s=now_s,
            identity=self.identity,
            settings=self.settings,
            pool=self.loads.pool,
            facts=self.machine.facts or HostFacts("generic"),
            sample=self.machine.sample,
            stays=self.loads.stays.all(),
            requests=self.answers.ledger.entries(),
            stats=self.answers.ledger.stats(),
            stocks=self.machine.stocks,
            lacks=self.machine.lacks,
            loads=self.machine.loads,
            is_draining=self.loads.is_draining,
            epoch=self.choice.assignment.epoch,
            pinned=self.loads.pins.of(self.settings),
            line=self.standing.seen(is_online=self.session.is_online),
            drain=self.loads.drains.first,
            awaited=self.loads.wishes.awaited(self.machine.stocks),
            will=will(self.loads, self.answers.ledger.busy(), self.machine.stocks, now_s),
            catalog=self.machine.catalog,
        )

    def wanted(self) -> Wanted:
        """Whose weights have to stay on the disk now."""
        return wanted_of(
            self.loads.stays.all(),
            self.loads.pins.of(self.settings),
            self.loads.wishes.desired,
            partial(
                obstacle,
                self.settings,
                self.loads.measured,
                self.machine.sample.memory_total_bytes,
            ),
        )

    def _looked(self, now_s: float, unix_s: float | None) -> Iterator[Sequence[Said]]:
        """What each part wants as things are now; the next one looks once that is carried on."""
        yield self.moves.look(now_s)
        yield self.rest.look(now_s, unix_s)
        if self.loads.drains.is_cut(now_s):
            yield self.answers.stop_all()
        yield self.commands.look()
        yield self.orders.look()
        yield self.loads.look(self.machine.stocks, now_s)
        yield self._swap(now_s)
        yield self._leave(now_s)

    # ── one event ─────────────────────────────────────────────────────────────────────

    def _on(self, event: Event, now_s: float) -> list[Said]:
        if isinstance(event, happened.LinkEvent):
            return self._on_line(event, now_s)
        if isinstance(event, happened.WeightsEvent | happened.EngineEvent):
            return self._on_model(event, now_s)
        if isinstance(event, happened.RequestEvent):
            return self._on_request(event, now_s)
        if isinstance(event, happened.HostEvent):
            return self._on_host(event, now_s)
        if isinstance(event, happened.OwnerEvent):
            return self._on_owner(event, now_s)
        if isinstance(event, happened.StateEvent):
            return self._on_state(event, now_s)
        return [] if isinstance(event, happened.Due) else self.orders.heard(event, now_s)

    def _on_request(self, event: happened.RequestEvent, now_s: float) -> list[Said]:
        match event:
            case happened.RequestOpened(_, model):
                said = self.answers.opened(event, now_s, self.machine.stocks)
                is_taken = self.answers.ledger.entry(event.request) is not None
                return [*self.choice.taken(model, "request", now_s), *said] if is_taken else said
            case happened.RequestUnreadable(key, error):
                return self.answers.unreadable(key, error)
            case happened.GenerationEnded():
                return self.answers.ended(event, now_s)
            case happened.RequestWithdrawn(key):
                return self.answers.withdrawn(key)

    def _on_state(self, event: happened.StateEvent, now_s: float) -> list[Said]:
        self.failed.note(event.error, now_s)
        match event:
            case happened.AssignmentRead(assignment):
                return self.choice.recalled(assignment, now_s)
            case happened.OrdersRead(pins, is_drained):
                self.orders.recalled(pins, now_s, is_drained=is_drained)
                return []
            case happened.MeasuredRead(measured):
                self.loads.measured.recalled(measured)
                return []
            case happened.StateUnsaved():
                return []

    def _on_line(self, event: happened.LinkEvent, now_s: float) -> list[Said]:
        match event:
            case happened.LinkOpened(line):
                return list(self._step(self.session.opened(line, now_s), now_s))
            case happened.LinkClosed(line, close_code, error) if line == self.session.line:
                self.session.closed(line, close_code, error, now_s)
                return self._lost(line, now_s)
            case happened.Heard(line, _) if line == self.session.line and self.session.is_online:
                said = self._hearing.heard(event, now_s)
                is_wish = isinstance(event.message, DesiredModels)
                return [*said, *self._news(now_s)] if is_wish else said
            case _:
                return []

    def _on_model(
        self, event: happened.WeightsEvent | happened.EngineEvent, now_s: float
    ) -> list[Said]:
        if isinstance(event, happened.WeightsFailed | happened.EngineFailed):
            self.failed.note(event.error, now_s)
        if isinstance(event, happened.EngineStopped):
            self.machine.stopped(event.model)
        return rooms.told(event, self.loads, self.answers.ledger.busy(), now_s)

    def _on_host(self, event: happened.HostEvent, now_s: float) -> list[Said]:
        match event:
            case happened.HostKnown(facts):
                self.machine.facts = facts
                return [SampleHost(), RefreshInventory(self.loads.pool.models)]
            case happened.HostSampled(sample, loads):
                self.machine.sampled(sample, loads)
                return [*self.loads.sampled(loads), *self.loads.came(self._settle(now_s))]
            case happened.ListingFailed(_, error):
                self.failed.note(error, now_s)
                return []
            case happened.CatalogRead(aliases, hashes):
                self.machine.catalog = hashes
                return [*self.choice.listed(aliases, now_s), *self._news(now_s)]
            case happened.CacheSurveyed(survey, _, error):
                self.machine.survey = survey
                self.failed.note(error, now_s)
                return []
            case happened.InventoryChanged(stocks, lacks):
                self.machine.listed(stocks, lacks)
                total_bytes = self.snapshot(now_s).facts.memory_total_bytes
                may_move = self.moves.obstacle(now_s) is None
                moved = self.choice.sized(stocks, total_bytes, now_s, may_move=may_move)
                return [*moved, *self._news(now_s), *self.loads.pursue(self.machine.stocks, now_s)]

    def _on_owner(self, event: happened.OwnerEvent, now_s: float) -> list[Said]:
        match event:
            case happened.SettingsChanged(settings):
                return self._resettle(settings, now_s)
            case happened.SettingsRejected(error):
                self.rejected = error
                return []
            case happened.StopAsked(now):
                return self._stop(now_s, now=now)
            case happened.ActivityRead(activity):
                self.rest.read(activity, self.machine.sample.thermal_state, now_s)
                return []

    # ── the line ──────────────────────────────────────────────────────────────────────

    def _step(self, step: Step, now_s: float) -> list[Effect]:
        """Carry out what the session wants."""
        effects: list[Effect] = []
        if step.hang_up is not None:
            effects.append(HangUp(step.hang_up, step.is_polite))
            effects += self._carry(self._lost(step.hang_up, now_s), now_s)
        if step.dial is not None:
            effects += self._voice.dial(step.dial, self.settings)
        if step.is_registration_due:
            effects += self._voice.greet(self.snapshot(now_s))
        elif step.is_heartbeat_due:
            effects += self._voice.beat(self.snapshot(now_s))
        return effects

    def _news(self, now_s: float) -> list[Said]:
        return [*self._voice.news(self.snapshot(now_s))]

    def _lost(self, line: int, now_s: float) -> list[Said]:
        """A line is gone, and with it everyone who waited on it."""
        self.standing.line_lost()
        self._voice.lost()
        self.commands.line_lost()
        self.loads.line_lost()
        return self.answers.line_lost(line, now_s)

    def _carry(self, said: Iterable[Said], now_s: float) -> list[Effect]:
        """Turn what came of an event into effects, in order."""
        effects: list[Effect] = []
        for item in said:
            if isinstance(item, LoadEnded):
                if isinstance(item.error, InsufficientMemory):
                    self.failed.note(item.error, now_s)
                after = [*self.answers.loaded(item), *self.moves.load_ended(item, now_s)]
                effects += self._carry(after, now_s)
            elif isinstance(item, Send):
                effects += self._voice.pass_on(item)
            elif isinstance(item, Effect):
                effects.append(item)
            else:
                effects += self._voice.say(item)
        return effects

    # ── slots, pool, leaving ──────────────────────────────────────────────────────────

    def _settle(self, now_s: float) -> list[Outcome]:
        busy, stays = self.answers.ledger.busy(), self.loads.stays
        free_bytes = partial(self.machine.free_bytes, self.settings)
        return stays.settle(
            slots=self.settings.slots.max_model_slots,
            busy=busy,
            free_bytes=lambda: free_bytes(stays.all(), busy),
            later_bytes=lambda: free_bytes(stays.all(), busy, are_loaded=True),
            now_s=now_s,
            outside=self.moves.outside(),
            pinned=self.loads.kept(now_s),
        )

    def _resettle(self, settings: Settings, now_s: float) -> list[Said]:
        """The operator chose otherwise."""
        self.settings, self.rejected = settings, None
        self.session.heartbeat_s = settings.coordinator.heartbeat_interval_s
        self.session.patience_s = settings.coordinator.dial_timeout_s + LINK_GRACE_S
        self.commands.settings = settings
        self.rest.chosen(settings)
        said = self.moves.chosen(settings, now_s)
        if (wish := self.loads.wishes.desired) is not None:
            said += self.choice.desired(wish, wish, now_s)  # it may name what is offered only now
        return [*said, RefreshInventory(self.loads.pool.models)]

    def _stop(self, now_s: float, *, now: bool) -> list[Said]:
        self._leaving.begin(now_s, 0.0 if now else self.settings.requests.drain_s)
        self.commands.leaving()
        barrier = self._barrier()
        said = self.loads.empty(NodeDraining(), self.answers.ledger.busy(), now_s)
        return [*said, *self.answers.turn_away(NodeDraining()), *barrier]

    def _barrier(self) -> list[Said]:
        """Ask to be told when all is settled, once a line, of a coordinator that knows how."""
        is_said = self.standing.is_unsettled or not self.session.is_online
        if is_said or not self.settings.wire.drain_barrier:
            return []
        request_id = f"{int(self._chance() * 2**64):016x}"
        self.standing.barrier(request_id)
        return [ProviderDrain(request_id=request_id)]

    def _leave(self, now_s: float) -> list[Said]:
        """Go on leaving, or go over to a new line, as far as nobody is harmed."""
        is_idle = not len(self.answers.ledger)
        if not self._leaving.is_begun:
            is_still = is_idle and self.moves.deadline_s is None  # nor has moved just now
            if is_still and self._voice.is_stale(self.settings, self.loads.pool.advertised):
                return list(self._step(self.session.redial(now_s), now_s))
            return []
        is_empty = is_idle and not self.loads.stays.all() and not self.standing.is_unsettled
        if self._leaving.is_over(now_s, is_empty=is_empty):
            return list(self._step(self.session.leave(now_s), now_s))
        return self.answers.stop_all() if self._leaving.is_cut(now_s) else []

    def _swap(self, now_s: float) -> list[Said]:
        """Let a desired build have the place of an idle previous one."""
        if self.loads.wishes.desired is None or self.moves.move is not None:
            return []
        wanted = frozenset(entry.model for entry in self.answers.ledger.entries())
        return self.loads.swap(self.machine.stocks, wanted, now_s)

    def _slots(self) -> tuple[int, bool, list[tuple[str, SlotState]]]:
        """What a heartbeat says that no coordinator should wait for."""
        stays = self.loads.stays.all()
        here = [(stay.model, stay.state) for stay in stays if stay.state in HOLDS_MEMORY]
        return self.choice.assignment.epoch, self.loads.is_draining, here
