"""OpenAI, Anthropic, Azure and whatever speaks like them: an engine that somebody else runs.

To the node it is an engine like any other. What is different is what it may cost: so it takes no
more side by side and a day than the operator allows, tries again only before the first byte of
an answer, and leaves a provider alone that refuses again and again. It holds no memory here,
and tells no speed: neither was measured on this machine.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, aclosing

from ...config.errors import AgentError
from ...config.external import External
from ...config.refusals import Overloaded, RequestRefused, RequestTooLarge
from ...config.secrets import Secret
from . import dialects_anthropic, dialects_openai
from .asked import BadRequest
from .base import (
    NOT_SERVED,
    Delta,
    Finished,
    Load,
    Loaded,
    Native,
    Piece,
    Prompt,
    Started,
    Usage,
)
from .chat_http import Refused, converse
from .chat_pieces import AnswerBroken, Reader, Transcript
from .dialects import Call
from .dialects_events import Message
from .errors import EngineError, EngineNotRunning
from .hosted_circuit import Circuit
from .hosted_days import Days
from .hosted_errors import ProviderBroke, ProviderBusy, ProviderPaused, ProviderUnreachable
from .hosted_key import shown
from .hosted_peer import DENIED, Peers
from .hosted_refusals import Verdict, verdict, wait_s
from .http_call import CallFailed, Unreachable
from .served_body import LIMIT_BYTES


class HostedEngine:
    """One model of one account at one provider.

    Args:
        model: Its id here.
        external: Where it is, and what it may cost.
        days: What was used today.
        key: Reads the provider's key; blocks.
        peers: The provider's addresses.
        chance: Gives numbers in [0, 1).
    """

    def __init__(
        self,
        *,
        model: str,
        external: External,
        days: Days,
        key: Callable[[], Secret | None],
        peers: Peers | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name: str = external.dialect
        self.model = model
        self._external = external
        self._theirs = external.model or model
        self._days = days
        self._key = key
        self._peers = peers or Peers(external)
        self._chance = chance
        self._circuit = Circuit()
        self._headers: Mapping[str, str] | None = None
        self._is_running = False
        self._running = 0
        self._generated_tokens = 0
        self._load_s: float | None = None

    async def start(self) -> Loaded:
        """Read the key, and ask the provider for its models, which costs nothing.

        Raises:
            SecretUnusable: The key is not to be had.
            ProviderUnsafe: The provider's address is none to talk to.
            ProviderUnreachable: Nobody answers there.
            ProviderRefused: The provider does not take the key.
            StateUnusable: The counts of today cannot be read.
        """
        began_s = _now_s()
        await asyncio.to_thread(self._days.recall)
        await self._peers.open()
        await self._look()
        self._is_running = True
        self._load_s = _now_s() - began_s
        return Loaded(self._load_s, None, None)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Answer; see :meth:`.base.Engine.generate`. Closing it hangs up."""
        self._check()
        asked = self._asked(prompt)
        body = self._encoded(asked)
        most_tokens = min(prompt.max_tokens, self._external.max_output_tokens)
        usage: Usage | None = None
        with ExitStack() as undo:
            self._admit()
            _ = undo.callback(self._leave)
            await self._days.begin(most_tokens)
            _ = undo.callback(lambda: self._count(most_tokens, usage))
            async with aclosing(self._tries(asked, body, prompt)) as pieces:
                async for piece in pieces:
                    usage = _so_far(usage, piece)
                    yield piece

    def load(self) -> Load:
        """Our own counts; what the provider does not tell is unknown."""
        return Load(
            running=self._running,
            max_running=self._external.max_running,
            generated_tokens=self._generated_tokens,
            load_s=self._load_s,
            trouble=self._trouble(),
        )

    async def died(self) -> EngineError:
        """Wait for ever: nothing of it is here that could die."""
        await asyncio.Event().wait()
        return EngineNotRunning(engine=self.name)

    async def stop(self) -> None:
        """Hang up on every running answer, and take no more."""
        self._is_running = False
        self._headers = None
        self._peers.lines.cut()
        await self._days.settled()

    # ── may it be asked? ──────────────────────────────────────────────────────────────

    def _check(self) -> None:
        if not self._is_running:
            raise EngineNotRunning(engine=self.name)

    def _asked(self, prompt: Prompt) -> Call:
        is_anthropic = self._external.dialect == "anthropic"
        if prompt.endpoint == ("text" if is_anthropic else "messages"):
            raise RequestRefused(reason=NOT_SERVED)
        dialect = dialects_anthropic if is_anthropic else dialects_openai
        try:
            return dialect.call(self._external, self._theirs, prompt)
        except BadRequest as wrong:
            raise RequestRefused(reason=str(wrong)) from None

    def _encoded(self, asked: Call) -> bytes:
        try:
            body = asked.encoded()
        except BadRequest as wrong:
            raise RequestRefused(reason=str(wrong)) from None
        if len(body) > LIMIT_BYTES:
            raise RequestTooLarge
        return body

    def _admit(self) -> None:
        """Take a request on, or say why not; then :meth:`_leave` is owed."""
        most = self._external.max_running
        if self._running >= most:
            raise Overloaded(running=self._running, most=most)
        wait = self._circuit.wait_s(_now_s())
        if wait is not None:
            reason = "it refused several times in a row"
            raise ProviderPaused(host=self._peers.host, reason=reason, wait_s=wait)
        self._running += 1

    def _leave(self) -> None:
        self._running -= 1
        self._circuit.undecided()

    def _count(self, most_tokens: int, usage: Usage | None) -> None:
        self._generated_tokens += usage.completion_tokens if usage else 0
        self._days.end(most_tokens, usage)

    def _trouble(self) -> str | None:
        state = self._circuit.state()
        if state != "closed":
            return f"the provider refuses; circuit {state}"
        return self._days.exhausted()

    # ── asking ────────────────────────────────────────────────────────────────────────

    async def _tries(self, asked: Call, body: bytes, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Ask, and ask again as long as nothing of an answer has come."""
        nth, has_begun, has_spoken = 0, False, False
        while True:
            try:
                async with aclosing(self._once(asked, body, prompt)) as pieces:
                    async for piece in pieces:
                        if not has_begun:
                            has_begun = True
                            self._circuit.passed()
                        has_spoken |= not isinstance(piece, Started)
                        yield piece
            except Refused as refused:
                judged = self._judged(refused)
            except AnswerBroken as broken:
                raise self._broken(broken, has_spoken=has_spoken) from None
            except CallFailed as failed:
                judged = self._cut(failed)
            else:
                return
            wait = wait_s(nth, judged.retry_after_s, self._chance()) if judged.may_retry else None
            if wait is None:
                if judged.is_strike:
                    self._circuit.struck(_now_s(), retry_after_s=judged.retry_after_s)
                raise judged.error
            await asyncio.sleep(wait)
            self._check()
            nth += 1

    async def _once(self, asked: Call, body: bytes, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Ask once: the first address that takes the call."""
        headers = await self._shown()
        peers = await self._peers.all(headers)
        self._check()
        for peer in peers:
            answer = converse(
                peer,
                asked.target,
                body,
                headers=asked.headers,
                connect_s=self._external.connect_timeout_s,
                silence_s=self._external.stall_timeout_s,
                reader=self._reader(prompt),
            )
            try:
                async with aclosing(answer) as pieces:
                    async for piece in pieces:
                        yield piece
            except Unreachable:
                if peer is peers[-1]:
                    raise
            else:
                return

    async def _look(self) -> None:
        own: Mapping[str, str] = {}
        if self._external.dialect == "anthropic":
            target = dialects_anthropic.target(self._external, "/models")
            own = dialects_anthropic.HEADERS
        else:
            target = dialects_openai.target(self._external, self._theirs, "/models")
        await self._peers.look(await self._shown(), target, own)

    async def _shown(self) -> Mapping[str, str]:
        """The headers of every call, read anew after a refusal: a key may have been changed."""
        if self._headers is None:
            key = await asyncio.to_thread(self._key)
            self._headers = {**dict(self._external.static_headers), **shown(self._external, key)}
        return self._headers

    def _reader(self, prompt: Prompt) -> Reader:
        if self._external.dialect != "anthropic":
            return Transcript()
        return Message(public=self.model if prompt.endpoint == "messages" else None)

    def _judged(self, refused: Refused) -> Verdict:
        if refused.refusal.status in DENIED:
            self._headers = None
        return verdict(refused.refusal, host=self._peers.host)

    def _broken(self, broken: AnswerBroken, *, has_spoken: bool) -> AgentError:
        """What an answer that broke off ends with; too busy to begin is no fault."""
        self._check()
        host, reason = self._peers.host, str(broken)
        if broken.is_busy and not has_spoken:
            return ProviderBusy(host=host, reason=reason)
        return ProviderBroke(host=host, reason=reason)

    def _cut(self, failed: CallFailed) -> Verdict:
        """What a line that failed means: nothing, if it was cut from here."""
        self._check()
        error = ProviderUnreachable(host=self._peers.host, reason=str(failed))
        return Verdict(error, may_retry=True, is_strike=False, retry_after_s=None)


def _so_far(usage: Usage | None, piece: Piece) -> Usage | None:
    """What is known of an answer's cost so far: at least what was said counts against a day."""
    match piece:
        case Started(prompt_tokens):
            return Usage(prompt_tokens or 0, 0)
        case Delta(tokens=tokens) | Native(tokens=tokens) if usage is not None:
            return Usage(usage.prompt_tokens, usage.completion_tokens + tokens)
        case Finished(_, whole):
            return whole
        case _:
            return usage


def _now_s() -> float:
    return asyncio.get_running_loop().time()
