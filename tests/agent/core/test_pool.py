"""Is this model ours to serve?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.core.pool import MAX_ALIASES, Pool, Topology, is_allowed, pool_of
from poolhand.agent.wire.inbound import DesiredModels
from poolhand.agent.wire.types import DesiredModel
from poolhand.config.settings import ModelEntry, Settings


def offer(*models: tuple[str, tuple[str, ...]], **pools: object) -> Settings:
    return Settings.model_validate(
        {
            "coordinator": {"url": "ws://127.0.0.1:1"},
            "pools": pools,
            "models": [
                {"id": model, "aliases": list(aliases), "ref": f"s3://models/{model}"}
                for model, aliases in models
            ],
        }
    )


A, B, C = ("org/a", ("tiny",)), ("org/b", ("tiny", "big")), ("org/c", ())


def pool(settings: Settings, machine_id: str = "m") -> Pool:
    return pool_of(settings, machine_id=machine_id)


def test_an_alias_is_one_pool_with_all_its_builds() -> None:
    both = ("org/a", "org/b")
    expected = Pool("tiny", both, "config", ("tiny",), both)
    assert pool(offer(A, B, C, assigned="tiny")) == expected


def test_a_build_can_be_assigned_by_its_id() -> None:
    assert pool(offer(A, C, assigned="org/c")).models == ("org/c",)


def test_a_shared_build_is_in_each_of_its_pools() -> None:
    assert pool(offer(A, B, assigned="big")).models == ("org/b",)


def test_the_allow_list_stands_before_the_assignment() -> None:
    settings = offer(A, B, C, assigned="tiny", allowed=["org/a"])
    assert pool(settings).models == ("org/a",)
    assert pool(offer(A, assigned="tiny", allowed=["other"])).models == ()


def test_two_builds_of_one_alias_are_one_candidate() -> None:
    chosen = pool(offer(A, ("org/d", ("tiny",))))
    assert (chosen.assigned, chosen.models, chosen.source) == ("tiny", ("org/a", "org/d"), "sole")


def test_nothing_offered_serves_nothing() -> None:
    nothing = pool(offer())
    assert (nothing.assigned, nothing.source, nothing.name) == (None, "none", "none")
    assert not nothing.serves("org/a")
    assert pool(offer(A, allowed=["x"])).source == "none"


@pytest.mark.parametrize(
    ("allowed", "is_in"),
    [
        ((), True),
        (("org/*",), True),
        (("tiny",), True),
        (("t?ny",), True),
        (("TINY",), False),
        (("org",), False),
        (("x", "org/a"), True),
    ],
)
def test_allowed_names_and_globs(allowed: tuple[str, ...], *, is_in: bool) -> None:
    entry = ModelEntry(id="org/a", aliases=("tiny",), ref="s3://models/a")
    assert is_allowed(entry, allowed) is is_in


def test_a_build_without_an_alias_is_its_own_pool() -> None:
    assert Topology().keys_of(ModelEntry(id="org/c", ref="s3://models/c")) == {"org/c"}


def test_a_fleet_spreads_and_a_new_key_moves_a_third() -> None:
    two, three = offer(("x", ()), ("y", ())), offer(("x", ()), ("y", ()), ("z", ()))
    machines = [f"machine-{number}" for number in range(200)]
    before = [pool(two, machine).assigned for machine in machines]
    after = [pool(three, machine).assigned for machine in machines]
    assert 80 <= before.count("x") <= 120
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert 40 <= len(moved) <= 95
    assert set(moved) == {"z"}, "who moves, moves to the new one"


names = st.sampled_from(["a", "b", "c", "d"])


@given(
    order=st.permutations(["a", "b", "c", "d"]),
    allowed=st.lists(names, max_size=3, unique=True),
    assigned=st.none() | names,
    machine_id=st.text(max_size=4),
)
def test_laws(order: list[str], allowed: list[str], assigned: str | None, machine_id: str) -> None:
    models = [(name, ()) for name in order]
    chosen = pool(offer(*models, allowed=allowed, assigned=assigned), machine_id)
    again = pool(offer(*sorted(models), allowed=allowed, assigned=assigned), machine_id)
    assert chosen.assigned == again.assigned, "no order decides"
    assert all(not allowed or model in allowed for model in chosen.models)
    assert assigned is None or chosen.assigned == assigned
    assert assigned is not None or chosen.models, "something is served if anything may be"


def test_what_a_coordinator_tells_of_aliases_is_bounded() -> None:
    rows = [
        DesiredModel(model_name=f"alias-{number}", desired_build="org/c") for number in range(999)
    ]
    long = DesiredModel(model_name="x" * 257, desired_build="org/c")
    strange = DesiredModel(model_name="strange", desired_build="not offered")
    said = DesiredModels(models=(long, strange, *rows))
    known = Topology().after(said, None, offer(A, C))
    assert len(known.aliases) == MAX_ALIASES
    assert not {"x" * 257, "strange"} & known.aliases.keys()


def test_the_operator_s_aliases_are_not_moved() -> None:
    said = DesiredModels(models=(DesiredModel(model_name="big", desired_build="org/a"),))
    known = Topology().after(said, None, offer(A, C))
    assert known.keys_of(offer(A).models[0]) == {"tiny"}
