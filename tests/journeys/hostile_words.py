"""What a hostile coordinator says: every message, strangers and old numbers in every place."""

import random
from collections.abc import Callable, Sequence

from poolhand.agent.wire.extensions import AssignPool, CancelLoad, Drain, Undrain, UnloadModel
from poolhand.agent.wire.inbound import (
    AttestationChallenge,
    Cancel,
    DesiredModels,
    Inbound,
    InferenceRequest,
    LoadModel,
    PrefetchModel,
    TrustStatus,
    Unknown,
)
from poolhand.agent.wire.later import CapacityProbe, DrainAck
from poolhand.agent.wire.types import DesiredModel
from tests.journeys.world import SEALED

MODELS = ("org/a", "org/b", "org/c", "org/d", "org/../x", "tiny", "other")
OFFERED = ("org/a", "org/b", "org/c", "org/d")


def word(chance: random.Random, epoch: int, here: Sequence[str]) -> Inbound:
    """One message.

    Args:
        chance: Decides everything.
        epoch: The one that holds; a command names it, one near it, or one far from it.
        here: Models that are in memory or on their way: they are hit most often.
    """
    kinds: list[tuple[float, Callable[[], Inbound]]] = [
        (1, lambda: LoadModel(model_id=model)),
        (3, lambda: LoadModel(model_id=chance.choice(OFFERED[:3]))),
        (1, lambda: PrefetchModel(model_id=model, priority=chance.randint(-5, 5))),
        (2, lambda: _wish(chance, model)),
        (1, DesiredModels),
        (4, lambda: _assign(chance, model, epoch)),
        (1, lambda: UnloadModel(model_id=model)),
        (1, lambda: CancelLoad(model_id=model)),
        (0.5, lambda: Drain(deadline_s=chance.choice((0.0, 3.0, None)))),
        (2, Undrain),  # else nothing but drains would be heard
        (6, lambda: InferenceRequest(request_id=request, encrypted_body=SEALED)),
        (1, lambda: Cancel(request_id=request)),
        (0.2, lambda: CapacityProbe(quote_id=request, model=model)),
        (0.2, lambda: DrainAck(request_id=request)),
        (0.2, lambda: AttestationChallenge(nonce="aaaaaaaa")),
        (0.2, lambda: TrustStatus(status=chance.choice(("untrusted", "online")))),
        (0.2, lambda: Unknown(model, "not known")),
    ]
    model, request = chance.choice((*MODELS, *here, *here, *here)), str(chance.randint(0, 5))
    (say,) = chance.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])
    return say()


def _wish(chance: random.Random, model: str) -> DesiredModels:
    row = DesiredModel(
        model_name=chance.choice(("tiny", "other", "new")),
        desired_build=model,
        previous_build=chance.choice((None, *MODELS)),
    )
    more = DesiredModel(model_name="tiny", desired_build="org/b")
    return DesiredModels(models=(row, more) if chance.random() > 0.5 else (row,))


def _assign(chance: random.Random, model: str, epoch: int) -> AssignPool:
    pool = chance.choice((None, "tiny", "tiny", "other", *MODELS))
    number = max(0, epoch + chance.choice((-2, -1, 0, 1, 1, 2, 50)))
    models = chance.choice(((), (), (), (model,)))
    if chance.random() > 0.5:
        return AssignPool(pool=pool, epoch=number, models=models)
    preload = {"tiny": "org/b", "other": "org/c"}.get(pool or "", model)
    return AssignPool(pool=pool, epoch=number, models=models, preload=preload)
