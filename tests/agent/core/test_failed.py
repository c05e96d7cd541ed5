"""What failed lately is remembered, and no more than that."""

from poolhand.agent.core.failed import KEPT, Failed
from poolhand.backends.engines.errors import EngineDied
from poolhand.backends.stores.errors import StoreUnreachable


def test_the_oldest_failure_is_forgotten_first() -> None:
    failed, first = Failed(), StoreUnreachable(store="s3", reason="silence")
    failed.note(first, 1.0)
    assert failed.recent == ((1.0, first),)
    died = EngineDied(engine="mlx", exit_code=1)
    for at_s in range(KEPT):
        failed.note(died, float(at_s))
    assert failed.recent == tuple((float(at_s), died) for at_s in range(KEPT))


def test_what_went_well_is_no_failure() -> None:
    failed = Failed()
    failed.note(None, 1.0)
    assert failed.recent == ()
