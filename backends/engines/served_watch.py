"""What can be known of a running server from outside: its figures, its sleep, its window."""

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import cast

from . import profiles_metrics
from .http_call import CallFailed, Peer, Unreachable, call
from .profiles import Profile
from .profiles_metrics import Gauges

ASK_S = 5.0
"""How long the server may take to answer a question about itself."""

WAKE_S = 120.0
"""How long it may take to wake: what it had left it has to bring back."""

METRICS = "/metrics"
FIGURES_BYTES = 4 * 2**20
MEMORY_EVERY = 10
"""Looks from one measurement of its memory to the next, which takes a while."""


_NOT_YET = frozenset(
    {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
)


class Watch:
    """Looks at one server, and puts it to sleep when it has been idle for long.

    Args:
        peer: How it is reached.
        profile: What kind it is.
        memory: Measures what it holds; runs in a thread.
        sleep_after_s: Idle for so long, it is put to sleep; 0: never.

    Attributes:
        gauges: What it said of itself last.
        gauges_s: Loop time when it was asked that; before the first time, -1.
        missed: Looks in a row that nobody answered.
        absence: Why nobody took the last call; empty: somebody did.
        memory_bytes: What it held last.
    """

    def __init__(
        self,
        peer: Peer,
        profile: Profile,
        *,
        memory: Callable[[], int | None],
        sleep_after_s: float = 0.0,
    ) -> None:
        self._peer = peer
        self._profile = profile
        self._memory = memory
        self._sleep_after_s = sleep_after_s if profile.sleep else 0.0
        self._bed = asyncio.Lock()
        self._is_asleep = False
        self._looks = 0
        self._has_metrics = True
        self.gauges = Gauges()
        self.gauges_s = -1.0
        self.missed = 0
        self.absence = ""
        self.memory_bytes: int | None = None

    async def look(self, *, idle_s: float) -> None:
        """Read its figures; put it to sleep if it is idle for long.

        Args:
            idle_s: Seconds since its last answer ended; 0 while there are some.
        """
        asked_s = asyncio.get_running_loop().time()
        told = await self.get(METRICS) if self._has_metrics else None
        gauges = (
            Gauges() if told is None else profiles_metrics.read(told.decode("utf-8", "replace"))
        )
        if gauges != Gauges():
            self.gauges, self.gauges_s = gauges, asked_s
        elif self._looks == 0:
            self._has_metrics = False
        if told is None and not await self.is_there():
            self.missed += 1
            return
        self.missed = 0
        if self._looks % MEMORY_EVERY == 0:
            self.memory_bytes = await asyncio.to_thread(self._memory)
        self._looks += 1
        if 0 < self._sleep_after_s <= idle_s:
            await self._lie_down()

    async def is_there(self) -> bool:
        """Whether it is ready, or, if it does not tell that, there to be asked for an answer."""
        status, _ = await self._ask(self._profile.ready)
        if self._profile.tells_ready or status is None:
            return status == HTTPStatus.OK
        return status not in _NOT_YET

    async def get(self, target: str) -> bytes | None:
        """What it answers to a question about itself; ``None``: nothing of use."""
        status, body = await self._ask(target)
        return body if status == HTTPStatus.OK else None

    async def _ask(self, target: str) -> tuple[int | None, bytes]:
        self.absence = ""
        try:
            async with (
                asyncio.timeout(ASK_S),
                call(self._peer, "GET", target, connect_s=ASK_S) as answer,
            ):
                return answer.status, await answer.whole(limit_bytes=FIGURES_BYTES)
        except (CallFailed, TimeoutError) as error:
            self.absence = str(error) if isinstance(error, Unreachable) else ""
            return None, b""

    async def context_tokens(self, served_name: str) -> int | None:
        """The longest prompt and answer that it takes, if it says so.

        Args:
            served_name: What it calls the model: adapters are listed beside it.
        """
        told = await self.get("/v1/models")
        try:
            listed = cast("object", json.loads(told or b"{}"))
        except (ValueError, RecursionError):
            return None
        rows = cast("Mapping[str, object]", listed).get("data") if isinstance(listed, dict) else ()
        found = cast("list[object]", rows) if isinstance(rows, list) else []
        mine = [row for row in found if _id_of(row) == served_name]
        match mine or found:
            case [{"max_model_len": int(tokens)}]:
                return tokens if tokens > 0 else None
            case [{"meta": {"n_ctx": int(tokens)}}]:
                return tokens if tokens > 0 else None
            case _:
                return None  # with many models it cannot be told whose it is

    async def wake(self) -> None:
        """See that it is awake; if it was asleep, wait until it has woken.

        Raises:
            CallFailed: It does not wake.
        """
        if self._profile.sleep is None or self._sleep_after_s == 0:
            return
        async with self._bed:
            if self._is_asleep:
                await self._post(self._profile.sleep[1])
                self._is_asleep = False

    async def _lie_down(self) -> None:
        async with self._bed:
            if self._is_asleep or self._profile.sleep is None:
                return
            # also if nobody says how that went: to wake what is awake does no harm
            self._is_asleep = True
            try:
                await self._post(self._profile.sleep[0])
            except CallFailed:
                self.missed += 1

    async def _post(self, target: str) -> None:
        async with call(self._peer, "POST", target, body=b"{}", silence_s=WAKE_S) as answer:
            await answer.whole(limit_bytes=FIGURES_BYTES)
            if answer.status != HTTPStatus.OK:
                problem = f"it answered {target.partition('?')[0]} with status {answer.status}"
                raise CallFailed(problem)


def _id_of(row: object) -> object:
    return cast("Mapping[str, object]", row).get("id") if isinstance(row, dict) else None
