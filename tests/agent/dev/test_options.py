"""What a dev coordinator may be told."""

import pytest

from poolhand.agent.dev.options import CoordinatorOptions, is_loopback, read_alias
from poolhand.agent.dev.registry import Alias


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_is_reached_from_here_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "", "localhost.evil"])  # noqa: S104 - refused
def test_everything_else_is_refused(host: str) -> None:
    assert not is_loopback(host)


def test_an_alias_is_read_from_one_word() -> None:
    assert read_alias("tiny=org/a") == Alias("tiny", "org/a")
    assert read_alias(" tiny = org/a , org/b ") == Alias("tiny", "org/a", "org/b")
    for text in ("", "tiny", "=a", "tiny=", "tiny=,b"):
        with pytest.raises(ValueError, match="an alias is"):
            read_alias(text)


def test_the_defaults_are_the_real_ones() -> None:
    usual = CoordinatorOptions()
    assert is_loopback(usual.host)
    assert (usual.challenge_interval_s, usual.challenge_timeout_s, usual.stale_s) == (300, 30, 90)
    assert (usual.pending_load_s, usual.chunk_wait_s) == (120, 600)
    assert usual.max_frame_bytes == 10 * 2**20
