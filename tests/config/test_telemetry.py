"""The table [telemetry]: a collector's address, and a key that never travels in the open."""

import pytest

from poolhand.config.rules import Invalid
from poolhand.config.telemetry import Telemetry


def test_it_is_off_by_default_and_names_nobody() -> None:
    section = Telemetry()
    assert (section.traces, section.url, section.sample_ratio) == (False, None, 1.0)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://localhost:4318", "http://localhost:4318/v1/traces"),
        ("https://otlp.example/", "https://otlp.example/v1/traces"),
        ("https://otlp.example/otlp/v1/traces", "https://otlp.example/otlp/v1/traces"),
    ],
)
def test_a_missing_path_becomes_the_usual_one(endpoint: str, url: str) -> None:
    assert Telemetry(endpoint=endpoint).url == url


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"endpoint": "localhost:4318"}, "must be http"),
        ({"endpoint": "grpc://host:4317"}, "must be http"),
        ({"endpoint": "https://user:word@host"}, "no user name"),
        ({"endpoint": "https://host/?key=x"}, "no query"),
        ({"endpoint": "https://host:port"}, "ort"),
        ({"endpoint": "http://far.example", "key_env": "KEY"}, "a key needs https"),
        ({"key_env": "KEY", "key_file": "/key"}, "name only one"),
        ({"sample_ratio": 1.5}, "less_than_equal"),
        ({"key_header": "bad header"}, "pattern_mismatch"),
        ({"key_scheme": "digest"}, "bearer"),
        ({"traces": "yes"}, "bool_type"),
    ],
)
def test_what_cannot_be_is_refused(keys: dict[str, object], problem: str) -> None:
    with pytest.raises(Invalid, match=problem):
        Telemetry.model_validate(keys)


def test_a_key_may_go_to_this_machine_itself_in_the_open() -> None:
    for host in ("localhost:4318", "127.0.0.1", "[::1]:4318"):
        assert Telemetry(endpoint=f"http://{host}", key_env="KEY").key_env == "KEY"
