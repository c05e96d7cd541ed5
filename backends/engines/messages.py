"""What an engine and its child process say to each other (pure); ``frames.py`` has the bytes.

Each message is a tag and its fields in order. Both sides are of one version, so a message
never grows quietly: a new field is a new meaning for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .base import FinishReason, ToolCall

LoadFault = Literal["bad_model", "out_of_memory"]
RefusalKind = Literal["bad_request", "context"]


@dataclass(frozen=True, slots=True)
class Message:
    """Base of every message."""

    TAG: ClassVar[str] = ""


# ── to the child ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class LoadModel(Message):
    """Load what lies in a folder, once; only ``Take`` comes before it.

    Attributes:
        context_tokens: The operator's bound; ``None``: the model's own.
        prompt_cache_bytes: Most that is kept of finished answers for the next; 0: nothing.
    """

    TAG: ClassVar[str] = "load"

    folder: str
    context_tokens: int | None
    prefill_step_tokens: int
    max_running: int
    prompt_cache_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Take(Message):
    """Read tensors of a file that is still arriving; only before ``LoadModel``.

    Attributes:
        places: Where the file lies: while it arrives, and once it is whole.
        names: Which tensors have arrived; none: nothing read from it before counts.
    """

    TAG: ClassVar[str] = "take"

    places: tuple[str, str]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Generate(Message):
    """Answer one request.

    Attributes:
        answer: A number that is never used twice.
        beat_s: See :attr:`.base.Prompt.beat_s`; 0: each step's words are wanted at once.
    """

    TAG: ClassVar[str] = "generate"

    answer: int
    endpoint: Literal["chat", "text"]
    body: Mapping[str, object] = field(repr=False)
    max_tokens: int
    beat_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Cancel(Message):
    """Forget this answer; nothing more is said of it but what is under way."""

    TAG: ClassVar[str] = "cancel"

    answer: int


@dataclass(frozen=True, slots=True)
class AskStats(Message):
    """Say at once how busy you are."""

    TAG: ClassVar[str] = "stats"


@dataclass(frozen=True, slots=True)
class Unload(Message):
    """Give the model's memory back."""

    TAG: ClassVar[str] = "unload"


@dataclass(frozen=True, slots=True)
class Quit(Message):
    """Leave."""

    TAG: ClassVar[str] = "quit"


ToChild = LoadModel | Take | Generate | Cancel | AskStats | Unload | Quit


# ── from the child ────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """The child has its library at hand."""

    TAG: ClassVar[str] = "hello"

    version: str
    device: str


@dataclass(frozen=True, slots=True)
class Progress(Message):
    """So much of the model is in memory."""

    TAG: ClassVar[str] = "progress"

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class ModelLoaded(Message):
    """Prompts are taken from now on.

    Attributes:
        memory_bytes: What the child holds, as it measured itself: nobody else may look.
    """

    TAG: ClassVar[str] = "loaded"

    context_tokens: int | None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class LoadFailed(Message):
    """The model cannot be loaded; the child leaves."""

    TAG: ClassVar[str] = "load_failed"

    kind: LoadFault
    reason: str


@dataclass(frozen=True, slots=True)
class Begun(Message):
    """A prompt is understood and counted."""

    TAG: ClassVar[str] = "started"

    answer: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Row:
    """What one answer got in one decode step; ``tokens`` is 0 or more."""

    answer: int
    tokens: int
    text: str = field(default="", repr=False)
    reasoning: str = field(default="", repr=False)
    calls: tuple[ToolCall, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Tokens(Message):
    """One decode step, for all answers that took part in it."""

    TAG: ClassVar[str] = "tok"

    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Ended(Message):
    """An answer is whole."""

    TAG: ClassVar[str] = "end"

    answer: int
    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """A request cannot be answered.

    Attributes:
        reason: Closed words about its form, never a part of its content.
        prompt_tokens: Of ``kind`` ``context``: how long the prompt is; else 0.
        context_tokens: Of ``kind`` ``context``: how long it may be; else 0.
    """

    TAG: ClassVar[str] = "error"

    answer: int
    kind: RefusalKind
    reason: str
    prompt_tokens: int = 0
    context_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Stats(Message):
    """How busy the child is; the figures are those of :class:`~.base.Load`."""

    TAG: ClassVar[str] = "stats"

    running: int
    waiting: int
    active_tokens: int
    budget_used_tokens: int
    generated_tokens: int
    kv_bytes_per_token: int | None = None
    decode_tps: float | None = None
    prefill_tps: float | None = None
    memory_active_bytes: int | None = None
    memory_peak_bytes: int | None = None
    memory_cache_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Tick(Message):
    """The child's loop turns."""

    TAG: ClassVar[str] = "tick"


@dataclass(frozen=True, slots=True)
class Unloaded(Message):
    """The model is dropped."""

    TAG: ClassVar[str] = "unloaded"


FromChild = (
    Hello
    | Progress
    | ModelLoaded
    | LoadFailed
    | Begun
    | Tokens
    | Ended
    | Refused
    | Stats
    | Tick
    | Unloaded
)
