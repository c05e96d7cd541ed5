"""The table of all checks: ids that are stable, and a group for each."""

import re
from pathlib import Path

from poolhand.agent.cli.checks_table import ABOUT, GROUPS

from .checks_world import ground

ROOT = Path(__file__).parents[3]


def test_ids_are_unique_and_many() -> None:
    ids = [check for group in GROUPS for check in group.about]
    assert len(ids) == len(set(ids)) == len(ABOUT) >= 25
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+", check) for check in ids)


def test_the_page_names_every_check() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^\| `([a-z.]+)` \|", page) == list(ABOUT)


def test_what_needs_no_settings_is_looked_at_without_any(tmp_path: Path) -> None:
    here = ground(tmp_path, "")
    for group in GROUPS:
        if not group.needs_settings:
            assert {one.id for one in group.look(here)} == set(group.about), group.name


def test_only_the_network_waits_for_a_network() -> None:
    networked = {group.name for group in GROUPS if group.is_network}
    assert networked == {"line", "stores", "peers", "telemetry"}
    assert all(group.waits for group in GROUPS if group.is_network)
