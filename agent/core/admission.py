"""Does it fit? One answer for the load gate, the heartbeat and the doctor.

A model *needs* its weights, the KV cache of one full request and what the engine takes beside
them. The machine *has* a budget: the smaller of a ceiling that leaves the system room and of what
the system says is available, less the operator's reserve. It fits if the needs are no more than
the budget. All three askers come here, so that none can say yes where another says no.

What was not measured admits nothing.
"""

from collections.abc import Iterable

from ...config.frozen import frozen
from .shape import ModelShape, kv_bytes

GIB = 2**30
MIB = 2**20

CEILING_TENTHS = 9
"""All models together take at most so many tenths of the memory: an MLX engine that takes more
is ended by the system, a vLLM one by itself (its ``gpu-memory-utilization`` is 0.9 too)."""

SYSTEM_BYTES = 2 * GIB
"""Left to the system at least; on a machine below 16 GiB, an eighth of its memory instead."""

OVERHEAD_BASE_BYTES = 256 * MIB
"""An engine's own process (72-79 MiB measured for MLX with nothing loaded) and one prefill
step's activations."""

OVERHEAD_WEIGHTS_PART = 20
"""A twentieth of the weights comes on top: buffers, and larger activations of larger models."""

UNKNOWN_KV_PART = 5
"""Where the KV cache cannot be computed, a fifth of the weights: a coordinator's own padding."""

MIN_KV_BYTES = GIB
"""KV room that a model must find beside it to be worth loading; on a machine below 16 GiB, a
sixteenth of its memory instead."""


@frozen
class ModelNeeds:
    """What a loaded model takes, in bytes.

    Attributes:
        weights_bytes: All tensors, as their headers say.
        kv_bytes: The KV cache of one request of full length, and of finished answers where
            they are kept.
        overhead_bytes: The engine beside them.
    """

    weights_bytes: int
    kv_bytes: int
    overhead_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.kv_bytes + self.overhead_bytes


@frozen
class Holding:
    """Memory that a resident model has, or was promised.

    Attributes:
        held_bytes: Its needs, or what was measured, whichever the caller trusts more.
        due_bytes: What it may still take beyond that, such as the KV cache of its requests.
        is_promised: It is still loading: the system may not have seen its memory taken yet.
        is_evictable: It is idle and not pinned: it would go for another.
        is_measured: Whether the system's reading is known to lack what it holds; of one that
            could not be measured all may be still to come.
    """

    held_bytes: int
    is_promised: bool = False
    is_evictable: bool = False
    due_bytes: int = 0
    is_measured: bool = True


def needs_of(
    weights_bytes: int,
    shape: ModelShape | None,
    *,
    context_tokens: int,
    dtype_bytes: int = 2,
    prefill_step_tokens: int = 512,
    kept_bytes: int = 0,
) -> ModelNeeds:
    """What a model will take once it is loaded.

    Args:
        weights_bytes: All tensors, as their headers say; 0 or more.
        shape: From its config; ``None`` if there is none, as for an engine elsewhere.
        context_tokens: Length of the one request that must fit (``memory.kv_context_tokens``);
            a model made for less is asked for less.
        dtype_bytes: Bytes of one cached number.
        prefill_step_tokens: Prompt tokens that the engine reads at once.
        kept_bytes: What the engine may keep of finished answers.
    """
    request_bytes = None
    if shape is not None:
        tokens = min(context_tokens, shape.context_tokens or context_tokens)
        request_bytes = kv_bytes(
            shape, tokens, dtype_bytes=dtype_bytes, prefill_step_tokens=prefill_step_tokens
        )
    if request_bytes is None:
        request_bytes = weights_bytes // UNKNOWN_KV_PART
    return ModelNeeds(
        weights_bytes=weights_bytes,
        kv_bytes=request_bytes + kept_bytes,
        overhead_bytes=overhead_bytes(weights_bytes),
    )


def overhead_bytes(weights_bytes: int) -> int:
    """What an engine takes beside weights and KV cache."""
    return OVERHEAD_BASE_BYTES + weights_bytes // OVERHEAD_WEIGHTS_PART


def min_kv_bytes(total_bytes: int) -> int:
    """KV room that a model must find to be worth loading on a machine of this size."""
    return min(MIN_KV_BYTES, total_bytes // 16)


def ceiling_bytes(total_bytes: int) -> int:
    """The most that all models together may take of a memory."""
    return min(
        total_bytes * CEILING_TENTHS // 10,
        total_bytes - min(SYSTEM_BYTES, total_bytes // 8),
    )


def budget_bytes(
    *,
    total_bytes: int | None,
    available_bytes: int | None,
    reserve_bytes: int = 0,
    holdings: Iterable[Holding] = (),
) -> int:
    """What a new model could take as things are, in bytes.

    Args:
        total_bytes: The memory in which weights live.
        available_bytes: What the system says a program could take of it now. What residents
            hold is missing from it already; what loading ones were promised, and what
            answering ones may still take, is not.
        reserve_bytes: Never promised to a model (``memory.reserve_gib``).
        holdings: All residents, the loading ones among them.

    Returns:
        0 or more, and never more than is available; 0 if a measurement is missing.
    """
    if total_bytes is None or available_bytes is None:
        return 0
    holdings = tuple(holdings)
    held_bytes = sum(holding.held_bytes + holding.due_bytes for holding in holdings)
    promised_bytes = sum(
        holding.due_bytes
        + (holding.held_bytes if holding.is_promised or not holding.is_measured else 0)
        for holding in holdings
    )
    room_bytes = min(ceiling_bytes(total_bytes) - held_bytes, available_bytes - promised_bytes)
    return max(0, room_bytes - reserve_bytes)


def fits(needs: ModelNeeds, free_bytes: int) -> bool:
    """Whether a model can be loaded into a budget."""
    return needs.total_bytes <= free_bytes


def room_bytes(
    *,
    total_bytes: int | None,
    available_bytes: int | None,
    reserve_bytes: int = 0,
    holdings: Iterable[Holding] = (),
    slots: int = 1,
) -> int | None:
    """What a new model could take with every idle resident gone, in bytes.

    Args:
        total_bytes: As for :func:`budget_bytes`.
        available_bytes: As for :func:`budget_bytes`.
        reserve_bytes: As for :func:`budget_bytes`.
        holdings: As for :func:`budget_bytes`.
        slots: ``max_model_slots``; 0 if the node takes no loads at all.

    Returns:
        0 if no slot can be had; ``None`` if a measurement is missing, for then nothing true
        can be said.
    """
    if total_bytes is None or available_bytes is None:
        return None
    holdings = tuple(holdings)
    staying = [holding for holding in holdings if not holding.is_evictable]
    if len(staying) >= slots:
        return 0
    given_back_bytes = sum(
        holding.held_bytes
        for holding in holdings
        if holding.is_evictable and not holding.is_promised
    )
    return budget_bytes(
        total_bytes=total_bytes,
        available_bytes=min(total_bytes, available_bytes + given_back_bytes),
        reserve_bytes=reserve_bytes,
        holdings=staying,
    )


def largest_weights_bytes(room_bytes: int, total_bytes: int) -> int:
    """The largest weights that could be loaded into a room.

    Weights of this size fit beside their overhead and the least useful KV room; a byte more
    does not.

    Args:
        room_bytes: What :func:`room_bytes` tells.
        total_bytes: The memory in which weights live.
    """
    left_bytes = room_bytes - OVERHEAD_BASE_BYTES - min_kv_bytes(total_bytes)
    if left_bytes <= 0:
        return 0
    part = OVERHEAD_WEIGHTS_PART
    return left_bytes // (part + 1) * part + min(left_bytes % (part + 1), part - 1)
