"""Defaults without the settings: they say what the settings say."""

import subprocess
import sys

import pytest

from poolhand.config.defaults import defaults
from poolhand.config.peers import NO_PEERS
from poolhand.config.settings import Cache, Stores, Weights


def test_they_are_what_the_settings_say() -> None:
    stores, weights, cache, peers = defaults("Stores", "Weights", "Cache", "Peers")
    assert stores == Stores().model_dump()
    assert weights == Weights().model_dump()
    assert cache == Cache().model_dump()
    assert peers == NO_PEERS.model_dump()


def test_an_unknown_table_is_a_bug() -> None:
    with pytest.raises(KeyError):
        _ = defaults("Wishes")


def test_no_settings_are_imported_for_it() -> None:
    program = "import sys; from poolhand.config.defaults import defaults; defaults('Weights')"
    program += "; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)  # noqa: S603  # fixed words
    assert done.stdout.strip() == b"False"
