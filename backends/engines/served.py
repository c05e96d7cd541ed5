"""A model in a server that speaks OpenAI's dialect: vLLM, SGLang, llama.cpp's, or one attached.

The server answers; this side starts it, asks it, counts what is under way and watches for
signs of life. What the servers differ in is in their profiles, whose process it is in
:mod:`.served_origins`.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from ...config.engines import Server
from ...config.errors import AgentError
from ...config.refusals import Overloaded
from . import served_body
from .base import Delta, Finished, Load, Loaded, Piece, Prompt
from .chat_http import Refused, converse
from .chat_pieces import AnswerBroken, Uncounted
from .errors import (
    EngineBrokeOff,
    EngineDied,
    EngineError,
    EngineStartFailed,
    EngineTimeout,
    EngineUnreachable,
)
from .http_call import CallFailed, Peer
from .life import Life
from .pace import Pace
from .profiles import Profile
from .served_errors import as_error
from .served_origins import Origin
from .served_watch import ASK_S, Watch

POLL_S = 1.0
"""From one look at the server's own figures to the next."""

FIRST_LOOK_S = 0.02
LONGEST_LOOK_S = 0.5
"""From one try to the next while it starts."""

LAST_WORDS_S = 0.3
"""How long after a cut answer the news of the server's end may take."""

HUNG_S = 2.0
"""How long one that has given no sign may take to leave: nothing of it is left to be finished."""

MISSED_LOOKS = 3
"""So often in a row nobody may answer for an attached server."""

PROBE_TOKENS = 8

_WHOLE: Mapping[str, object] = {"stream": False}
"""Asked of a server that counts no tokens in a stream; most count those of a whole answer."""


class ServedEngine:
    """One model in one server.

    Args:
        origin: Whose process it is.
        profile: What kind of server it is.
        served_name: What the server calls the model.
        settings: Limits and patience.
        context_tokens: The operator's bound of prompt and answer; ``None``: the model's own.
        sleep_after_s: Idle for so long, it is put to sleep; 0: never.
        adapters: What requests call the adapters that it serves, in the plan's order.
        poll_s: From one look at its own figures to the next.
    """

    def __init__(
        self,
        origin: Origin,
        profile: Profile,
        *,
        served_name: str,
        settings: Server,
        context_tokens: int | None = None,
        sleep_after_s: float = 0.0,
        adapters: Sequence[str] = (),
        poll_s: float = POLL_S,
    ) -> None:
        self.name = profile.name
        self._origin = origin
        self._profile = profile
        self._served_name = served_name
        self._settings = settings
        self._context_tokens = context_tokens
        self._max_running = settings.max_running
        self._sleep_after_s = sleep_after_s
        self._adapted = {name: profile.adapted(at) for at, name in enumerate(adapters)}
        self._plain: Mapping[str, object] = profile.adapted(None) if adapters else {}
        self._asks = profile.asks
        self._poll_s = poll_s
        self._peer = Peer("")
        self._watch = self._watch_of(self._peer)
        self._life = Life(self.name, ended=self._over)
        self._pace = Pace()
        self._open = 0
        self._changed_s = 0.0
        self._generated_tokens = 0
        self._load_s: float | None = None

    def _watch_of(self, peer: Peer) -> Watch:
        return Watch(
            peer,
            self._profile,
            memory=self._origin.memory_bytes,
            sleep_after_s=self._sleep_after_s,
        )

    @property
    def pid(self) -> int | None:
        """The server's own process; ``None`` if it is not ours, or does not run."""
        return self._origin.pid

    # ── coming and going ──────────────────────────────────────────────────────────────

    async def start(self) -> Loaded:
        """Have the server run, wait until it is ready, have it answer once; see the port."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._life.begin()
        try:
            async with asyncio.timeout(self._settings.start_timeout_s):
                self._peer = await self._origin.start(self._gone)
                self._watch = self._watch_of(self._peer)
                await self._until_ready()
                bounds = (await self._watch.context_tokens(self._served_name), self._context_tokens)
                self._context_tokens = min((one for one in bounds if one), default=None)
                await self._probe()
        except TimeoutError as error:
            waited_s = self._settings.start_timeout_s
            raise self._life.fail(EngineTimeout(engine=self.name, waited_s=waited_s)) from error
        if not self._life.is_loading:
            raise self._life.error
        self._life.run()
        await self._watch.look(idle_s=0)
        self._load_s = loop.time() - began_s
        self._changed_s = loop.time()
        self._generated_tokens = 0
        is_heard = self._asks is not _WHOLE  # until a whole answer is there, nothing is
        is_due = lambda: is_heard and self._open > 0  # noqa: E731 - read with the line above
        self._life.watch(self._settings.stall_timeout_s, is_due=is_due)
        memory_bytes, sleeps = self._watch.memory_bytes, self._sleep_after_s > 0
        return Loaded(self._load_s, memory_bytes, self._context_tokens, sleeps)

    async def _until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        taken_s, wait_s = loop.time(), FIRST_LOOK_S
        while self._life.is_loading:
            if await self._watch.is_there():
                return
            if not (reason := self._watch.absence):
                taken_s = loop.time()
            elif loop.time() - taken_s >= self._origin.absent_s:
                raise self._life.fail(EngineUnreachable(engine=self.name, reason=reason))
            try:
                async with asyncio.timeout(wait_s):
                    await self._life.is_over.wait()
            except TimeoutError:
                wait_s = min(wait_s * 2, LONGEST_LOOK_S)
        raise self._life.error

    async def _probe(self) -> None:
        """Have it answer once: a server that listens may still be unable to."""
        try:
            try:
                await self._try()
            except Uncounted:
                if self._origin.is_ours:
                    raise
                self._asks = _WHOLE
                await self._try()
        except (CallFailed, AnswerBroken, Refused) as error:
            await self._last_words()
            if self._life.is_loading:
                tail = self._origin.log_tail
                failed = EngineStartFailed(
                    engine=self.name, kind="protocol", reason=str(error), tail=tail
                )
                self._life.fail(failed)
            raise self._life.error from None

    async def _try(self) -> None:
        chat = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
        text = {"prompt": "Hi", "temperature": 0}
        try:
            await self._hear(Prompt("probe", "chat", chat, PROBE_TOKENS))
        except Refused:
            # a model without a chat template still completes text
            await self._hear(Prompt("probe", "text", text, PROBE_TOKENS))

    async def _hear(self, prompt: Prompt) -> None:
        async with aclosing(self._pieces(prompt)) as pieces:
            async for _ in pieces:
                pass

    async def died(self) -> EngineError:
        """Look after the server until it has ended unasked, and say of what."""
        loop = asyncio.get_running_loop()
        while not self._life.is_over.is_set():
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._life.is_over.wait()
            except TimeoutError:
                idle_s = 0.0 if self._open else loop.time() - self._changed_s
                await self._watch.look(idle_s=idle_s)
            if self._watch.missed >= MISSED_LOOKS and not self._origin.is_ours:
                self._life.end(EngineDied(engine=self.name, exit_code=None))
        return self._life.error

    async def stop(self) -> None:
        """End the server if it is ours; running answers end with an error."""
        self._life.stop()
        self._peer.lines.cut()
        is_hung = isinstance(self._life.death, EngineTimeout)
        patience_s = self._settings.stop_timeout_s
        await self._origin.stop(min(patience_s, HUNG_S) if is_hung else patience_s)

    def _gone(self, exit_code: int | None) -> None:
        """The server has ended."""
        if self._life.is_loading:
            self._life.end(self._origin.failed(exit_code))
        else:
            tail = self._origin.log_tail
            self._life.end(EngineDied(engine=self.name, exit_code=exit_code, tail=tail))

    def _over(self, error: EngineError) -> None:
        """It has ended unasked: whoever hears an answer hears of it."""
        del error
        self._peer.lines.cut()

    # ── answering ─────────────────────────────────────────────────────────────────────

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Answer; see :meth:`.base.Engine.generate`. Closing it hangs up on the server."""
        if not self._life.is_running:
            raise self._life.error
        most = self._max_running + self._settings.max_waiting
        if self._open >= most:
            raise Overloaded(running=self._open, most=most)
        self._count(+1)
        try:
            await self._watch.wake()
            async with aclosing(self._pieces(prompt)) as pieces:
                async for piece in pieces:
                    yield piece
        except (CallFailed, AnswerBroken, Refused) as error:
            raise await self._reason(error, most) from None
        finally:
            self._count(-1)

    async def _pieces(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        loop = asyncio.get_running_loop()
        target = served_body.target(prompt)
        asked = prompt.body.get("model")
        named = self._adapted.get(asked) if isinstance(asked, str) else None
        body = served_body.body(
            prompt,
            model=self._served_name,
            most_tokens=self._settings.max_output_tokens,
            asks={**self._asks, **(self._plain if named is None else named)},
            renamed=self._profile.renamed,
            sees_images=self._origin.sees_images,
        )
        asked_s, first_s, tokens = loop.time(), None, 0
        async with aclosing(converse(self._peer, target, body, connect_s=ASK_S)) as pieces:
            async for piece in pieces:
                now_s = loop.time()
                self._life.heard(now_s)
                match piece:
                    case Delta():
                        if first_s is None:
                            first_s = now_s
                        else:
                            tokens += piece.tokens
                        self._generated_tokens += piece.tokens
                    case Finished() if first_s is not None and self._asks is not _WHOLE:
                        self._pace.decoded(tokens, now_s - first_s)
                        if self._life.is_loading:
                            self._pace.prefilled(piece.usage.prompt_tokens, first_s - asked_s)
                    case _:
                        pass
                yield piece

    async def _reason(self, error: Exception, most: int) -> AgentError:
        """What a failed answer is to be called: its own failing, or the server's end."""
        if isinstance(error, CallFailed | AnswerBroken):
            await self._last_words()
        if not self._life.is_running:
            # a stop that followed at once is not what this answer ended of
            return self._life.death or self._life.error
        if isinstance(error, Refused):
            return as_error(
                error.refusal,
                engine=self.name,
                running=self._open,
                most=most,
                context_tokens=self._context_tokens,
            )
        return EngineBrokeOff(engine=self.name, reason=str(error))

    async def _last_words(self) -> None:
        """Give the news of the server's end the time to come, if there is any."""
        if not self._origin.is_ours:
            return
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._life.is_over.wait()
        except TimeoutError:
            pass

    def _count(self, more: int) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._open == 0:
            self._life.heard(now_s)
        self._open += more
        self._changed_s = now_s

    @property
    def figures_are_newer(self) -> bool:
        """Whether the server has spoken of itself since something changed here."""
        return self._watch.gauges_s > self._changed_s

    def load(self) -> Load:
        """How busy it is: its own figures where they are newer than our own count."""
        gauges = self._watch.gauges
        running, waiting = (
            min(self._open, self._max_running),
            max(0, self._open - self._max_running),
        )
        if not self._life.is_running:
            running = waiting = 0
        elif self.figures_are_newer:
            running = running if gauges.running is None else gauges.running
            waiting = waiting if gauges.waiting is None else gauges.waiting
        return Load(
            running=running,
            waiting=waiting,
            max_running=self._max_running,
            budget_used_tokens=gauges.budget_used_tokens,
            budget_max_tokens=gauges.budget_max_tokens,
            decode_tps=self._pace.decode_tps,
            prefill_tps=self._pace.prefill_tps or gauges.prefill_tps,
            memory_active_bytes=self._watch.memory_bytes,
            generated_tokens=self._generated_tokens,
            load_s=self._load_s,
        )
