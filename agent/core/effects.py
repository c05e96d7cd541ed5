"""What can be done about it, in the imperative.

The runtime carries effects out in the order given and starts each without waiting for the
one before; what becomes of it comes back as an event.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ...backends.stores.base import Build
from ...config.hours import Sign
from ..wire.inbound import InferenceRequest
from ..wire.outbound import Outbound
from .assignment import Assignment
from .events import RequestKey
from .measured import Measured


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a line, and give it this number; any line before it is dead."""

    line: int


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the line, with a goodbye if ``is_polite``, else at once."""

    line: int
    is_polite: bool = True


@dataclass(frozen=True, slots=True)
class Send:
    """Say this on the line; if that line is gone, say nothing."""

    line: int
    message: Outbound


@dataclass(frozen=True, slots=True)
class FetchWeights:
    """Bring the model to disk; nothing to do if it is there."""

    model: str


@dataclass(frozen=True, slots=True)
class CancelFetch:
    """Stop bringing it; what is here stays."""

    model: str


@dataclass(frozen=True, slots=True)
class VerifyWeights:
    """Check what is on disk before anything loads it."""

    model: str


@dataclass(frozen=True, slots=True)
class RefreshInventory:
    """Look what of the offered models is on disk.

    Attributes:
        sizes_of: Models whose stores are asked how large they are, if nobody knows yet.
    """

    sizes_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadCatalog:
    """Read the public catalog soon: a model was named that the operator lets be taken from it."""

    model: str


@dataclass(frozen=True, slots=True)
class SampleHost:
    """Read the machine now, not at the next heartbeat."""


@dataclass(frozen=True, slots=True)
class ReadActivity:
    """Read whether the machine's owner needs it.

    Attributes:
        wanted: Which signs are heeded, by the words of ``owner.yield_to``.
    """

    wanted: tuple[Sign, ...]


@dataclass(frozen=True, slots=True)
class LoadEngine:
    """Start an engine with this build."""

    model: str
    build: Build


@dataclass(frozen=True, slots=True)
class StopEngine:
    """Stop the model's engine, however far it is, and wait for the memory."""

    model: str


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """Unseal a request and read which model it asks for."""

    request: RequestKey
    message: InferenceRequest


@dataclass(frozen=True, slots=True)
class StartGeneration:
    """Answer an opened request with this model's engine.

    Attributes:
        max_tokens: The longest answer.
    """

    request: RequestKey
    model: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class CancelGeneration:
    """Stop answering one request; a ``GenerationEnded`` follows all the same."""

    request: RequestKey


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """Drop an opened request that is not going to be answered."""

    request: RequestKey


@dataclass(frozen=True, slots=True)
class PersistAssignment:
    """Write down whose this machine is, before anything that follows from it.

    Attributes:
        at_s: The node's time now; the assignment's own times are on the same clock.
        topology: Digest of which keys each build has.
    """

    assignment: Assignment
    at_s: float
    topology: str


@dataclass(frozen=True, slots=True)
class PersistOrders:
    """Write down what the operator ordered, so that it outlives this process.

    Attributes:
        pins: Models pinned at run time.
        is_drained: Whether the node takes nothing new until it is told to.
    """

    pins: tuple[str, ...]
    is_drained: bool


@dataclass(frozen=True, slots=True)
class PersistMeasured:
    """Write down what loads were found to take, so that the next run need not guess."""

    measured: tuple[Measured, ...]


@dataclass(frozen=True, slots=True)
class TellOwner:
    """Answer an order.

    Attributes:
        ask: The number that came with it.
        status: ``done``; ``under_way``, which another answer follows; ``refused``: nothing was
            changed; ``failed``: it was begun and undone, or given up.
        words: One sentence for a person.
    """

    ask: int
    status: Literal["done", "under_way", "refused", "failed"]
    words: str


LinkEffect: TypeAlias = Dial | HangUp | Send
WeightsEffect: TypeAlias = (
    FetchWeights | CancelFetch | VerifyWeights | RefreshInventory | ReadCatalog
)
EngineEffect: TypeAlias = LoadEngine | StopEngine
HostEffect: TypeAlias = SampleHost | ReadActivity
RequestEffect: TypeAlias = OpenRequest | StartGeneration | CancelGeneration | ForgetRequest

OwnerEffect: TypeAlias = PersistAssignment | PersistOrders | PersistMeasured | TellOwner

Effect: TypeAlias = (
    LinkEffect | WeightsEffect | EngineEffect | RequestEffect | HostEffect | OwnerEffect
)
"""Everything that can be done."""
