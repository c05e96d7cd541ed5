"""What can happen to this node, in the past tense.

Events carry ids, counts and errors. A request's body is never among them: it stays sealed
in its message, and opened in the relay alone.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from ...backends.engines.base import FinishReason, Load, Loaded, Usage
from ...backends.hosts.base import Activity, HostFacts, HostSample
from ...backends.stores.base import Build, Progress, Stock, Survey
from ...config.errors import AgentError, LinkError
from ...config.frozen import frozen
from ...config.settings import Settings
from ..wire.inbound import Inbound
from .assignment import Assignment
from .measured import Measured
from .ordered import OrderEvent
from .request_key import RequestKey

# ── the line ──────────────────────────────────────────────────────────────────────────


@frozen
class LinkOpened:
    """The line that was dialled stands."""

    line: int


@frozen
class LinkClosed:
    """The line is gone, or never came to be.

    Attributes:
        close_code: The WebSocket close code; 1006 if the peer vanished or never answered.
    """

    line: int
    close_code: int
    error: LinkError


@frozen
class Heard:
    """The coordinator said something.

    Attributes:
        unix_s: When, on the wall clock; only what the coordinator dates is held against it.
    """

    line: int
    message: Inbound
    unix_s: float = 0.0


# ── weights ───────────────────────────────────────────────────────────────────────────


@frozen
class WeightsProgressed:
    """More bytes are here."""

    model: str
    progress: Progress


@frozen
class WeightsFetched:
    """Every file of the build is on disk."""

    model: str


@frozen
class WeightsVerified:
    """The build on disk is what it should be."""

    model: str
    build: Build


@frozen
class WeightsFailed:
    """The build did not come, or is not what it should be."""

    model: str
    error: AgentError


@frozen
class ListingFailed:
    """A store did not say how large a model is."""

    model: str
    error: AgentError


@frozen
class InventoryChanged:
    """What of the offered models is on disk; of those without an engine here, what helps."""

    stocks: tuple[Stock, ...]
    lacks: tuple[tuple[str, str], ...] = ()


@frozen
class CatalogRead:
    """A public catalog says which builds stand behind its aliases.

    Attributes:
        aliases: Every alias that it lists, with its builds, offered here or not; ``None``: none.
        hashes: What the coordinator's own catalog pins, by build; ``None``: it is another's.
    """

    aliases: Mapping[str, tuple[str, ...]] | None
    hashes: Mapping[str, str] | None = None


@frozen
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


@frozen
class EngineLoaded:
    """The model answers."""

    model: str
    loaded: Loaded


@frozen
class EngineStopped:
    """The engine is gone and its memory is back."""

    model: str


@frozen
class EngineFailed:
    """The engine could not start, or died."""

    model: str
    error: AgentError


# ── requests ──────────────────────────────────────────────────────────────────────────


@frozen
class RequestOpened:
    """A request is readable; its text stays where it was opened.

    Attributes:
        model: The build it asks for.
        max_tokens: The longest answer it asks for; ``None`` if it does not say.
    """

    request: RequestKey
    model: str
    max_tokens: int | None = None


@frozen
class RequestUnreadable:
    """A sealed request cannot be opened, or is no request."""

    request: RequestKey
    error: AgentError


@frozen
class GenerationEnded:
    """An answer is over.

    Attributes:
        outcome: ``complete``: whole; ``cancelled``: as asked; ``failed``: ``error`` says why.
        usage: What it took so far; ``None`` if nothing was answered.
        has_output: Whether at least one chunk was sent.
        first_s: Seconds from its start to its first chunk; ``None`` if there was none.
        reason: Why a whole answer ends, in OpenAI's words.
    """

    request: RequestKey
    outcome: Literal["complete", "cancelled", "failed"]
    usage: Usage | None = None
    has_output: bool = False
    error: AgentError | None = None
    first_s: float | None = field(default=None, compare=False)
    reason: FinishReason | None = field(default=None, compare=False)


@frozen
class RequestWithdrawn:
    """Whoever asked on this machine is gone, or was answered otherwise."""

    request: RequestKey


# ── the machine and its owner ─────────────────────────────────────────────────────────


@frozen
class HostKnown:
    """What the machine is; the line is not dialled before."""

    facts: HostFacts


@frozen
class HostSampled:
    """How the machine and the engines are now.

    Attributes:
        loads: By model, of every running engine.
    """

    sample: HostSample
    loads: Mapping[str, Load] = field(default_factory=dict[str, Load])


@frozen
class ActivityRead:
    """What shows that the machine's owner needs it, or that nobody does."""

    activity: Activity


@frozen
class SettingsChanged:
    """The operator chose otherwise, validly."""

    settings: Settings


@frozen
class SettingsRejected:
    """The operator wrote something that cannot be; the settings in force stay."""

    error: AgentError


@frozen
class AssignmentRead:
    """What the state file says of this machine's pool; the line is not dialled before.

    Attributes:
        assignment: Its times are seconds before now, as negative numbers; ``None`` if there is
            no file, or none that can be understood.
        error: What is wrong with the file, which was set aside.
    """

    assignment: Assignment | None = None
    error: AgentError | None = None


@frozen
class StateUnsaved:
    """A state file could not be written; what holds in memory holds."""

    error: AgentError


@frozen
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


@frozen
class MeasuredRead:
    """What an earlier run has measured of loads.

    Attributes:
        error: What is wrong with the file, which was set aside.
    """

    measured: tuple[Measured, ...] = ()
    error: AgentError | None = None


@frozen
class StopAsked:
    """Somebody wants the node to leave; ``now`` without patience."""

    now: bool = False


@frozen
class Due:
    """The deadline came, or a moment passed: time to look at the clock."""


LinkEvent: TypeAlias = LinkOpened | LinkClosed | Heard
WeightsEvent: TypeAlias = WeightsProgressed | WeightsFetched | WeightsVerified | WeightsFailed
EngineEvent: TypeAlias = EngineLoaded | EngineStopped | EngineFailed
RequestEvent: TypeAlias = RequestOpened | RequestUnreadable | GenerationEnded | RequestWithdrawn
HostEvent: TypeAlias = (
    HostKnown | HostSampled | InventoryChanged | ListingFailed | CatalogRead | CacheSurveyed
)
OwnerEvent: TypeAlias = SettingsChanged | SettingsRejected | StopAsked | ActivityRead
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
