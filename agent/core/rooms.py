"""Passes on to the stays what the weights and engine rooms tell.

One function, so that the node's own table of events stays short: each event is one transition,
and what comes of it goes back through the loads, which know who waits for it.
"""

from collections.abc import Collection

from . import events as happened
from .effects import RefreshInventory, SampleHost
from .loads import Loads, Said


def told(
    event: happened.WeightsEvent | happened.EngineEvent,
    loads: Loads,
    busy: Collection[str],
    now_s: float,
) -> list[Said]:
    """Carry on with a model's stay.

    Args:
        event: What the room told.
        loads: Whose stays these are.
        busy: Models with requests that have not ended.
        now_s: The node's time.
    """
    stays = loads.stays
    match event:
        case happened.WeightsProgressed(model, progress):
            return loads.progressed(model, progress, now_s)
        case happened.WeightsFetched(model):
            return loads.came(stays.fetched(model, now_s))
        case happened.WeightsVerified(model, build):
            return loads.verified(model, build, now_s)
        case happened.WeightsFailed(model, error):
            # what was here may be gone: nobody looks while a model is in memory, or comes
            return [*loads.came(stays.weights_failed(model, error, now_s)), RefreshInventory()]
        case happened.EngineLoaded(model, loaded):
            return [*loads.loaded(model, loaded, now_s), SampleHost()]
        case happened.EngineStopped(model):
            return [*loads.came(stays.stopped(model, now_s)), RefreshInventory()]
        case happened.EngineFailed(model, error):
            if stays.ready(model) is not None and not loads.is_draining:
                loads.restarts.crashed(model, now_s)
            failed = stays.engine_failed(model, error, now_s)
            return loads.came([*failed, *stays.drained(busy, now_s)])
