"""What can happen to this node, in the past tense.

Events carry ids, counts and errors. A request's body is never among them: it stays sealed
in its message, and opened in the relay alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ...backends.engines.base import Load, Loaded, Usage
from ...backends.hosts.base import Activity, HostFacts, HostSample
from ...backends.stores.base import Build, Progress, Stock, Survey
from ...config.errors import AgentError, LinkError
from ...config.settings import Settings
from ..wire.inbound import Inbound
from .assignment import Assignment
from .measured import Measured


@dataclass(frozen=True, slots=True)
class RequestKey:
    """One request on one line: ids mean nothing beyond the socket they came on.

    Attributes:
        line: Number of the line, counted from 1.
        id: The coordinator's request id.
    """

    line: int
    id: str


# ── the line ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class LinkOpened:
    """The line that was dialled stands."""

    line: int


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """The line is gone, or never came to be.

    Attributes:
        close_code: The WebSocket close code; 1006 if the peer vanished or never answered.
    """

    line: int
    close_code: int
    error: LinkError


@dataclass(frozen=True, slots=True)
class Heard:
    """The coordinator said something.

    Attributes:
        unix_s: When, on the wall clock; only what the coordinator dates is held against it.
    """

    line: int
    message: Inbound
    unix_s: float = 0.0


# ── weights ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class WeightsProgressed:
    """More bytes are here."""

    model: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class WeightsFetched:
    """Every file of the build is on disk."""

    model: str


@dataclass(frozen=True, slots=True)
class WeightsVerified:
    """The build on disk is what it should be."""

    model: str
    build: Build


@dataclass(frozen=True, slots=True)
class WeightsFailed:
    """The build did not come, or is not what it should be."""

    model: str
    error: AgentError


@dataclass(frozen=True, slots=True)
class ListingFailed:
    """A store did not say how large a model is."""

    model: str
    error: AgentError


@dataclass(frozen=True, slots=True)
class InventoryChanged:
    """What of the offered models is on disk."""

    stocks: tuple[Stock, ...]


@dataclass(frozen=True, slots=True)
class CatalogRead:
    """A public catalog says which builds stand behind its aliases.

    Attributes:
        aliases: Every alias that it lists, with its builds; not only such as are offered here.
    """

    aliases: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class CacheSurveyed:
    """The cache folder was looked after.

    Attributes:
        survey: How it stands; ``None`` if its disk cannot be used, of which ``error`` tells.
        left: Who had to leave since the last time, separated by spaces.
    """

    survey: Survey | None
    left: str = ""
    error: AgentError | None = None


# ── engines ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class EngineLoaded:
    """The model answers."""

    model: str
    loaded: Loaded


@dataclass(frozen=True, slots=True)
class EngineStopped:
    """The engine is gone and its memory is back."""

    model: str


@dataclass(frozen=True, slots=True)
class EngineFailed:
    """The engine could not start, or died."""

    model: str
    error: AgentError


# ── requests ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RequestOpened:
    """A sealed request is readable; its text stays where it was opened.

    Attributes:
        model: The build it asks for.
        max_tokens: The longest answer it asks for; ``None`` if it does not say.
    """

    request: RequestKey
    model: str
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class RequestUnreadable:
    """A sealed request cannot be opened, or is no request."""

    request: RequestKey
    error: AgentError


@dataclass(frozen=True, slots=True)
class GenerationEnded:
    """An answer is over.

    Attributes:
        outcome: ``complete``: whole; ``cancelled``: as asked; ``failed``: ``error`` says why.
        usage: What it took so far; ``None`` if nothing was answered.
        has_output: Whether at least one chunk was sent.
    """

    request: RequestKey
    outcome: Literal["complete", "cancelled", "failed"]
    usage: Usage | None = None
    has_output: bool = False
    error: AgentError | None = None


# ── the machine and its owner ─────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class HostKnown:
    """What the machine is; the line is not dialled before."""

    facts: HostFacts


@dataclass(frozen=True, slots=True)
class HostSampled:
    """How the machine and the engines are now.

    Attributes:
        loads: By model, of every running engine.
    """

    sample: HostSample
    loads: Mapping[str, Load] = field(default_factory=dict[str, Load])


@dataclass(frozen=True, slots=True)
class ActivityRead:
    """What shows that the machine's owner needs it, or that nobody does."""

    activity: Activity


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The operator chose otherwise, validly."""

    settings: Settings


@dataclass(frozen=True, slots=True)
class SettingsRejected:
    """The operator wrote something that cannot be; the settings in force stay."""

    error: AgentError


@dataclass(frozen=True, slots=True)
class AssignmentRead:
    """What the state file says of this machine's pool; the line is not dialled before.

    Attributes:
        assignment: Its times are seconds before now, as negative numbers; ``None`` if there is
            no file, or none that can be understood.
        error: What is wrong with the file, which was set aside.
    """

    assignment: Assignment | None = None
    error: AgentError | None = None


@dataclass(frozen=True, slots=True)
class StateUnsaved:
    """A state file could not be written; what holds in memory holds."""

    error: AgentError


@dataclass(frozen=True, slots=True)
class PoolSetAsked:
    """The operator wants this machine to serve a pool, at once or after what runs.

    Attributes:
        ask: Number under which ``TellOwner`` answers; whoever asks makes it up.
        pool: An alias, or a model's id.
        now: Whether requests of other models are ended rather than finished.
    """

    ask: int
    pool: str
    now: bool = False


@dataclass(frozen=True, slots=True)
class PoolReleased:
    """The operator takes his choice of a pool back: the node chooses again."""

    ask: int


@dataclass(frozen=True, slots=True)
class PinAsked:
    """The operator wants a model to make way for no other."""

    ask: int
    model: str


@dataclass(frozen=True, slots=True)
class UnpinAsked:
    """The operator takes a pin back."""

    ask: int
    model: str


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """The operator wants what runs to be finished and nothing new to be taken, until undrained.

    Attributes:
        deadline_s: Answers that take longer are ended; ``None``: never.
    """

    ask: int
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class UndrainAsked:
    """The operator wants work to be taken again."""

    ask: int


@dataclass(frozen=True, slots=True)
class OrdersRead:
    """What an earlier run was ordered, and still holds; the line is not dialled before.

    Attributes:
        pins: Models that were pinned at run time.
        is_drained: Whether the node was drained, and not undrained.
        error: What is wrong with the file, which was set aside.
    """

    pins: tuple[str, ...] = ()
    is_drained: bool = False
    error: AgentError | None = None


@dataclass(frozen=True, slots=True)
class MeasuredRead:
    """What an earlier run has measured of loads.

    Attributes:
        error: What is wrong with the file, which was set aside.
    """

    measured: tuple[Measured, ...] = ()
    error: AgentError | None = None


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Somebody wants the node to leave; ``now`` without patience."""

    now: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """The deadline came, or a moment passed: time to look at the clock."""


LinkEvent: TypeAlias = LinkOpened | LinkClosed | Heard
WeightsEvent: TypeAlias = WeightsProgressed | WeightsFetched | WeightsVerified | WeightsFailed
EngineEvent: TypeAlias = EngineLoaded | EngineStopped | EngineFailed
RequestEvent: TypeAlias = RequestOpened | RequestUnreadable | GenerationEnded
HostEvent: TypeAlias = (
    HostKnown | HostSampled | InventoryChanged | ListingFailed | CatalogRead | CacheSurveyed
)
OwnerEvent: TypeAlias = SettingsChanged | SettingsRejected | StopAsked | ActivityRead
OrderEvent: TypeAlias = (
    PoolSetAsked | PoolReleased | PinAsked | UnpinAsked | DrainAsked | UndrainAsked
)
StateEvent: TypeAlias = AssignmentRead | OrdersRead | MeasuredRead | StateUnsaved

Event: TypeAlias = (
    LinkEvent
    | WeightsEvent
    | EngineEvent
    | RequestEvent
    | HostEvent
    | OwnerEvent
    | OrderEvent
    | StateEvent
    | Due
)
"""Everything that can happen."""
