"""The diary: one line each, ids and codes only, and no line that is not ours."""

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from poolhand.agent.core.effects import (
    Dial,
    LoadEngine,
    OpenRequest,
    SampleHost,
    Send,
    StartGeneration,
)
from poolhand.agent.core.events import (
    Due,
    EngineFailed,
    Event,
    Heard,
    HostSampled,
    LinkClosed,
    RequestKey,
    RequestOpened,
)
from poolhand.agent.runtime.flood import MOST_LINES, WINDOW_S
from poolhand.agent.runtime.log import MOST_CHARS, Log, place
from poolhand.agent.wire.inbound import Cancel, InferenceRequest, TrustStatus, Unknown
from poolhand.agent.wire.outbound import Heartbeat, InferenceError, Register
from poolhand.agent.wire.types import Hardware, PrivacyCapabilities, Sealed, Stats
from poolhand.backends.engines.errors import EngineDied, EngineStartFailed
from poolhand.backends.hosts.base import HostSample
from poolhand.backends.stores.base import Build
from poolhand.config.errors import LinkLost

KEY = RequestKey(1, "req-1")
PRIVACY = PrivacyCapabilities(
    text_backend_inprocess=False,
    text_proxy_disabled=True,
    anti_debug_enabled=False,
    core_dumps_disabled=True,
    env_scrubbed=True,
)
HARDWARE = Hardware(
    machine_model="", chip_name="", chip_family="unknown", chip_tier="unknown", memory_gb=1
)


def told(event: Event, *, level: str = "info") -> list[dict[str, Any]]:
    out = io.StringIO()
    Log(level=level, style="json", out=out, now=lambda: 0.0).happened(event)
    return [cast("dict[str, Any]", json.loads(line)) for line in out.getvalue().splitlines()]


def test_an_event_is_one_line_with_its_facts() -> None:
    assert told(RequestOpened(KEY, "org/m", 7)) == [
        {
            "at": "1970-01-01T00:00:00.000+00:00",
            "level": "info",
            "what": "RequestOpened",
            "request": "req-1",
            "model": "org/m",
            "max_tokens": 7,
        }
    ]


def test_a_failure_is_a_warning_with_its_code() -> None:
    (line,) = told(LinkClosed(1, 1001, LinkLost(close_code=1001, reason="bye")))
    assert (line["level"], line["code"], line["close_code"]) == ("warning", "link_lost", 1001)
    assert "bye" in line["words"]


def test_the_tail_of_a_failed_start_is_kept_and_that_of_a_death_is_not() -> None:
    start = EngineStartFailed(engine="mlx", kind="exited", reason="r", tail="Traceback\nboom")
    (line,) = told(EngineFailed("m", start))
    assert line["tail"] == "Traceback\nboom"
    (line,) = told(EngineFailed("m", EngineDied(engine="mlx", exit_code=1, tail="a prompt")))
    assert "prompt" not in str(line)


@pytest.mark.parametrize(
    "event",
    [
        Due(),
        HostSampled(HostSample()),
        Heard(1, Cancel(request_id="r")),
        Heard(1, Unknown(type="x", reason="y")),
    ],
)
def test_what_happens_all_the_time_is_not_told(event: Event) -> None:
    assert not told(event)


def test_debug_tells_more_but_never_the_ticking_of_the_clock() -> None:
    assert told(HostSampled(HostSample()), level="debug")
    assert not told(Due(), level="debug")


def test_of_a_request_only_its_id_is_told() -> None:
    sealed = Sealed(ephemeral_public_key="canary-key", ciphertext="canary-text")
    message = InferenceRequest(request_id="req-1", encrypted_body=sealed)
    out = io.StringIO()
    log = Log(level="debug", style="json", out=out)
    log.happened(Heard(1, message))
    log.done(OpenRequest(KEY, message))
    log.done(StartGeneration(KEY, "m", 5))
    assert "canary" not in out.getvalue()
    assert out.getvalue().count("req-1") == 4


def test_no_token_and_no_key_is_told() -> None:
    register = Register(
        backend="b",
        version="1.2.3",
        hardware=HARDWARE,
        models=(),
        public_key="canary-key",
        privacy_capabilities=PRIVACY,
        auth_token=SecretStr("canary-token"),
    )
    for style in ("json", "text"):
        out = io.StringIO()
        Log(level="debug", style=style, out=out).done(Send(1, register))
        assert "register" in out.getvalue()
        assert "canary" not in out.getvalue()


def test_effects_are_told_and_heartbeats_only_on_request() -> None:
    heartbeat = Send(
        1,
        Heartbeat(
            status="idle", warm_models=(), stats=Stats(requests_served=0, tokens_generated=0)
        ),
    )
    for level, seen in (("info", ["Dial"]), ("debug", ["Dial", "Send", "SampleHost"])):
        out = io.StringIO()
        log = Log(level=level, style="json", out=out)
        for effect in (Dial(3), heartbeat, SampleHost()):
            log.done(effect)
        assert [json.loads(line)["what"] for line in out.getvalue().splitlines()] == seen


def test_a_refusal_is_told_with_its_words() -> None:
    out = io.StringIO()
    error = InferenceError(request_id="r", error="queue full", status_code=503)
    Log(style="json", out=out).done(Send(1, error))
    assert json.loads(out.getvalue())["error"] == "queue full"


def test_a_build_is_named_by_its_model_alone() -> None:
    out = io.StringIO()
    build = Build("/canary", 1, 1, "0", "self", {"canary": 1})
    Log(level="debug", style="json", out=out).done(LoadEngine("m", build))
    assert "canary" not in out.getvalue()


@pytest.mark.parametrize("style", ["json", "text"])
def test_nobody_forges_a_line_or_paints_the_terminal(style: str) -> None:
    out = io.StringIO()
    log = Log(style="text" if style == "text" else "json", out=out)
    log.happened(Heard(1, TrustStatus(status="x", reason="\x1b[2J\ninfo    forged line")))
    log.happened(LinkClosed(1, 1000, LinkLost(close_code=1000, reason="a\r\nerror   forged")))
    assert len(out.getvalue().splitlines()) == 2
    assert "\x1b" not in out.getvalue()


def test_a_text_without_end_is_cut() -> None:
    (line,) = told(Heard(1, TrustStatus(reason="x" * 10_000)))
    assert len(line["reason"]) == MOST_CHARS + 1


def test_text_for_people() -> None:
    out = io.StringIO()
    Log(style="text", out=out, now=lambda: 3723.5).note("poolhand starts", pid=7)
    assert out.getvalue() == "01:02:03.500 info    poolhand starts pid=7\n"


def test_json_where_nobody_looks() -> None:
    out = io.StringIO()
    Log(style="auto", out=out, now=lambda: 0.25).note("x")
    at = "1970-01-01T00:00:00.250+00:00"
    assert json.loads(out.getvalue()) == {"at": at, "level": "info", "what": "x"}


class Torn(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, s: str, /) -> int:
        raise BrokenPipeError


def test_a_reader_that_left_is_no_reason_to_stop() -> None:
    Log(style="json", out=Torn()).note("x")


def test_a_flood_of_one_kind_leaves_the_others_their_lines() -> None:
    out, now_s = io.StringIO(), 0.0
    log = Log(style="json", out=out, now=lambda: now_s)
    for number in range(MOST_LINES + 25):
        log.note("same", number=number)
    log.note("another")
    lines = [cast("dict[str, Any]", json.loads(line)) for line in out.getvalue().splitlines()]
    assert [line["what"] for line in lines[-2:]] == ["LinesLeftOut", "another"]
    assert len(lines) == MOST_LINES + 2
    now_s = WINDOW_S
    log.note("same")
    lines = [cast("dict[str, Any]", json.loads(line)) for line in out.getvalue().splitlines()]
    assert [line["what"] for line in lines[-2:]] == ["LinesLeftOut", "same"]
    assert (lines[-2]["of"], lines[-2]["lines"]) == ("same", 25)


SCRIPT = """
import sys, logging
from poolhand.agent.runtime.journald import Journald
from poolhand.agent.runtime.log import Log
Log(style=sys.argv[2], journal=lambda: Journald.opened(sys.argv[1])).note(
    "starts", level=logging.WARNING, pid=7)
"""


@pytest.mark.parametrize(
    ("style", "is_there", "in_journal", "on_stderr"),
    [
        ("auto", True, b"POOLHAND_PID=7\nPRIORITY=4\n", ""),
        ("auto", False, b"", '<4>{"at": '),
        ("json", True, b"", '<4>{"at": '),
        ("text", True, b"", "<4>"),
    ],
)
def test_in_the_journal_an_entry_and_else_a_priority(
    tmp_path: Path, style: str, in_journal: bytes, on_stderr: str, *, is_there: bool
) -> None:
    path, said = tmp_path / "socket", tmp_path / "err"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound, said.open("w") as err:
        bound.bind(str(path if is_there else tmp_path / "other"))
        facts = os.fstat(err.fileno())
        subprocess.run(  # noqa: S603  # our own words
            [sys.executable, "-c", SCRIPT, str(path), style],
            check=True,
            stderr=err,
            timeout=30,
            env=os.environ | {"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}"},
        )
        bound.settimeout(0)
        try:
            told = bound.recv(2**16)
        except BlockingIOError:
            told = b""
    assert told.startswith(in_journal)
    assert bool(told) == bool(in_journal)
    assert said.read_text().startswith(on_stderr)
    assert bool(said.read_text()) == bool(on_stderr)


def test_where_the_diary_can_be_read(tmp_path: Path) -> None:
    with (tmp_path / "agent.log").open("w") as file:
        number = file.fileno()
        assert place({}, number) == {"kind": "file", "path": str(tmp_path / "agent.log")}
        facts = os.fstat(number)
        environ = {"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}", "INVOCATION_ID": "abc"}
        match = "_SYSTEMD_INVOCATION_ID=abc"
        assert place(environ, number) == {"kind": "journal", "match": match}
    assert place({}, number) == {"kind": "unknown"}, "closed"
    reading, writing = os.pipe()
    assert place({}, writing) == {"kind": "pipe"}
    os.close(reading)
    os.close(writing)
    mine, theirs = os.openpty()
    assert place({}, theirs) == {"kind": "terminal"}
    os.close(mine)
    os.close(theirs)
