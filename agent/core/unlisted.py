"""Builds that a coordinator names and the configuration does not: may its catalog be asked?"""

from ...config.settings import Settings
from ..wire.inbound import DesiredModels, Inbound, LoadModel, PrefetchModel


def unlisted(message: Inbound, settings: Settings) -> tuple[str, ...]:
    """The models of a message that are offered by nobody yet, and may be.

    Args:
        message: What the coordinator said.
        settings: ``catalog.builds`` says what may be taken from a catalog at all.
    """
    if not settings.catalog.builds:
        return ()
    match message:
        case LoadModel(model_id=model) | PrefetchModel(model_id=model):
            named = (model,)
        case DesiredModels(models=rows):
            named = tuple(dict.fromkeys(row.desired_build for row in rows))
        case _:
            return ()
    return tuple(
        model for model in named if settings.entry(model) is None and settings.catalog.names(model)
    )
