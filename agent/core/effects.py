"""What can be done about it, in the imperative.

The runtime carries effects out in the order given and starts each without waiting for the
one before; what becomes of it comes back as an event.
"""

from typing import Literal, TypeAlias

from ...backends.stores.base import Build
from ...config.errors import AgentError
from ...config.frozen import frozen
from ...config.hours import Sign
from ..wire.inbound import InferenceRequest
from ..wire.outbound import Outbound
from .assignment import Assignment
from .events import RequestKey
from .measured import Measured


@frozen
class Dial:
    """Open a line, and give it this number; any line before it is dead."""

    line: int


@frozen
class HangUp:
    """Close the line, with a goodbye if ``is_polite``, else at once."""

    line: int
    is_polite: bool = True


@frozen
class Send:
    """Say this on the line; if that line is gone, say nothing."""

    line: int
    message: Outbound


@frozen
class FetchWeights:
    """Bring the model to disk; nothing to do if it is there."""

    model: str


@frozen
class CancelFetch:
    """Stop bringing it; what is here stays."""

    model: str


@frozen
class VerifyWeights:
    """Check what is on disk before anything loads it."""

    model: str


@frozen
class RefreshInventory:
    """Look what of the offered models is on disk.

    Attributes:
        sizes_of: Models whose stores are asked how large they are, if nobody knows yet.
    """

    sizes_of: tuple[str, ...] = ()


@frozen
class ReadCatalog:
    """Read the public catalog soon: a model was named that the operator lets be taken from it."""

    model: str


@frozen
class SampleHost:
    """Read the machine now, not at the next heartbeat."""


@frozen
class ReadActivity:
    """Read whether the machine's owner needs it.

    Attributes:
        wanted: Which signs are heeded, by the words of ``owner.yield_to``.
    """

    wanted: tuple[Sign, ...]


@frozen
class LoadEngine:
    """Start an engine with this build."""

    model: str
    build: Build


@frozen
class StopEngine:
    """Stop the model's engine, however far it is, and wait for the memory."""

    model: str


@frozen
class OpenRequest:
    """Unseal a request and read which model it asks for."""

    request: RequestKey
    message: InferenceRequest


@frozen
class StartGeneration:
    """Answer an opened request with this model's engine.

    Attributes:
        max_tokens: The longest answer.
    """

    request: RequestKey
    model: str
    max_tokens: int


@frozen
class CancelGeneration:
    """Stop answering one request; a ``GenerationEnded`` follows all the same."""

    request: RequestKey


@frozen
class ForgetRequest:
    """Drop an opened request that is not going to be answered."""

    request: RequestKey


@frozen
class EndLocal:
    """A request of this machine's own programs is over: tell whoever asked.

    Attributes:
        error: Why it was refused or broke off; ``None``: the answer is whole.
    """

    request: RequestKey
    error: AgentError | None = None


@frozen
class PersistAssignment:
    """Write down whose this machine is, before anything that follows from it.

    Attributes:
        at_s: The node's time now; the assignment's own times are on the same clock.
        topology: Digest of which keys each build has.
    """

    assignment: Assignment
    at_s: float
    topology: str


@frozen
class PersistOrders:
    """Write down what the operator ordered, so that it outlives this process.

    Attributes:
        pins: Models pinned at run time.
        is_drained: Whether the node takes nothing new until it is told to.
    """

    pins: tuple[str, ...]
    is_drained: bool


@frozen
class PersistMeasured:
    """Write down what loads were found to take, so that the next run need not guess."""

    measured: tuple[Measured, ...]


@frozen
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
RequestEffect: TypeAlias = (
    OpenRequest | StartGeneration | CancelGeneration | ForgetRequest | EndLocal
)
OwnerEffect: TypeAlias = PersistAssignment | PersistOrders | PersistMeasured | TellOwner

Effect: TypeAlias = (
    LinkEffect | WeightsEffect | EngineEffect | RequestEffect | HostEffect | OwnerEffect
)
"""Everything that can be done."""
