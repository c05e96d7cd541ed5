"""How the doctor ends: what stands between a model and a request for it."""

from pathlib import Path

from poolhand.agent.cli.checks_told import fail, ok, warn
from poolhand.agent.cli.doctor_verdict import Chance, Obstacle, chances, lines

from .checks_world import PLAIN, RUNNING, ground

MODELS = """\
[[models]]
id = "org/a"
ref = "s3://models/a"
[[models]]
id = "org/b"
ref = "s3://models/b"
"""
FOUND = (
    ok("store.listable", "it", "org/a"),
    warn("agent.running", "none", "start it"),
    fail("store.listable", "gone", "put it back", "org/b"),
)


def test_without_an_agent_what_fails_is_in_the_way(tmp_path: Path) -> None:
    a, b = chances(ground(tmp_path, PLAIN + MODELS), FOUND, (), None)
    assert [one.code for one in a.blockers] == ["agent_not_running"]
    assert [one.code for one in b.blockers] == ["agent_not_running", "store.listable"]
    assert not a.is_certain
    assert a.told()["answered"] is False
    everywhere = (*FOUND, fail("line.tcp", "nobody", "look"))
    assert all(one.blockers[-1].code == "line.tcp" for one in chances(
        ground(tmp_path, PLAIN + MODELS), everywhere, (), None
    ))  # fmt: skip


def test_what_is_not_offered_or_not_allowed(tmp_path: Path) -> None:
    text = f'{PLAIN}[pools]\nallowed = ["org/b"]\n{MODELS}'
    (nobody,) = chances(ground(tmp_path, text), (), (), "org/x")
    assert nobody.blockers[0].code == "not_offered"
    (a,) = chances(ground(tmp_path, text), (), (), "org/a")
    assert a.blockers[0].code == "not_allowed"
    (unread,) = chances(ground(tmp_path / "none", ""), (), (), "org/a")
    assert [one.code for one in unread.blockers] == ["config_unusable"]
    assert chances(ground(tmp_path / "none", ""), (), (), None) == []


def test_a_running_agents_word_counts(tmp_path: Path) -> None:
    here = ground(tmp_path, PLAIN + MODELS, status=RUNNING)
    doubt = {"code": "trust_level", "words": "none\x1b", "remedy": "ask", "certain": False}
    models: list[dict[str, object]] = [
        {"id": "org/a", "blockers": []},
        {"id": "org/b", "blockers": [doubt]},
    ]
    a, b = chances(here, FOUND, models, None)
    assert list(lines([a])) == ["org/a: a request would be answered here"]
    assert (a.told()["answered"], b.told()["answered"]) == (True, False)
    assert b.is_certain, "only a coordinator's defaults are in the way"
    assert list(lines([b])) == [
        "org/b: a request may not reach this machine",
        "  trust_level: none? (with a coordinator left at its defaults)",
        "  -> ask",
    ]
    (gone,) = chances(here, FOUND, models, "org/gone")
    assert gone.blockers[0].code == "not_offered"


def test_models_with_the_same_in_their_way_are_told_once() -> None:
    line = Obstacle("line_down", "there is no line", "Look at it.")
    trust = Obstacle("trust_level", "none", "Ask.", is_certain=False)
    told = [Chance("org/a", (line, trust)), Chance("org/b", ()), Chance("org/c", (line, trust))]
    assert list(lines(told)) == [
        "org/a, org/c: a request would not reach this machine",
        "  line_down: there is no line",
        "  -> Look at it.",
        "  and 1 gate(s) of a coordinator left at its defaults",
        "  -> See `poolhand models why org/a`.",
        "org/b: a request would be answered here",
    ]


def test_what_the_agent_has_not_met_yet_is_in_the_way_too(tmp_path: Path) -> None:
    here = ground(tmp_path, PLAIN + MODELS, status=RUNNING)
    found = [
        fail("engine.available", "vllm is not here", "Install it.", "org/b"),
        fail("store.listable", "it denies access", "Look at it.", "org/a"),
        fail("cache.room", "no room", "Make some.", "org/b"),
        fail("line.tcp", "nobody answers", "Look.", ""),
    ]
    models: list[dict[str, object]] = [
        {"id": "org/a", "state": "on_disk", "blockers": []},
        {"id": "org/b", "state": "listed", "blockers": [{"code": "engine_missing"}]},
    ]
    a, b = chances(here, found, models, None)
    assert a.blockers == (), "it is here: no store and no room are needed"
    assert [one.code for one in b.blockers] == ["engine.available", "cache.room"]
    assert not b.is_certain
