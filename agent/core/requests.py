"""The ledger: each accepted request ends exactly once.

::

    heard ─▶ OPENING ─▶ WAITING ─▶ RUNNING ─▶ ENDING ─▶ gone
                │           │          │
                └───────────┴──────────┴─▶ gone

An entry is dropped in the same breath in which its terminal message is said, so there is
nothing left to say a second one about. A request belongs to the line it came on: when that
line is gone nobody can be answered, and nothing is said.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeAlias

from ...backends.engines.base import Usage
from ...config.errors import AgentError
from ...config.frozen import frozen
from ...config.refusals import ModelNotReady, RequestCancelled
from ..wire.outbound import InferenceComplete, InferenceError, Outbound
from ..wire.types import Stats
from ..wire.types import Usage as Billed
from .events import GenerationEnded
from .request_key import LOCAL, RequestKey


class RequestState(StrEnum):
    """Where a request is."""

    OPENING = "opening"
    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"


@frozen
class Entry:
    """One request that has not ended.

    Attributes:
        model: The build it asks for; empty until it is opened.
        max_tokens: The longest answer.
        since_s: When it was heard, in the node's time.
        why: What ended it early, if anything did.
    """

    key: RequestKey
    state: RequestState
    since_s: float
    model: str = ""
    max_tokens: int = 0
    why: AgentError | None = None


End: TypeAlias = tuple[str, int, str]
"""How a request ended: its model, 200 or its error's status, and what that error said."""

_ANSWERING = frozenset({RequestState.RUNNING, RequestState.ENDING})
"""An engine works on it: a request that waits for its model keeps no resident here."""


class Ledger:
    """Every request accepted and not ended; the only one that writes them."""

    def __init__(self) -> None:
        self._entries: dict[RequestKey, Entry] = {}
        self._opening = 0
        self._answering: dict[str, int] = {}
        self._busy: frozenset[str] = frozenset()
        self._counts: dict[str, int] = dict.fromkeys(Stats.model_fields, 0)
        self._local: dict[str, int] = dict.fromkeys(Stats.model_fields, 0)
        self._ends: list[End] = []

    def __len__(self) -> int:
        """How many have not ended."""
        return len(self._entries)

    def entry(self, key: RequestKey) -> Entry | None:
        """The request, if it has not ended."""
        return self._entries.get(key)

    def entries(self) -> tuple[Entry, ...]:
        """Every request, oldest first."""
        return tuple(self._entries.values())

    def of(self, model: str, state: RequestState) -> list[Entry]:
        """The requests of a model in one state, oldest first."""
        return [e for e in self._entries.values() if e.model == model and e.state is state]

    def busy(self) -> frozenset[str]:
        """The models that are answering."""
        return self._busy  # asked several times an event: not looked for among hundreds

    @property
    def is_opening(self) -> bool:
        """Whether a request may yet turn out to be any model's."""
        return self._opening > 0

    def stats(self) -> Stats:
        """The counters, as the heartbeat tells them."""
        return Stats(**self._counts)

    def local_stats(self) -> Stats:
        """The same of this machine's own programs, of which no coordinator is told."""
        return Stats(**self._local)

    def count(self, what: str, by: int = 1, *, line: int) -> None:
        """Add to one of the counters of :class:`~..wire.types.Stats`."""
        counts = self._local if line == LOCAL else self._counts
        counts[what] += by

    def heard(self, key: RequestKey, now_s: float) -> bool:
        """Take a request in.

        Returns:
            ``False`` if this id is being answered already: a repetition, to be dropped.
        """
        if key in self._entries:
            return False
        self._put(Entry(key, RequestState.OPENING, now_s, "", 0, None))
        return True

    def move(
        self,
        key: RequestKey,
        state: RequestState,
        *,
        model: str = "",
        max_tokens: int = 0,
        why: AgentError | None = None,
    ) -> Entry:
        """Write how far a request is."""
        before = self._entries[key]
        after = Entry(
            key,
            state,
            before.since_s,
            model or before.model,
            max_tokens or before.max_tokens,
            why or before.why,
        )
        self._put(after)
        return after

    def refuse(self, key: RequestKey, error: AgentError) -> Outbound:
        """End a request of which nothing was answered."""
        entry = self._drop(key)
        if entry is not None:
            self._note(entry, error.wire_status, error.request_text)
        return failure(key, error)

    def end(self, ended: GenerationEnded) -> Outbound | None:
        """End a request that was being answered.

        Returns:
            Its one terminal message; ``None`` if nobody was answering it.
        """
        entry = self._entries.get(ended.request)
        if entry is None or entry.state not in _ANSWERING:
            return None
        self._drop(ended.request)
        usage, line = ended.usage, ended.request.line
        self.count("tokens_generated", usage.completion_tokens if usage else 0, line=line)
        if ended.outcome == "failed":
            self.count("generation_errors_after_output", int(ended.has_output), line=line)
            why = ended.error or ModelNotReady(model=entry.model, reason="the answer failed")
            self._note(entry, why.wire_status, why.request_text)
            return failure(ended.request, why)
        if usage is None or (ended.outcome == "cancelled" and not ended.has_output):
            self.count("cancellations_before_output", line=line)
            return failure(ended.request, entry.why or RequestCancelled())
        if ended.outcome == "cancelled":
            self.count("cancellations_partial_complete", line=line)
        else:
            self.count("requests_served", line=line)
            self._note(entry)
        return InferenceComplete(request_id=ended.request.id, usage=_billed(usage))

    def ends(self) -> list[End]:
        """How requests of a coordinator have ended since the last time; each is told once."""
        ends, self._ends = self._ends, []
        return ends

    def _note(self, entry: Entry, status: int = 200, text: str = "") -> None:
        if entry.key.line != LOCAL:
            self._ends.append((entry.model, status, text))

    def forget(self, keys: Iterable[RequestKey]) -> None:
        """Drop requests of a dead line that nobody works on."""
        for key in tuple(keys):
            self._drop(key)

    def _put(self, entry: Entry) -> None:
        """Write an entry; one that is here already keeps its place."""
        before = self._entries.get(entry.key)
        self._entries[entry.key] = entry
        self._count(entry, 1)
        if before is not None:
            self._count(before, -1)

    def _drop(self, key: RequestKey) -> Entry | None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._count(entry, -1)
        return entry

    def _count(self, entry: Entry, by: int) -> None:
        if entry.state is RequestState.OPENING:
            self._opening += by
        if entry.state in _ANSWERING:
            left = self._answering.get(entry.model, 0) + by
            self._answering[entry.model] = left
            if not left:
                del self._answering[entry.model]
            if self._answering.keys() != self._busy:
                self._busy = frozenset(self._answering)


def busy_of(entries: Iterable[Entry]) -> frozenset[str]:
    """The models that these requests keep answering."""
    return frozenset(entry.model for entry in entries if entry.state in _ANSWERING)


def failure(key: RequestKey, error: AgentError) -> InferenceError:
    """The terminal message of a request that failed."""
    return InferenceError(
        request_id=key.id, error=error.request_text, status_code=error.wire_status
    )


def _billed(usage: Usage) -> Billed:
    return Billed(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )
