"""One provider as its coordinator knows it: what it said, when, and what it was asked.

Plain records that sockets write into and people look at through ``/dev/state``. Times are
seconds of one monotonic clock and always arguments. Nothing here can hold a prompt, an answer
or a token.
"""

import binascii
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from ...config.frozen import frozen
from .classes import LoadClass, classify_load
from .strict import (
    Accepted,
    ChallengeAnswer,
    Chunk,
    Complete,
    Failed,
    Heartbeat,
    LoadStatus,
    Model,
    PrefetchStatus,
    Register,
)

KEY_BYTES = 32
MOST_KEPT = 2000
LOADED_STATES = frozenset({"running", "idle", ""})
"""Slot states that answer without a penalty; the rest is cold, or no place for a request."""

TIMEOUTS_TO_CLOSE = 6
"""Challenges without an answer, one after the other, that end a socket with 1008."""


@dataclass(slots=True)
class Challenge:
    """One challenge and what became of it.

    Attributes:
        answered_s: When its answer came; ``None`` for not at all.
        verdict: ``pending``, ``passed``, or what was wrong.
        reported: The facts in the answer; what is ``None`` was not reported.
    """

    nonce: str
    sent_s: float
    answered_s: float | None = None
    verdict: str = "pending"
    reported: dict[str, object] = field(default_factory=dict[str, object])


@frozen
class StatusSeen:
    """One status of a load or a download, as it came.

    Attributes:
        kind: ``load`` or ``prefetch``.
        load_class: What a coordinator takes a failed load for.
        bytes_done: Of a download.
    """

    at_s: float
    kind: str
    model_id: str
    status: str
    error: str = ""
    load_class: LoadClass | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None


@dataclass(slots=True)
class RequestRecord:
    """One request, as far as it may be told: counts and outcomes, never a word of it.

    Attributes:
        state: ``sent``, ``accepted``, ``streaming``, or how it ended: ``complete``,
            ``error``, ``cancelled``, ``lost``, ``timeout``, ``breach``.
        terminals: Terminal frames that came; more than one is the provider's mistake.
        late_frames: Frames that came after the first terminal one.
        chunks_dropped: Chunks that found 256 others waiting for a slow client.
    """

    request_id: str
    provider_id: str
    model: str
    started_s: float
    state: str = "sent"
    accepted: int = 0
    chunks: int = 0
    chunks_dropped: int = 0
    terminals: int = 0
    late_frames: int = 0
    status_code: int | None = None
    error: str = ""
    usage: dict[str, int] | None = None
    cancelled_s: float | None = None
    ended_s: float | None = None

    def hear(self, frame: Accepted | Chunk | Complete | Failed, now_s: float) -> None:
        """Count a frame; only the first terminal one says how the request ended."""
        if self.terminals:
            self.late_frames += 1
        match frame:
            case Accepted():
                self.accepted += 1
                self._become("accepted")
            case Chunk():
                self.chunks += 1
                self._become("streaming")
            case Complete() | Failed():
                self.terminals += 1
                if self.terminals == 1:
                    self._end(frame, now_s)

    def cancel(self, now_s: float) -> None:
        """Note that nobody waits for it any more."""
        if not self.terminals and self.ended_s is None:
            self.state, self.cancelled_s = "cancelled", now_s

    def fail(self, state: str, now_s: float) -> None:
        """Note an end that the provider did not send."""
        if not self.terminals:
            self.state, self.ended_s = state, now_s

    def _become(self, state: str) -> None:
        if self.state in {"sent", "accepted", "streaming"}:
            self.state = state

    def _end(self, frame: Complete | Failed, now_s: float) -> None:
        self.ended_s = now_s
        if isinstance(frame, Complete):
            self.usage = frame.usage.model_dump()
            self._become("complete")
        else:
            self.status_code, self.error = frame.status_code, frame.error
            self._become("error")


@dataclass(slots=True)
class Provider:
    """One socket's other end.

    Attributes:
        register: The last one heard; ``None`` before the first, and for ever if that one
            was malformed.
        shown: The register frame as it came, with the token's place taken by a word.
        models: What it offers, by build id.
        resident: What it holds in memory, as far as it said.
        gaps_s: Seconds between one heartbeat's arrival and the next.
        pending: Model to the time until which its load counts as asked for.
        untrusted: Why it gets no more work on this socket; empty while it does.
        stray_frames: Frames for requests that nobody knows.
        ended: How the socket ended; empty while it lives.
    """

    id: str
    connected_s: float
    register: Register | None = None
    registers: int = 0
    registered_s: float | None = None
    shown: dict[str, object] = field(default_factory=dict[str, object])
    models: dict[str, Model] = field(default_factory=dict[str, Model])
    resident: set[str] = field(default_factory=set[str])
    heartbeat: dict[str, object] | None = None
    heartbeat_s: float | None = None
    heartbeats: int = 0
    gaps_s: deque[float] = field(default_factory=lambda: deque[float](maxlen=MOST_KEPT))
    challenges: deque[Challenge] = field(default_factory=lambda: deque[Challenge](maxlen=200))
    statuses: deque[StatusSeen] = field(default_factory=lambda: deque[StatusSeen](maxlen=MOST_KEPT))
    pending: dict[str, float] = field(default_factory=dict[str, float])
    requests: set[str] = field(default_factory=set[str])
    frames: int = 0
    dropped: int = 0
    drops: deque[str] = field(default_factory=lambda: deque[str](maxlen=100))
    stray_frames: int = 0
    untrusted: str = ""
    stale_sweeps: int = 0
    ended: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether work may be sent there: registered, trusted, and able to open a box."""
        return (
            self.register is not None
            and not self.untrusted
            and self.register.encrypted_response_chunks
            and is_key(self.register.public_key)
        )

    def drop(self, reason: str) -> None:
        """Note a frame that was thrown away, in our own words."""
        self.dropped += 1
        self.drops.append(reason)

    def hear_register(self, frame: Register, fields: Mapping[str, object], now_s: float) -> None:
        """Take who it is and what it offers; a second time replaces the first."""
        self.register = frame
        self.registers += 1
        self.registered_s = now_s
        token = "present" if frame.auth_token else "absent"
        self.shown = {**fields, "auth_token": token}
        self.models = {model.id: model for model in frame.models if model.id}

    def hear_models(self, models: Iterable[Model]) -> None:
        """Add or refresh models; none is taken back this way."""
        self.models.update({model.id: model for model in models if model.id})

    def hear_heartbeat(self, frame: Heartbeat, fields: dict[str, object], now_s: float) -> None:
        """Take how things are; it replaces all that was known of the slots."""
        if self.heartbeat_s is not None:
            self.gaps_s.append(now_s - self.heartbeat_s)
        self.heartbeats += 1
        self.heartbeat = fields
        self.heartbeat_s = now_s
        self.resident = residents(frame)

    def hear_status(self, frame: LoadStatus | PrefetchStatus, now_s: float) -> StatusSeen:
        """Take how a load or a download goes; a load that succeeded is warm at once."""
        failed = frame.status == "failed"
        if isinstance(frame, PrefetchStatus):
            seen = StatusSeen(
                at_s=now_s,
                kind="prefetch",
                model_id=frame.model_id,
                status=frame.status,
                error=frame.error,
                bytes_done=frame.bytes_done,
                bytes_total=frame.bytes_total,
            )
        else:
            seen = StatusSeen(
                at_s=now_s,
                kind="load",
                model_id=frame.model_id,
                status=frame.status,
                error=frame.error,
                load_class=classify_load(frame.error) if failed else None,
            )
            if failed or frame.status == "succeeded":
                self.pending.pop(frame.model_id, None)
            if frame.status == "succeeded":
                self.resident.add(frame.model_id)
        self.statuses.append(seen)
        return seen

    def hear_challenge_answer(self, frame: ChallengeAnswer, now_s: float) -> Challenge | None:
        """Judge an answer; ``None`` if nobody waits for one with that nonce."""
        for challenge in self.challenges:
            if challenge.nonce == frame.nonce and challenge.verdict == "pending":
                challenge.answered_s = now_s
                challenge.reported = frame.model_dump(
                    include={"sip_enabled", "secure_boot_enabled", "rdma_disabled", "model_hashes"}
                )
                challenge.verdict = self._verdict(frame)
                return challenge
        return None

    def _verdict(self, frame: ChallengeAnswer) -> str:
        if self.register is None or frame.public_key != self.register.public_key:
            return "public key differs"
        return "passed" if frame.signature else "empty signature"

    def has_pending(self, now_s: float) -> bool:
        """Whether a load that was asked of it is still due."""
        return any(until_s > now_s for until_s in self.pending.values())

    @property
    def is_silent(self) -> bool:
        """Whether it let so many challenges pass that its socket is closed."""
        verdicts = [each.verdict for each in self.challenges][-TIMEOUTS_TO_CLOSE:]
        return verdicts == ["timeout"] * TIMEOUTS_TO_CLOSE

    def view(self) -> dict[str, object]:
        """All of it as JSON, for whoever looks in; times as they were noted."""
        return {
            "id": self.id,
            "connected_s": self.connected_s,
            "registered_s": self.registered_s,
            "registers": self.registers,
            "register": self.shown or None,
            "models": sorted(self.models),
            "resident": sorted(self.resident),
            "heartbeat": self.heartbeat,
            "heartbeat_s": self.heartbeat_s,
            "heartbeats": self.heartbeats,
            "heartbeat_gaps_s": list(self.gaps_s),
            "challenges": [asdict(each) for each in self.challenges],
            "statuses": [asdict(each) for each in self.statuses],
            "pending": self.pending,
            "requests": sorted(self.requests),
            "frames": self.frames,
            "dropped": self.dropped,
            "drops": list(self.drops),
            "stray_frames": self.stray_frames,
            "untrusted": self.untrusted,
            "ended": self.ended,
        }


def residents(frame: Heartbeat) -> set[str]:
    """What a heartbeat says is in memory; slots, where there are any said, are the truth."""
    if frame.backend_capacity is None:
        return set(frame.warm_models)
    return {slot.model for slot in frame.backend_capacity.slots if slot.state in LOADED_STATES}


def is_key(text: str) -> bool:
    """Whether a text is 32 bytes in base64, with padding."""
    try:
        return len(binascii.a2b_base64(text, strict_mode=True)) == KEY_BYTES
    except ValueError:
        return False
