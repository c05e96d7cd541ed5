"""Could this machine ever load that model? Asked before its bytes are fetched (pure).

A model that does not fit into an empty machine will not fit in an hour either, and one that asks
for code of its own is refused by its engine: both are known from a few kilobytes. What is only in
the way now is no business of this file.
"""

import json
from collections.abc import Callable, Mapping
from typing import cast

from ...backends.stores.base import Build
from ...backends.stores.errors import WeightsUnsafe
from ...config.errors import AgentError
from ...config.refusals import InsufficientMemory
from ...config.settings import Settings
from .admission import budget_bytes
from .cold import estimate
from .measured import Measurements
from .report import reserve_bytes

CODE_KEYS = ("auto_map", "model_file")
"""Keys of a configuration that name code to be run. Source: transformers, "Custom models";
mlx-lm, utils.py ``load_model``."""


Foresee = Callable[[str, int | None, str, bool], AgentError | None]
"""Takes model, bytes of its tensors, text of its config.json, and whether its engine refuses
builds that name code; gives why it cannot come."""


def obstacle(
    settings: Settings,
    measured: Measurements,
    total_bytes: int | None,
    model: str,
    weights_bytes: int | None,
    config: str,
    is_code_refused: bool,  # noqa: FBT001  # one of the facts that a Foresee is told
) -> AgentError | None:
    """Why fetching a model would be for nothing; ``None`` if nobody can say that it would.

    Args:
        settings: Those in force.
        measured: What loads of it took, if there were any.
        total_bytes: The memory in which weights live; ``None``: not measured.
        model: Its id.
        weights_bytes: Of its tensors; ``None``: not known.
        config: The text of its ``config.json``; empty: not known.
        is_code_refused: Whether its engine refuses builds that name code of their own.
    """
    found = _parsed(config)
    named = [key for key in CODE_KEYS if found.get(key)]
    if named and is_code_refused:
        reason = f"config.json names code of its own ({named[0]}), which is never run"
        return WeightsUnsafe(model=model, reason=reason)
    if weights_bytes is None or total_bytes is None:
        return None
    room_bytes = budget_bytes(
        total_bytes=total_bytes,
        available_bytes=total_bytes,
        reserve_bytes=reserve_bytes(settings),
    )
    build = Build(
        folder="",
        size_bytes=weights_bytes,
        weights_bytes=weights_bytes,
        weight_hash="",
        verified_by="self",
        config=found,
    )
    needs_bytes = measured.corrected(model, estimate(settings, model, build)).total_bytes
    if needs_bytes <= room_bytes:
        return None
    return InsufficientMemory(model=model, needs_bytes=needs_bytes, free_bytes=room_bytes)


def _parsed(config: str) -> Mapping[str, object]:
    try:
        found: object = json.loads(config) if config else {}
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}
