"""Who is asked next, and who is no longer there."""

from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.dev.provider import MOST_KEPT, Provider, RequestRecord
from poolhand.agent.dev.registry import Alias, Registry
from poolhand.agent.dev.strict import Register

KEY = "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw="
NEW, OLD = "org/new", "org/old"
ALIAS = Alias("public", NEW, OLD)


def join(
    registry: Registry, name: str, *models: str, resident: str = "", busy: int = 0
) -> Provider:
    made = Provider(id=name, connected_s=0.0)
    told: dict[str, object] = {
        "public_key": KEY,
        "encrypted_response_chunks": True,
        "models": [{"id": model} for model in models],
    }
    made.hear_register(Register.model_validate(told), told, 0.0)
    made.resident = {resident} - {""}
    made.requests = {str(number) for number in range(busy)}
    registry.providers[name] = made
    return made


def asked(registry: Registry, model: str, *skip: str) -> tuple[str, str, bool] | None:
    route = registry.route(model, skip=skip, now_s=10.0)
    return route and (route.provider.id, route.build, route.is_resident)


def test_nobody_is_asked_for_what_nobody_offers() -> None:
    registry = Registry([ALIAS])
    assert asked(registry, "public") is None
    join(registry, "p", OLD)
    assert asked(registry, NEW) is None
    assert asked(registry, "public") == ("p", OLD, False)


def test_a_resident_build_goes_before_a_cold_one_even_if_it_is_the_older() -> None:
    registry = Registry([ALIAS])
    join(registry, "cold", NEW)
    join(registry, "warm", NEW, OLD, resident=OLD)
    assert asked(registry, "public") == ("warm", OLD, True)
    join(registry, "both", NEW, OLD, resident=NEW)
    assert asked(registry, "public") == ("both", NEW, True)


def test_the_least_busy_is_asked_and_the_tried_are_not() -> None:
    registry = Registry()
    join(registry, "busy", NEW, resident=NEW, busy=2)
    join(registry, "free", NEW, resident=NEW)
    assert asked(registry, NEW) == ("free", NEW, True)
    assert asked(registry, NEW, "free") == ("busy", NEW, True)
    assert asked(registry, NEW, "free", "busy") is None


def test_a_load_goes_where_none_is_pending() -> None:
    registry = Registry()
    join(registry, "loading", NEW).pending[OLD] = 99.0
    join(registry, "idle", NEW)
    assert asked(registry, NEW) == ("idle", NEW, False)


def test_an_untrusted_provider_is_neither_asked_nor_listed() -> None:
    registry = Registry([ALIAS])
    join(registry, "p", NEW).untrusted = "chunk in the clear"
    assert asked(registry, NEW) is None
    assert registry.names() == []


def test_names_are_builds_and_live_aliases() -> None:
    registry = Registry([ALIAS, Alias("dead", "org/nowhere")])
    join(registry, "p", OLD)
    assert registry.names() == [OLD, "public"]


def test_desired_rows_concern_what_is_offered() -> None:
    registry = Registry([ALIAS, Alias("other", "org/else")])
    row = {"model_name": "public", "desired_build": NEW, "previous_build": OLD}
    assert registry.desired_for(join(registry, "p", OLD)) == [row]
    assert registry.desired_for(join(registry, "q", "org/stray")) == []
    assert registry.desired_rows() == [
        row,
        {"model_name": "other", "desired_build": "org/else"},
    ]
    registry.desire([])
    assert registry.desired_rows() == []


def test_silence_is_noticed_in_two_sweeps_and_forgiven_by_one_word() -> None:
    registry = Registry()
    silent, alive = join(registry, "silent"), join(registry, "alive")
    alive.heartbeat_s = 60.0
    assert registry.sweep(91.0) == []
    assert registry.sweep(121.0) == [silent]
    silent.heartbeat_s = 130.0
    assert registry.sweep(160.0) == []
    assert registry.sweep(165.0) == [alive]
    assert silent.stale_sweeps == 0


@given(st.lists(st.floats(0, 40), max_size=30))
def test_a_provider_that_speaks_in_time_is_never_evicted(gaps_s: list[float]) -> None:
    registry = Registry()
    provider, now_s = join(registry, "p"), 0.0
    for gap_s in gaps_s:
        now_s += gap_s
        provider.heartbeat_s = now_s
        assert registry.sweep(now_s + 50.0) == []


def test_who_left_is_remembered_for_a_while() -> None:
    registry = Registry()
    for number in range(70):
        registry.leave(join(registry, str(number)), "closed 1000")
    assert registry.providers == {}
    assert len(registry.gone) == 64
    assert registry.gone[-1].ended == "closed 1000"


def test_requests_are_forgotten_oldest_first() -> None:
    registry = Registry()
    for number in range(MOST_KEPT + 1):
        registry.note_request(
            RequestRecord(request_id=str(number), provider_id="p", model="m", started_s=0.0)
        )
    assert len(registry.requests) == MOST_KEPT
    assert "0" not in registry.requests
    assert registry.view(5.0)["now_s"] == 5.0
