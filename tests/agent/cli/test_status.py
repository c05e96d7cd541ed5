"""The status: one question answered first, by exit code, by line and by JSON."""

import json
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.agent.cli.exits import Exit
from poolhand.agent.cli.status import SECTIONS, drawn, read, telemetry

from .conftest import Cli, Daemon

GOOD: Mapping[str, object] = {
    "serving": True,
    "why_not": [],
    "line": {"state": "online", "url": "ws://127.0.0.1:1/ws/provider", "since_s": 125.0},
    "pool": {
        "assigned": "tiny",
        "models": ["org/a", "org/b"],
        "allowed": [],
        "refusals": 1,
        "source": "config",
        "last_refusal": {"words": "model 'org/x\x1b[2J' is outside", "count": 1, "age_s": 3.0},
    },
    "max_model_slots": 1,
    "slots": [{"model": "org/a", "state": "ready", "for_s": 5.0}],
    "requests": {"running": 0, "requests_served": 12, "tokens_generated": 99},
    "memory": {"available_bytes": 3 * 2**30, "total_bytes": 4 * 2**30},
    "config": {"path": "/a.toml"},
}
BAD: Mapping[str, object] = {
    "serving": False,
    "why_not": [{"code": "link_refused", "words": "no line to x", "remedy": "Check the url."}],
}


def test_a_serving_agent(cli: Cli, daemon: Daemon) -> None:
    ended = cli("status", "--state-dir", daemon({"/v1/status": GOOD}))
    assert ended.returncode == Exit.OK
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "serving: yes",
        "line      online  for 2 min  ws://127.0.0.1:1/ws/provider",
        "pool      tiny  (chosen in the configuration)",
        "            org/a",
        "            org/b",
        "          refused 1x, 3 s ago: model 'org/x?[2J' is outside",
        "slots     1 model(s), 1 slot(s)",
        "            org/a  ready  for 5 s",
        "requests  0 running, 0 waiting; 12 served, 99 tokens",
        "memory    3.0 GiB of 4.0 GiB free",
        "config    /a.toml",
    ]


def test_an_agent_that_does_not_serve_says_why_and_what_helps(cli: Cli, daemon: Daemon) -> None:
    ended = cli("status", "--state-dir", daemon({"/v1/status": BAD}))
    assert ended.returncode == Exit.NOT_SERVING
    assert ended.stdout.splitlines() == ["serving: no", "  no line to x", "  -> Check the url."]


def test_json_is_the_agents_own(cli: Cli, daemon: Daemon) -> None:
    raw = json.dumps(GOOD, separators=(",", ": ")).encode()
    ended = cli("status", "--json", "--state-dir", daemon({"/v1/status": raw}))
    assert ended.stdout.encode() == raw + b"\n"
    assert ended.returncode == Exit.OK


def test_no_agent(cli: Cli, tmp_path: Path) -> None:
    ended = cli("status", POOLHAND_STATE_DIR=str(tmp_path / "s"))
    assert ended.returncode == Exit.NOT_RUNNING
    first, words, remedy = ended.stdout.splitlines()
    assert first == "serving: no"
    assert words.startswith(f"  agent is not running (no answer at {tmp_path}/s/control.sock")
    assert remedy.startswith("  -> Start it with")
    ended = cli("status", "--json", "--state-dir", tmp_path / "s")
    assert ended.returncode == Exit.NOT_RUNNING
    answer = json.loads(ended.stdout)
    assert answer["serving"] is False
    assert answer["why_not"][0]["code"] == "agent_not_running"


def test_the_agent_of_another_file_is_not_the_one_meant(
    cli: Cli, daemon: Daemon, tmp_path: Path
) -> None:
    running = tmp_path / "a.toml"
    state = daemon({"/v1/status": {"serving": True, "config": {"path": str(running)}}})
    assert cli("status", "--state-dir", state, "--config", running).returncode == Exit.OK
    ended = cli("status", "--state-dir", state, "--config", tmp_path / "b.toml")
    assert ended.returncode == Exit.NOT_RUNNING
    assert f"runs another file, {running}" in ended.stdout


def test_an_answer_that_is_none(cli: Cli, daemon: Daemon) -> None:
    state = daemon({"/v1/status": b"[]"})
    ended = cli("status", "--state-dir", state)
    assert (ended.returncode, ended.stdout) == (Exit.FAILURE, "")
    assert ended.stderr == "poolhand: the agent gave no status (HTTP 200)\n"


def test_only_a_good_object_is_an_answer() -> None:
    assert read(200, b'{"a": 1}') == {"a": 1}
    for code, body in ((503, b"{}"), (200, b""), (200, b"\xff"), (200, b"[" * 100_000)):
        assert read(code, body) == {}


def test_colour_is_only_for_terminals() -> None:
    assert next(drawn(GOOD, is_coloured=True)) == "serving: \x1b[1;32myes\x1b[0m"
    assert next(drawn(BAD, is_coloured=True)) == "serving: \x1b[1;31mno\x1b[0m"


names = st.text(max_size=6) | st.sampled_from(["a_bytes", "b_s", "c_ratio"])
leaves = (
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=8)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["serving", "why_not", *SECTIONS]), values))
@settings(max_examples=200, deadline=None)
def test_law_any_json_can_be_drawn_and_none_steers_the_terminal(
    answer: Mapping[str, object],
) -> None:
    lines = list(drawn(answer, is_coloured=False))
    assert lines[0] in {"serving: yes", "serving: no"}
    for line in lines:
        assert line.isprintable(), line


def test_where_traces_go_is_told_if_any_are_wanted() -> None:
    told = {"state": "failing", "sent": 3, "failed": 2, "dropped": 1, "error": None}
    assert [*telemetry(told)] == ["traces failing: 3 spans sent, 2 not taken, 1 dropped"]
    error = {"code": "extra_missing", "words": "it needs an extra", "remedy": "Install it."}
    _, why = telemetry({**told, "state": "unusable", "error": error})
    assert why == "it needs an extra; Install it."
