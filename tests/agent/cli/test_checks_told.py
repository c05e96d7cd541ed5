"""What a check can find."""

from pathlib import Path

import pytest

from poolhand.agent.cli.checks_told import Verdict, fail, failed_by, ok, skipped, warn
from poolhand.backends.stores.errors import StoreUnreachable
from poolhand.config.errors import ConfigUnreadable

from .checks_world import RUNNING, ground


def test_findings() -> None:
    assert ok("a.b", "well").verdict is Verdict.OK
    assert (warn("a.b", "odd", "look").remedy, fail("a.b", "no", "mend").remedy) == ("look", "mend")
    assert skipped("a.b", "nothing there", "org/a").subject == "org/a"


def test_a_failure_of_the_daemons_own_functions() -> None:
    unread = failed_by("config.readable", ConfigUnreadable(path="/a", reason="gone"))
    assert (unread.verdict, unread.is_config) == (Verdict.FAIL, True)
    assert unread.remedy == ConfigUnreadable.remedy
    lost = failed_by("store.listable", StoreUnreachable(store="s", reason="gone"), "org/a")
    assert (lost.cause, lost.subject, lost.is_config) == ("store s: gone", "org/a", False)


def test_a_ground_with_and_without(tmp_path: Path) -> None:
    empty = ground(tmp_path / "a", "")
    assert (empty.runs, empty.pid) == (False, None)
    with pytest.raises(RuntimeError):
        _ = empty.settings
    full = ground(tmp_path / "b", status=RUNNING, environ={"POOLHAND_TOKEN": "canary"})
    assert full.runs
    assert full.settings.coordinator.url == "ws://127.0.0.1:1"
    assert "canary" not in repr(full), "the environment is nobody's business"
