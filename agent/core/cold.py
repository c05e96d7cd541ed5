"""A model that is not in memory: what it will take there, and whether it can answer in time."""

from ...backends.stores.base import Build, Stock
from ...config.settings import Settings
from .admission import GIB, ModelNeeds, needs_of
from .measured import Measurements
from .shape import ModelShape
from .slots import SlotState, Stay


def estimate(settings: Settings, model: str, build: Build) -> ModelNeeds:
    """What a model will take, before anything of it was measured.

    Args:
        settings: They say how long the one request is that must fit.
        model: Its id.
        build: What lies on disk, verified.
    """
    entry = settings.entry(model)
    most_tokens = settings.memory.kv_context_tokens
    if entry is not None and entry.context_tokens is not None:
        most_tokens = min(most_tokens, entry.context_tokens)
    # only a setting says so: which engine `auto` is, nobody knows without a look at the machine
    is_mlx = entry is None or entry.engine in {"auto", "mlx"}
    kept_bytes = int(settings.engines.mlx.prompt_cache_gib * GIB) if is_mlx else 0
    shape = ModelShape.from_config(build.config)
    return needs_of(build.weights_bytes, shape, context_tokens=most_tokens, kept_bytes=kept_bytes)


def missing_bytes(stock: Stock | None, stay: Stay | None) -> int:
    """What of a model is still to come to disk, as far as anybody knows.

    Args:
        stock: What the last look at the disk found.
        stay: Its stay, if it is on its way; its progress is newer.
    """
    if stay is not None and stay.state is not SlotState.DOWNLOADING:
        return 0
    if stay is not None and stay.progress is not None:
        return max(0, stay.progress.bytes_total - stay.progress.bytes_done)
    if stock is not None and stock.size_bytes is not None:
        return max(0, stock.size_bytes - (stock.here_bytes or 0))
    return 0


def is_too_slow(
    model: str,
    measured: Measurements,
    settings: Settings,
    *,
    stock: Stock | None,
    stay: Stay | None = None,
) -> bool:
    """Whether measured rates say that a model cannot answer in time.

    Args:
        model: Its id.
        measured: What loads and fetches took.
        settings: ``requests.cold_wait_s`` is the time that a request may wait.
        stock: What lies on disk.
        stay: Its stay, if it is on its way.
    """
    ready_s = measured.ready_in_s(model, missing_bytes(stock, stay))
    return ready_s is not None and ready_s > settings.requests.cold_wait_s
