"""Processes of a small world: started, heard, asked, ended."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from poolhand.agent.dev.stage import NotAsExpected, Stage, ask, at, each_of, stay_of

STUBBORN = """\
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready on http://127.0.0.1:1', flush=True)
time.sleep(60)
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def nonsense() -> Iterator[str]:
    """A server whose answers are no JSON; its URL."""

    class Nonsense(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
            pass

    with HTTPServer(("127.0.0.1", 0), Nonsense) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def test_a_store_and_a_coordinator_listen_and_leave_with_0(stage: Stage) -> None:
    (stage.folder / "store").mkdir()
    both = [stage.open_store(stage.folder / "store"), stage.open_coordinator()]
    urls = [stage.url_of(actor) for actor in both]
    assert stage.store.url == urls[0]
    assert ask(f"{urls[0]}/_stats")[0] == 200
    assert ask(f"{urls[0]}/models/any")[0] == 403, "it wants to be asked with a signature"
    assert each_of(stage.state(), "providers") == []
    stage.close()
    assert [actor.process.returncode for actor in both] == [0, 0]
    with pytest.raises(NotAsExpected, match="no answer from"):
        stage.state()


def test_whoever_ends_early_is_named(stage: Stage) -> None:
    actor = stage.open_store(stage.folder / "nowhere")
    with pytest.raises(NotAsExpected, match="the store ended with exit code 78"):
        stage.url_of(actor)
    assert "not a folder" in actor.tail()
    assert not actor.is_running


def test_patience_ends(stage: Stage) -> None:
    with pytest.raises(NotAsExpected, match="not within 0 s: pigs fly"):
        stage.until(lambda: None, "pigs fly", 0)


def test_one_who_does_not_listen_is_killed(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    actor = stage.spawn("one", ["stubborn"], {"PYTHONPATH": str(tmp_path)})
    assert stage.url_of(actor) == "http://127.0.0.1:1"
    assert actor.end(patience_s=0.1) == -9
    assert actor.end() == -9, "a second time changes nothing"


def test_an_agent_that_is_not_there_has_no_status(stage: Stage) -> None:
    config = stage.folder / "agent.toml"
    config.write_text("nonsense")
    agent = stage.open_agent(config)
    assert agent.process.wait(20) == 78
    assert agent.status() == {}
    assert stage.agent.state_dir == stage.folder / "agent.state"
    assert f"{config}:1" in agent.tail()


def test_what_would_lead_astray_is_left_out(tmp_path: Path) -> None:
    environ = {
        "AWS_PROFILE": "p",
        "AWS_ENDPOINT_URL_S3": "http://example.org",
        "HTTPS_PROXY": "http://proxy",
        "no_proxy": "x",
        "POOLHAND_TOKEN": "t",
        "HOME": "/home/me",
    }
    kept = Stage(tmp_path, environ=environ).environ
    assert {name: kept[name] for name in kept.keys() & environ.keys()} == {"HOME": "/home/me"}
    assert kept["AWS_EC2_METADATA_DISABLED"] == "true"
    assert kept["AWS_CONFIG_FILE"] == os.devnull


def test_an_answer_that_is_no_json_is_none(nonsense: str, stage: Stage) -> None:
    assert ask(f"{nonsense}/x?y=1") == (503, None)
    stage.open_coordinator().url = nonsense
    with pytest.raises(NotAsExpected, match="HTTP 503"):
        stage.state()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("a", "b", 1), 2),
        (("a", "b", -1), 2),
        (("a", "b", 2), None),
        (("a", "x"), None),
        (("a", "b", "c"), None),
        (("n", "x"), None),
        ((), {"a": {"b": [1, 2]}, "n": None}),
    ],
)
def test_what_lies_at_a_path(path: tuple[str | int, ...], found: object) -> None:
    assert at({"a": {"b": [1, 2]}, "n": None}, *path) == found


def test_lists_and_stays() -> None:
    stays = [{"model": "m", "state": "unloading"}, {"model": "m", "state": "loading"}]
    status: dict[str, object] = {"slots": stays, "node": {}}
    assert each_of(status, "slots") == stays
    assert each_of(status, "node") == []
    assert stay_of(status, "m") == stays[1]
    assert stay_of(status, "n") is None
