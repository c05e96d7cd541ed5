"""MLX in a child process or, by choice, in a thread of this one.

A child keeps the engine's library out of the agent; a thread keeps text in one process.
This side translates between :class:`~.base.Engine` and the child's messages, bounds how many
answers there may be, and watches for signs of life. Decoding, text and tools are the child's.
"""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Literal

from ...config.refusals import Overloaded, RequestRefused, RequestTooLarge
from ...config.settings import Mlx
from .answers import Answer, Answers
from .base import NOT_SERVED, Finished, Load, Loaded, Piece, Prompt
from .child import Child
from .errors import (
    EngineDied,
    EngineError,
    EngineMissing,
    EngineStartFailed,
    EngineTimeout,
)
from .frames import FROM_CHILD_BYTES, Decoder, FrameBroken, FrameTooLong, encode, from_child
from .inthread import InThread
from .life import Life
from .messages import (
    Begun,
    Cancel,
    Ended,
    FromChild,
    Generate,
    LoadFailed,
    LoadModel,
    ModelLoaded,
    Quit,
    Refused,
    Stats,
    Take,
    Tokens,
    Unload,
)

WAITING_RATIO = 2
"""Answers that may wait in the child, for each that may run."""

UNREAD_LIMIT_TOKENS = 2**19
"""How far all readers together may be behind before decoding pauses, for all: a few MiB of text.

So much that some who stand still, with an answer of full length each, keep nobody else waiting.
"""

_CHILD = f"{__package__}.mlx_child"


class MlxEngine:
    """One model in one child process, or in one thread of this one.

    Args:
        folder: The verified build on disk, absolute.
        model: Its id, for messages.
        settings: Limits and patience.
        context_tokens: The operator's bound of prompt and answer; ``None``: the model's own.
        command: What to run instead of the MLX child: something that speaks its messages.
        unread_limit_tokens: How far all readers together may be behind.
    """

    name = "mlx"
    keeps_beats = True

    def __init__(
        self,
        folder: str,
        *,
        model: str,
        settings: Mlx,
        context_tokens: int | None,
        command: Sequence[str] | None = None,
        unread_limit_tokens: int = UNREAD_LIMIT_TOKENS,
    ) -> None:
        self.model = model
        self._settings = settings
        self._load_message = LoadModel(
            folder,
            context_tokens,
            settings.prefill_step_tokens,
            settings.max_running,
            int(settings.prompt_cache_gib * 2**30),
        )
        self._is_ours = command is None
        self._child = self._other_side(command)
        self._decoder = Decoder[FromChild](from_child, limit_bytes=FROM_CHILD_BYTES)
        self._answers = Answers(unread_limit_tokens=unread_limit_tokens, listen=self._listen)
        self._life = Life(self.name, ended=self._over)
        self._loaded = asyncio.Event()
        self._context_tokens = context_tokens
        self._memory_bytes: int | None = None
        self._load_s: float | None = None
        self._stats = Stats(0, 0, 0, 0, 0)

    def _other_side(self, command: Sequence[str] | None) -> Child | InThread:
        if command is None and self._settings.isolation == "inprocess":
            from .mlx_child import lodge  # noqa: PLC0415 - only when chosen

            return InThread(lodge, self)
        return Child(command or (sys.executable, "-P", "-m", _CHILD), self)

    @property
    def pid(self) -> int | None:
        """The child process, once there is one; ``None`` for a thread."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """How the child ended; ``None`` while it runs."""
        return self._child.exit_code

    @property
    def is_well(self) -> bool:
        """See :attr:`.base.EarlyEngine.is_well`."""
        return self._life.is_loading

    async def prepare(self) -> None:
        """Start the child, which imports its library; see :meth:`.base.EarlyEngine.prepare`."""
        if self._is_ours and importlib.util.find_spec("mlx_lm") is None:
            raise EngineMissing(engine=self.name, needs="pip install 'poolhand[mlx]'")
        self._life.begin()
        try:
            await self._child.start()
        except OSError as error:
            raise EngineStartFailed(
                engine=self.name, kind="exited", reason=f"no process: {error.strerror}"
            ) from error

    def take(self, places: tuple[str, str], names: tuple[str, ...]) -> None:
        """Have the child read what has arrived; see :meth:`.base.EarlyEngine.take`."""
        if self.is_well:
            self._child.say(encode(Take(places, names)))

    async def start(self) -> Loaded:
        """Load the model, in a child; see :meth:`.base.Engine.start`."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        if self._life.is_new:
            await self.prepare()
        self._child.say(encode(self._load_message))
        try:
            async with asyncio.timeout(self._settings.start_timeout_s):
                await self._loaded.wait()
        except TimeoutError as error:
            waited_s = self._settings.start_timeout_s
            raise self._life.fail(EngineTimeout(engine=self.name, waited_s=waited_s)) from error
        if not self._life.is_running:
            raise self._life.error
        took_s = self._load_s = loop.time() - began_s
        return Loaded(took_s, self._memory_bytes, self._context_tokens)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Answer; see :meth:`.base.Engine.generate`. Closing it cancels within one step."""
        if not self._life.is_running:
            raise self._life.error
        if prompt.endpoint == "messages":
            raise RequestRefused(reason=NOT_SERVED)
        most = self._settings.max_running * (1 + WAITING_RATIO)
        if self._answers.open_count >= most:
            raise Overloaded(running=self._answers.open_count, most=most)
        answer = self._answers.open(offer=prompt.take)
        try:
            self._child.say(self._frame(answer, prompt, prompt.endpoint))
            piece: Piece | None = None
            while not isinstance(piece, Finished):
                piece = await answer.piece()
                yield piece
        finally:
            if self._answers.close(answer):
                self._child.say(encode(Cancel(answer.number)))

    def load(self) -> Load:
        """What the child told last; see :meth:`.base.Engine.load`."""
        told, context = self._stats, self._context_tokens
        most = self._settings.max_running
        return Load(
            running=told.running,
            waiting=told.waiting,
            max_running=most,
            active_tokens=told.active_tokens,
            budget_used_tokens=told.budget_used_tokens,
            budget_max_tokens=None if context is None else most * context,
            kv_bytes_per_token=told.kv_bytes_per_token,
            decode_tps=told.decode_tps,
            prefill_tps=told.prefill_tps,
            memory_active_bytes=told.memory_active_bytes,
            memory_peak_bytes=told.memory_peak_bytes,
            memory_cache_bytes=told.memory_cache_bytes,
            generated_tokens=told.generated_tokens,
            load_s=self._load_s,
        )

    async def died(self) -> EngineError:
        """Return when the child has ended unasked, or was given up, and say of what."""
        await self._life.is_over.wait()
        return self._life.error

    async def stop(self) -> None:
        """End the child; when this returns it is no more and its memory is back."""
        is_well = self._life.is_running
        self._life.stop()
        self._stats = Stats(0, 0, 0, 0, self._stats.generated_tokens)
        self._answers.fail(self._life.error)
        self._loaded.set()
        farewell = (encode(Unload()), encode(Quit())) if is_well else ()
        await self._child.stop(farewell, patience_s=self._settings.stop_timeout_s)

    def _frame(self, answer: Answer, prompt: Prompt, endpoint: Literal["chat", "text"]) -> bytes:
        most = min(prompt.max_tokens, self._settings.max_output_tokens)
        try:
            return encode(Generate(answer.number, endpoint, prompt.body, most, prompt.beat_s))
        except FrameTooLong:
            answer.end(RequestTooLarge())
            raise RequestTooLarge from None
        except FrameBroken:
            answer.end(RequestTooLarge())
            raise RequestRefused(reason="the body cannot be passed on") from None

    # ── what the child says ───────────────────────────────────────────────────────────

    def heard(self, data: bytes) -> None:
        """Take bytes from the child; garbage is its end."""
        self._life.heard(asyncio.get_running_loop().time())
        try:
            messages = self._decoder.feed(data)
        except FrameBroken as broken:
            self._child.kill()
            self._fail("protocol", str(broken))
            return
        for message in messages:
            self._take(message)

    def gone(self, exit_code: int | None) -> None:
        """The child has ended."""
        self._fail("exited", f"its process ended with exit code {exit_code}", exit_code)

    def _take(self, message: FromChild) -> None:
        match message:
            case Begun() | Tokens() | Ended() | Refused():
                self._answers.take(message)
            case Stats():
                self._stats = message
            case ModelLoaded() if self._life.is_loading:
                self._context_tokens = message.context_tokens
                self._memory_bytes = message.memory_bytes
                self._life.run()
                self._loaded.set()
                # one that nobody listens to cannot say that it lives
                stall_s = self._settings.stall_timeout_s
                self._life.watch(stall_s, is_due=lambda: self._answers.is_listening)
            case LoadFailed():
                self._fail(message.kind, message.reason)
            case _:
                pass  # hello, progress, tick, unloaded: signs of life

    def _fail(self, kind: str, reason: str, exit_code: int | None = None) -> None:
        tail = self._child.log_tail
        if self._life.is_loading:
            failed = EngineStartFailed(engine=self.name, kind=kind, reason=reason, tail=tail)
            self._life.end(failed)
        else:
            self._life.end(EngineDied(engine=self.name, exit_code=exit_code, tail=tail))

    def _over(self, error: EngineError) -> None:
        """It has ended unasked."""
        self._answers.fail(error)
        self._loaded.set()

    def _listen(self, to_more: bool) -> None:  # noqa: FBT001 - a callback's only argument
        self._life.heard(asyncio.get_running_loop().time())
        self._child.listen(to_more=to_more)
