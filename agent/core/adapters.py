"""Adapters by name: on the line they look like models, in here their model stands for them.

What comes in under an adapter's name goes on as its model's; what goes out of a model is said
of its adapters too. The rest of the node knows models alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ...config.settings import Settings
from ..wire.inbound import LoadModel
from ..wire.outbound import Heartbeat, LoadModelStatus, ModelsUpdate, Outbound, Register
from ..wire.types import ModelInfo
from .effects import Effect, Send
from .events import Event, Heard, LinkClosed, RequestOpened
from .slots import SlotState, Stay


class Adapters:
    """Who is to be told what under an adapter's name; owner of nothing but that.

    Args:
        settings: Whose adapters there are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings: Settings = settings
        self._models = _models_of(settings)
        self._is_news = False
        self._asking: str | None = None
        self._owed: dict[str, list[str]] = {}
        self._late: dict[str, list[str]] = {}

    def heard(self, event: Event, stays: Sequence[Stay]) -> Event:
        """An event as the node is to hear it.

        Args:
            event: What happened.
            stays: Every stay: a model that was loaded without an adapter cannot answer for it.
        """
        self._asking = None
        match event:
            case Heard(message=LoadModel(model_id=name) as asked) if self._may_come(name, stays):
                self._asking = name
                model = self._models[name]
                return replace(event, message=asked.model_copy(update={"model_id": model}))
            case RequestOpened(model=name) if self._may_come(name, stays):
                return replace(event, model=self._models[name])
            case Heard(message=LoadModel(model_id=name)) if name in self._models.values():
                self._asking = name
                return event
            case LinkClosed():
                # the node owes one answer a model to the next line: one for each name, then
                for model, names in self._owed.items():
                    self._late[model] = [*dict.fromkeys([*self._late.get(model, ()), *names])]
                self._owed.clear()
                return event
            case _:
                return event

    def _may_come(self, name: str, stays: Sequence[Stay]) -> bool:
        """Whether it is an adapter, and its model, if it is here, came with it."""
        model = self._models.get(name)
        here = [one for one in stays if one.model == model and one.state is SlotState.READY]
        return model is not None and all(name in names_in(stay) for stay in here)

    def said(
        self,
        effects: list[Effect],
        settings: Settings,
        stays: Sequence[Stay],
        *,
        line: int | None,
        offer: Callable[[], Sequence[ModelInfo]],
    ) -> list[Effect]:
        """The same effects, with adapters told of wherever their model is.

        Args:
            effects: What the node wants done.
            settings: Those in force.
            stays: Every stay.
            line: The line that stands; ``None`` if there is none.
            offer: Gives the models that the coordinator is told of.
        """
        if settings is not self._settings:
            before = self._models
            self._settings, self._models = settings, _models_of(settings)
            self._is_news = not self._models.keys() <= before.keys()
        if not self._models:
            return effects
        said: list[Effect] = []
        for one in effects:
            if isinstance(one, Send):
                said += [Send(one.line, message) for message in self._told(one.message, stays)]
            else:
                said.append(one)
        if self._is_news:
            self._is_news = False
            news = self._beside(offer())
            if line is not None and news:
                said.append(Send(line, ModelsUpdate(models=news)))
        return said

    def _told(self, message: Outbound, stays: Sequence[Stay]) -> list[Outbound]:
        match message:
            case Register(models=models) | ModelsUpdate(models=models):
                return [message.model_copy(update={"models": (*models, *self._beside(models))})]
            case Heartbeat():
                return [_with_adapters(message, stays)]
            case LoadModelStatus(model_id=model):
                names = self._asked_as(model, is_started=message.status == "started")
                return [message.model_copy(update={"model_id": name}) for name in names]
            case _:
                return [message]

    def _asked_as(self, model: str, *, is_started: bool) -> list[str]:
        """Under which names a load is told of: as it was asked for, each asking once."""
        asking = self._asking
        if asking is not None and self._models.get(asking, asking) == model:
            self._asking = None
            if is_started:
                self._owed.setdefault(model, []).append(asking)
            return [asking]
        if is_started:
            return [model]
        owed = self._owed.get(model)
        return self._late.pop(model, []) or [owed.pop(0) if owed else model]

    def _beside(self, models: Iterable[ModelInfo]) -> tuple[ModelInfo, ...]:
        """What is said of the adapters of models: their hash is not the model's."""
        known = {info.id: info for info in models}
        return tuple(
            known[model].model_copy(update={"id": name, "weight_hash": None})
            for name, model in self._models.items()
            if model in known
        )


def names_in(stay: Stay) -> tuple[str, ...]:
    """The adapters that came into memory with a model."""
    return () if stay.build is None else tuple(name for name, _ in stay.build.adapters)


def _models_of(settings: Settings) -> Mapping[str, str]:
    return {one.name: entry.id for entry in settings.models for one in entry.adapters}


def _with_adapters(beat: Heartbeat, stays: Sequence[Stay]) -> Heartbeat:
    """A heartbeat in which what a model has goes for its adapters: they share its slot."""
    beside = {stay.model: names_in(stay) for stay in stays}
    warm = [*beat.warm_models, *(n for m in beat.warm_models for n in beside.get(m, ()))]
    update: dict[str, object] = {"warm_models": tuple(warm)}
    capacity = beat.backend_capacity
    if capacity is not None:
        more = [
            slot.model_copy(update={"model": name})
            for slot in capacity.slots
            for name in beside.get(slot.model, ())
        ]
        slots = (*capacity.slots, *more)
        update["backend_capacity"] = capacity.model_copy(update={"slots": slots})
    return beat.model_copy(update=update)
