"""What a model elsewhere may still cost today: counts that outlive the process.

One small file a model, written anew before each request is sent and after each answer. It counts
what a running answer may take as taken: a process that is killed leaves too many tokens there,
never too few. A file that cannot be understood counts as a day that is used up: a limit that a
damaged file lifts is none.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ...config.atomic import write_atomically
from ...config.external import External
from ...config.frozen import frozen
from ...config.paths import StateUnusable
from .base import Usage
from .hosted_errors import DailyLimitReached

FOLDER = "external"


@frozen
class Day:
    """What was used on one UTC day.

    Attributes:
        date: ``YYYY-MM-DD``.
        requests: That were sent.
        tokens: Of prompts and answers, as the provider counted them; in the file, what running
            answers may take, too.
    """

    model: str
    date: str
    requests: int = 0
    tokens: int = 0


def path_of(state_dir: Path, model: str) -> Path:
    """Where a model's counts lie."""
    return state_dir / FOLDER / f"{sha256(model.encode()).hexdigest()[:16]}.json"


class Days:
    """One model's counts, held against the operator's limits.

    Args:
        path: Their file; used only if there is a limit.
        model: Its id.
        external: Names the limits.
        clock_s: The wall clock, in Unix seconds.
    """

    def __init__(
        self, path: Path, *, model: str, external: External, clock_s: Callable[[], float]
    ) -> None:
        self._path = path
        self._most_requests = external.requests_per_day
        self._most_tokens = external.tokens_per_day
        self._clock_s = clock_s
        self._day = Day(model, "")
        self._reserved_tokens = 0
        self._newest = self._written = self._day
        # one of its own: a disk that is busy with weights needs seconds for one line
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="days")

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to keep."""
        return self._most_requests is not None or self._most_tokens is not None

    @property
    def day(self) -> Day:
        """Today's counts so far."""
        today = datetime.fromtimestamp(self._clock_s(), UTC).date().isoformat()
        if today > self._day.date:  # a clock that was set back gives nobody a second day
            self._day = Day(self._day.model, today)
        return self._day

    def recall(self) -> None:
        """Read what an earlier process left.

        Raises:
            StateUnusable: There is something that cannot be read.
        """
        if not self.is_limited:
            return
        try:
            self._day = TypeAdapter(Day).validate_json(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except ValidationError:
            reason = "it holds no counts; until it is removed, the day counts as used up"
            raise StateUnusable(path=str(self._path), reason=reason) from None
        except OSError as error:
            raise self._unusable(error) from error

    def exhausted(self) -> str | None:
        """Which of the limits is reached; ``None`` if there is room."""
        day = self.day
        if self._most_requests is not None and day.requests >= self._most_requests:
            return f"daily limit of {self._most_requests} requests reached"
        if self._most_tokens is not None and day.tokens >= self._most_tokens:
            return f"daily limit of {self._most_tokens} tokens reached"
        return None

    async def begin(self, max_tokens: int) -> None:
        """Count a request that is about to be sent; it is on the disk when this returns.

        Args:
            max_tokens: What its answer may take; kept aside until :meth:`end`, so that answers
                side by side do not all find the same room.

        Raises:
            DailyLimitReached: There is no room for it today.
            StateUnusable: It could not be written down.
        """
        day = self.day
        if self._most_requests is not None and day.requests >= self._most_requests:
            raise DailyLimitReached(what="requests", most=self._most_requests)
        promised = day.tokens + self._reserved_tokens
        if self._most_tokens is not None and promised >= self._most_tokens:
            raise DailyLimitReached(what="tokens", most=self._most_tokens)
        self._day = replace(day, requests=day.requests + 1)
        self._reserved_tokens += max_tokens
        if not self.is_limited:
            return
        try:
            await asyncio.wrap_future(self._save())
        except asyncio.CancelledError:
            self.end(max_tokens, None)
            raise
        except OSError as error:
            self.end(max_tokens, None)
            raise self._unusable(error) from error

    def end(self, max_tokens: int, usage: Usage | None) -> None:
        """Count what an answer took. Nobody waits for the disk: what lies there counts more.

        Args:
            max_tokens: As it was begun.
            usage: The provider's numbers; ``None`` if it told none.
        """
        self._reserved_tokens -= max_tokens
        if usage is not None:
            took = usage.prompt_tokens + usage.completion_tokens
            self._day = replace(self.day, tokens=self.day.tokens + took)
        if self.is_limited:
            _ = self._save()

    async def settled(self) -> None:
        """Wait until all that was counted is on the disk, or the disk has refused it."""
        if self.is_limited:
            await asyncio.wrap_future(self._thread.submit(lambda: None))

    def _save(self) -> Future[None]:
        day = self.day
        self._newest = replace(day, tokens=day.tokens + self._reserved_tokens)
        return self._thread.submit(self._write)

    def _write(self) -> None:
        """In the thread: what is newest by now, which may be on the disk already."""
        day = self._newest
        if day == self._written:
            return
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomically(self._path, (json.dumps(asdict(day)) + "\n").encode(), mode=0o600)
        self._written = day

    def _unusable(self, error: OSError) -> StateUnusable:
        return StateUnusable(path=str(self._path), reason=error.strerror or "it cannot be used")
