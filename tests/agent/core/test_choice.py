"""Which pool is this machine's, by what was said and by what would fit."""

from poolhand.agent.core.choice import Choice
from poolhand.agent.core.effects import PersistAssignment
from poolhand.agent.core.loads import Loads
from poolhand.agent.core.pool import pool_of
from poolhand.agent.core.requests import Ledger
from poolhand.backends.stores.base import Stock
from poolhand.config.settings import Settings
from tests.journeys.world import settings

GIB = 2**30
LARGE, SMALL = "org/large", "org/small"
MODELS = [
    {"id": LARGE, "ref": "s3://bucket/large", "aliases": ["large"]},
    {"id": SMALL, "ref": "s3://bucket/small", "aliases": ["small"]},
]
BY_CHANCE = settings(pools={}, models=MODELS)


def choice(chosen: Settings = BY_CHANCE) -> tuple[Choice, Loads]:
    loads = Loads(chosen, pool_of(chosen, machine_id="m"))
    return Choice(chosen, loads, Ledger(), machine_id="m"), loads


def stock(model: str, size_bytes: int) -> Stock:
    return Stock(model, "listed", size_bytes)


def test_chance_chooses_what_the_machine_can_hold_unless_something_keeps_it() -> None:
    ours, loads = choice()
    (by_chance,) = loads.pool.models
    (other,) = {LARGE, SMALL} - {by_chance}
    stocks = [stock(by_chance, 64 * GIB), stock(other, GIB)]
    assert ours.sized(stocks, 16 * GIB, 1.0, may_move=False) == []
    assert ours.sized(stocks, None, 1.0, may_move=True) == []
    assert loads.pool.models == (by_chance,)
    written, _ = ours.sized(stocks, 16 * GIB, 1.0, may_move=True)
    assert isinstance(written, PersistAssignment)
    assert loads.pool.models == (other,)


def test_what_would_be_served_is_told_without_serving_it() -> None:
    ours, loads = choice()
    before = loads.pool
    after = ours.assignment.then(["small"], "operator", 1.0)
    assert ours.pool_under(after).models == (SMALL,)
    assert (loads.pool, ours.assignment.epoch) == (before, after.epoch - 1)
    assert [type(effect) for effect in ours.adopt(after, 1.0)] == [PersistAssignment]
    assert loads.pool.models == (SMALL,)


def test_a_pool_has_members_only_as_far_as_it_is_offered_and_allowed() -> None:
    ours, _ = choice(settings(pools={"allowed": ["small"]}, models=MODELS))
    assert (ours.members("small"), ours.members("large")) == ((SMALL,), ())
    assert ours.is_allowed("small", ())
    assert not ours.is_allowed("large", ())
    assert not ours.is_allowed("small", (SMALL, LARGE))
