"""Each part of the status, from what an agent says to what a person reads."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.agent.cli import sections
from poolhand.agent.cli.render import GIB
from poolhand.agent.cli.status import SECTIONS

Part = Callable[[Mapping[str, object]], Iterator[str]]


def rows(part: Part, **facts: object) -> list[str]:
    return list(part(facts))


def test_the_line_says_since_when_and_where_to() -> None:
    said = rows(sections.line, state="online", since_s=130.0, url="ws://h/ws/provider")
    assert said == ["online  for 2 min  ws://h/ws/provider"]


def test_a_line_that_is_down_says_why_and_an_open_one_does_not_dwell_on_it() -> None:
    error = {"code": "link_lost", "words": "the line closed with 1006"}
    down = rows(sections.line, state="down", last_error=error, trust="untrusted")
    assert "last error: the line closed with 1006" in down
    assert "the coordinator says: untrusted" in down
    assert "dials again in 7 s" in rows(sections.line, state="down", dials_in_s=7.2)
    assert len(rows(sections.line, state="online", last_error=error)) == 1


def test_the_pool_says_who_chose_it_and_what_was_refused() -> None:
    refusal = {"words": "model 'x' not in advertised model list", "count": 3, "age_s": 12.0}
    said = rows(
        sections.pool, assigned="tiny", source="config", models=["org/a"], last_refusal=refusal
    )
    assert said[0] == "tiny  (chosen in the configuration)"
    assert said[1].strip() == "org/a"
    assert said[2] == "refused 3x, 12 s ago: model 'x' not in advertised model list"


def test_a_rest_says_until_when_for_whom_and_who_comes_back() -> None:
    assert rows(sections.rest, phase="open", turns_at=None, yield_to=[], asleep=[]) == []
    at = "2026-11-21T22:00:00+01:00"
    assert rows(sections.rest, phase="closed", turns_at=at, asleep=["org/a", "org/b"]) == [
        f"closed until {at}",
        "back afterwards: org/a, org/b",
    ]
    heeds = {"phase": "open", "yield_to": ["input", "gpu"]}
    assert rows(sections.rest, **heeds) == ["steps aside for input, gpu; nobody needs it now"]
    taken = rows(sections.rest, **heeds, is_owners=True, words="keyboard or mouse used 2 s ago")
    assert taken == ["its owner has it: keyboard or mouse used 2 s ago"]


def test_the_pool_says_since_when_and_what_keeps_the_machine_there() -> None:
    said = rows(
        sections.pool,
        scope=["x", "y"],
        source="load",
        for_s=12.0,
        epoch=7,
        enforced=False,
        stays_because="1 request(s) in flight",
    )
    assert said == [
        "x or y  (chosen by a load)  for 12 s  epoch 7",
        "not enforced: whatever is allowed may be loaded",
        "stays because: 1 request(s) in flight",
    ]
    assert rows(sections.pool, source="none") == ["(nobody has chosen yet)"]


@pytest.mark.parametrize(
    ("rate_bytes_s", "eta_s", "end"),
    [
        (GIB / 20, 14.0, "50 %  51.2 MiB/s, 14 s left"),  # as it was foreseen, which knows more
        (GIB / 20, None, "50 %  51.2 MiB/s"),
        (None, 200.0, "50 %  3 min 20 s left"),
        (None, None, "50 %"),
    ],
)
def test_a_download_is_a_bar_with_a_rate_and_an_end(
    rate_bytes_s: float | None, eta_s: float | None, end: str
) -> None:
    stay = {
        "model": "org/a",
        "state": "downloading",
        "bytes_done": GIB // 2,
        "bytes_total": GIB,
        "rate_bytes_s": rate_bytes_s,
        "eta_s": eta_s,
    }
    (_, row) = rows(sections.slots, max=1, stays=[stay])
    assert row.strip().startswith("org/a  downloading  [############............] 50 %")
    assert row.endswith(end)


def test_a_download_without_a_size_has_no_bar() -> None:
    stay = {"model": "org/a", "state": "downloading", "for_s": 3.0, "bytes_total": 0}
    (_, row) = rows(sections.slots, max=1, stays=[stay])
    assert row.strip() == "org/a  downloading  for 3 s: its store is asked for it"


def test_a_resident_says_what_it_holds_and_does() -> None:
    stay = {
        "model": "org/a",
        "state": "ready",
        "for_s": 5.0,
        "holds_bytes": GIB,
        "decode_tps": 61.7,
        "requests": 2,
    }
    (count, row) = rows(sections.slots, max=1, stays=[stay])
    assert count == "1 model(s), 1 slot(s)"
    assert row.strip() == "org/a  ready  for 5 s  holds 1.0 GiB  62 tokens/s  2 request(s)"


def test_a_resident_says_what_keeps_it_from_answering() -> None:
    stay = {"model": "org/a", "state": "ready", "trouble": "daily limit of 9 tokens reached"}
    (_, row) = rows(sections.slots, max=1, stays=[stay])
    assert row.strip() == "org/a  ready  daily limit of 9 tokens reached"


def test_requests_are_two_counts_of_now_and_two_of_ever() -> None:
    counts = {"opening": 1, "waiting": 2, "running": 3, "requests_served": 4, "tokens_generated": 5}
    assert rows(sections.requests, **counts) == ["3 running, 3 waiting; 4 served, 5 tokens"]


def test_memory_says_what_would_fit() -> None:
    said = rows(
        sections.memory, available_bytes=2 * GIB, total_bytes=4 * GIB, free_for_load_bytes=GIB
    )
    assert said == ["2.0 GiB of 4.0 GiB free; weights of 1.0 GiB would fit"]


@pytest.mark.parametrize(
    ("on_disk", "words"), [("here", "here"), ("partial", "partly here"), ("listed", "not here")]
)
def test_the_cache_says_what_is_here(on_disk: str, words: str) -> None:
    stock = {"id": "org/a", "size_bytes": GIB, "on_disk": on_disk, "verified_by": "manifest"}
    (folder, row) = rows(sections.cache, dir="/cache", models=[stock])
    assert folder == "/cache"
    assert row.strip() == f"org/a  1.0 GiB  {words}  verified by manifest"


def test_an_edit_that_is_not_in_force_is_shown() -> None:
    said = rows(sections.config, path="/a.toml", rejected={"words": "line 3: unknown key"})
    assert said == ["/a.toml", "the last edit is not in force: line 3: unknown key"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = ("state", "stays", "models", "bytes_done", "bytes_total", "rate_bytes_s", "last_refusal")


@settings(max_examples=100)
@given(facts=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), json_values))
def test_law_no_part_is_upset_by_any_facts(facts: dict[str, Any]) -> None:
    for part in SECTIONS.values():
        for row in part(facts):
            assert row.isprintable(), "nothing that could steer a terminal"


def test_what_keeps_requests_away_and_how_surely() -> None:
    blocked = [
        {"words": "the line is down", "certain": True},
        {"code": "backend_label", "words": "another backend is wanted", "certain": False},
        {"code": "privacy", "words": "not true of this process: x", "certain": False},
    ]
    assert rows(sections.reach, reachable=True, blockers=[]) == []
    others = [
        {"model": "org/b", "code": "trust_level", "certain": False},
        {"model": "org/c", "code": "outside_pool", "certain": True},
    ]
    assert rows(sections.reach, reachable=True, blockers=[], others=others) == [
        "1 other model(s) get none (org/c: outside_pool); see `poolhand models why`"
    ]
    assert rows(sections.reach, reachable=False, model="org/a", blockers=blocked) == [
        "no request comes: the line is down",
        "a coordinator left at its defaults would send none: backend_label, privacy",
        "  -> `poolhand models why org/a` says more",
    ]


def test_what_failed_last_comes_first_with_its_remedy() -> None:
    told = [
        {"age_s": 60.0 * n, "code": f"code_{n}", "words": "w", "remedy": "r" if n == 1 else ""}
        for n in (9, 4, 3, 1)
    ]
    assert rows(sections.failures, failures=told) == [
        "60 s ago, code_1: w",
        "  -> r",
        "3 min ago, code_3: w",
        "4 min ago, code_4: w",
    ]


def test_a_drain_and_an_edit_that_waits() -> None:
    assert rows(
        sections.drains, drains=[{"words": "its operator had it drained", "for_s": 5.0}]
    ) == ["its operator had it drained  for 5 s"]
    said = rows(sections.config, path="/a.toml", pending=["cache.dir", "log.format"])
    assert said == ["/a.toml", "waits for a restart: cache.dir, log.format"]


def test_models_that_are_to_come_back_are_named_with_their_time() -> None:
    told = [{"model": "org/a", "words": "model 'org/a' not loaded: it comes back in 2 s"}]
    assert rows(sections.restarts, restarts=told) == [told[0]["words"]]
    assert rows(sections.restarts) == []


def test_what_a_coordinator_desires_and_how_far_it_is() -> None:
    row = {"name": "tiny", "model": "org/b", "state": "on_disk", "why": None, "failures": 0}
    failed = {**row, "state": "failed", "failures": 3, "again_in_s": 90.0}
    ignored = {**row, "state": "ignored", "why": "it is not offered here"}
    assert rows(sections.desired, desired=[row, failed, ignored]) == [
        "tiny: org/b  on disk",
        "tiny: org/b  failed 3x  again in 90 s",
        "tiny: org/b  ignored  it is not offered here",
    ]
