"""What an engine is: one loaded model that answers many requests side by side.

An adapter translates and keeps no policy: no queue, no retry, no choice of model. Prompts
and answers pass through it and are readable nowhere in its ``repr``, log or errors.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import field
from typing import Literal, Protocol, runtime_checkable

from ...config.frozen import frozen
from .errors import EngineError

Endpoint = Literal["chat", "text", "messages"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

Offer = Callable[[str, int], bool]
"""Takes words, and how many tokens they are, if it can at once; says whether it did."""

NOT_SERVED = "this endpoint is not served here"
"""What an engine says to a request whose form it does not take."""


@frozen
class Prompt:
    """One request, as an engine takes it.

    Attributes:
        endpoint: ``chat`` has ``messages`` in its body, ``text`` a ``prompt``; ``messages`` is
            in Anthropic's form, which not every engine takes.
        body: The request, OpenAI-style but for ``messages``.
        max_tokens: Most tokens to answer, 1 or more; already bounded.
        beat_s: Of each beat of a clock one delta is enough: an engine may keep what comes for the
            next one, the first words and the end excepted. One that does so says that it
            ``keeps_beats``, so that nobody after it has to.
        take: An engine that offers it the words that come need not wake a reader; what was not
            taken is yielded, as is all that is no words.
    """

    request_id: str
    endpoint: Endpoint
    body: Mapping[str, object] = field(repr=False)
    max_tokens: int
    beat_s: float = 0.0
    take: Offer | None = field(default=None, repr=False, compare=False)


@frozen
class Usage:
    """What an answer took, in tokens.

    Attributes:
        cached_tokens: Those of the prompt that the server found in its cache; ``None``: it found
            none, or does not say.
    """

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None


@frozen
class Started:
    """The prompt is understood; the first event of an answer.

    Attributes:
        prompt_tokens: As the engine counted them; ``None`` if it tells only at the end.
    """

    prompt_tokens: int | None


@frozen
class ToolCall:
    """One complete call of a tool; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str = field(repr=False)


@frozen
class Delta:
    """What was said since the last delta.

    Attributes:
        tokens: How many generated tokens it stands for, 0 or more.
    """

    text: str = field(default="", repr=False)
    reasoning: str = field(default="", repr=False)
    tool_calls: tuple[ToolCall, ...] = ()
    tokens: int = 0

    def __init__(
        self,
        text: str = "",
        reasoning: str = "",
        tool_calls: tuple[ToolCall, ...] = (),
        tokens: int = 0,
    ) -> None:
        # written out: one is made for every token, and the general way takes twice as long
        put = object.__setattr__
        put(self, "text", text)
        put(self, "reasoning", reasoning)
        put(self, "tool_calls", tool_calls)
        put(self, "tokens", tokens)


@frozen
class Native:
    """One event of an answer in Anthropic's form, as its JSON on one line.

    Attributes:
        tokens: As of a :class:`Delta`.
    """

    data: str = field(repr=False)
    tokens: int = 0


@frozen
class Finished:
    """The answer is whole; the last event of an answer, always."""

    reason: FinishReason
    usage: Usage


Piece = Started | Delta | Native | Finished


@frozen
class Loaded:
    """What a load took.

    Attributes:
        took_s: Seconds from ``start`` to the first prompt that could be taken.
        memory_bytes: What the engine holds now, measured; ``None`` if it cannot be.
        context_tokens: Most tokens of prompt and answer together; ``None`` if unknown.
        sleeps: Idle for long, it leaves its memory by itself: it need not be stopped for that.
    """

    took_s: float
    memory_bytes: int | None
    context_tokens: int | None
    sleeps: bool = False


@frozen
class Load:
    """How busy an engine is: a cached view, for the heartbeat. Unknown figures are ``None``.

    Attributes:
        running: Requests that get tokens now.
        waiting: Requests that wait inside the engine.
        active_tokens: Prompt and generated tokens of running requests.
        budget_used_tokens: Tokens reserved by running requests, in the engine's own way of
            counting; for MLX, rows times the longest.
        budget_max_tokens: Most tokens that can be reserved.
        decode_tps: Moving average of one stream's tokens per second.
        prefill_tps: Moving average of prompt tokens per second.
        generated_tokens: Since the engine started.
        load_s: Seconds that the load took, until the first prompt could be taken.
        trouble: Why it answers nobody now, in closed words.
    """

    running: int = 0
    waiting: int = 0
    max_running: int | None = None
    active_tokens: int | None = None
    budget_used_tokens: int | None = None
    budget_max_tokens: int | None = None
    kv_bytes_per_token: int | None = None
    decode_tps: float | None = None
    prefill_tps: float | None = None
    memory_active_bytes: int | None = None
    memory_peak_bytes: int | None = None
    memory_cache_bytes: int | None = None
    generated_tokens: int = 0
    load_s: float | None = None
    trouble: str | None = None


@runtime_checkable
class EarlyEngine(Protocol):
    """An engine that can begin before its model is whole on the disk."""

    async def prepare(self) -> None:
        """Start what ``start`` would start first; ``stop`` has to be called whatever follows.

        Raises:
            EngineMissing: What runs the model is not installed.
            EngineStartFailed: It cannot be started.
        """
        ...

    def take(self, places: tuple[str, str], names: tuple[str, ...]) -> None:
        """Read tensors of a file that is still arriving; between ``prepare`` and ``start``.

        Args:
            places: Where it lies: while it arrives, and once it is whole.
            names: Which tensors have arrived; none: what was read of it before does not count.
        """
        ...

    @property
    def is_well(self) -> bool:
        """Whether ``start`` may go on from here; otherwise a fresh engine is wanted."""
        ...


class Engine(Protocol):
    """One loaded model.

    ``start`` and ``stop`` are called once each, by one owner, in this order; ``stop`` also
    when ``start`` failed half-way or was cancelled. ``generate`` may run many times at once
    between them; closing its generator early cancels that answer and no other. ``died`` is
    awaited by the owner while the engine runs.
    """

    name: str
    """The adapter's name, for messages."""

    async def start(self) -> Loaded:
        """Load the model; return once the first prompt could be taken.

        Raises:
            EngineMissing: What runs the model is not installed.
            EngineStartFailed: The model cannot be loaded.
            EngineTimeout: It did not become ready in time.
        """
        ...

    def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Answer: one :class:`Started`, deltas as they come, one :class:`Finished`.

        A reader that is slow gets larger deltas, not more of them.

        Raises:
            EngineNotRunning: Before ``start`` or after ``stop``.
            EngineDied: The engine ended meanwhile; no ``Finished`` will come.
            EngineTimeout: It runs but gives no sign of life.
            RequestRefused: The request's form is not what the engine takes.
            ContextExceeded: The prompt is longer than the model can hold.
            Overloaded: The engine runs as many answers as it can.
        """
        ...

    def load(self) -> Load:
        """How busy it is; never waits."""
        ...

    async def died(self) -> EngineError:
        """Return once the engine has ended without being asked, and say of what."""
        ...

    async def stop(self) -> None:
        """Free the memory; return when it is back. Running answers end with an error."""
        ...


def whole(value: object) -> int | None:
    """A whole number out of JSON, which knows but one kind of number: 16.0 is 16.

    Args:
        value: Anything; ``None`` is returned for what is no whole number.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
