"""The collector's checks, against a real one on loopback."""

from pathlib import Path

import pytest

from poolhand.agent.cli.checks_telemetry import look
from poolhand.agent.cli.checks_told import Finding
from tests.agent.control.collector import collecting

from .checks_world import PLAIN, by_id, ground, verdicts

KEY = "canary-key-of-a-collector"


def looked(folder: Path, text: str, **environ: str) -> list[Finding]:
    return list(look(ground(folder, f"{PLAIN}\n[telemetry]\n{text}", environ=environ)))


def test_whoever_wants_no_traces_is_asked_nothing(tmp_path: Path) -> None:
    found = looked(tmp_path, "traces = false")
    assert set(verdicts(found).values()) == {"skipped"}


def test_a_collector_that_takes_an_empty_batch_is_well(tmp_path: Path) -> None:
    with collecting() as collector:
        base = f"http://127.0.0.1:{collector.port}"
        text = f'traces = true\nendpoint = "{base}"\nkey_env = "COLLECTOR_KEY"\n'
        found = looked(tmp_path, text, COLLECTOR_KEY=KEY)
        assert verdicts(found) == {"telemetry.extra": "ok", "telemetry.collector": "ok"}
        assert collector.paths == ["/v1/traces"]
        assert collector.headers[0]["authorization"] == f"Bearer {KEY}"
        assert collector.batches[0].ByteSize() == 0
        named = looked(tmp_path, "traces = true", OTEL_EXPORTER_OTLP_ENDPOINT=f"{base}/otlp/")
        assert verdicts(named)["telemetry.collector"] == "ok"
        assert collector.paths[-1] == "/otlp/v1/traces"
    assert KEY not in repr(found)


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_collector_that_refuses_is_no_reason_not_to_serve(tmp_path: Path, status: int) -> None:
    with collecting() as collector:
        collector.status = status
        text = f'traces = true\nendpoint = "http://127.0.0.1:{collector.port}"\n'
        told = by_id(looked(tmp_path, text))["telemetry.collector"]
    assert told.verdict == "warn"
    assert f"HTTP {status}" in told.cause
    assert "telemetry.endpoint" in told.remedy


def test_nobody_there_is_told_with_what_helps(tmp_path: Path, unused_tcp_port: int) -> None:
    text = f'traces = true\nendpoint = "http://127.0.0.1:{unused_tcp_port}"\n'
    told = by_id(looked(tmp_path, text))["telemetry.collector"]
    assert (told.verdict, told.cause) == (
        "warn",
        "no collector at 127.0.0.1: Connection refused",
    )


def test_a_key_that_is_missing_is_a_failure_of_the_configuration(tmp_path: Path) -> None:
    found = looked(tmp_path, 'traces = true\nkey_env = "COLLECTOR_KEY"\n')
    assert verdicts(found) == {"telemetry.extra": "fail", "telemetry.collector": "skipped"}
    assert by_id(found)["telemetry.extra"].is_config
