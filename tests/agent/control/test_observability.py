"""The dashboard and the alerts that are given away: every metric they name exists."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import cast

import pytest
import yaml

from poolhand.agent.control.exposition import PREFIX
from poolhand.agent.control.families import FAMILIES

FOLDER = Path(__file__).parents[3] / "packaging" / "observability"
BOARD, ALERTS = FOLDER / "grafana.json", FOLDER / "alerts.yml"

KNOWN = {
    f"{PREFIX}{family.name}{end}"
    for family in FAMILIES
    for end in (("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",))
}
LABELS = {label for family in FAMILIES for label in family.labels} | {"instance", "le", "job"}

Rows = list[dict[str, object]]


def expressions() -> list[str]:
    board = cast("dict[str, Rows]", json.loads(BOARD.read_text()))
    targets = [row for panel in board["panels"] for row in cast("Rows", panel["targets"])]
    return [*(str(row["expr"]) for row in targets), *(str(rule["expr"]) for rule in rules())]


def rules() -> Rows:
    found = cast("dict[str, list[dict[str, Rows]]]", yaml.safe_load(ALERTS.read_text()))
    return [rule for group in found["groups"] for rule in group["rules"]]


def test_every_metric_that_is_shown_or_watched_exists() -> None:
    named = {name for each in expressions() for name in re.findall(rf"\b{PREFIX}\w+", each)}
    assert len(named) > 25
    assert named - KNOWN == set()


def test_every_metric_there_is_has_a_panel_or_an_alert() -> None:
    named = {name for each in expressions() for name in re.findall(rf"\b{PREFIX}\w+", each)}
    seen = named | {name.removesuffix("_bucket") for name in named}
    assert [one.name for one in FAMILIES if f"{PREFIX}{one.name}" not in seen] == []


def test_every_label_that_is_chosen_by_exists() -> None:
    for each in expressions():
        by = re.findall(r"(?:by|on) \(([^)]*)\)", each)
        named = {name.strip() for group in by for name in group.split(",")}
        named |= set(re.findall(r'[{,]\s*(\w+)=~?"', each))
        assert named <= LABELS, each


def test_every_alert_says_what_helps() -> None:
    assert len(rules()) >= 10
    names = [str(rule["alert"]) for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        told = cast("dict[str, str]", rule["annotations"])
        assert set(told) == {"summary", "remedy"}
        assert cast("dict[str, str]", rule["labels"])["severity"] in {"critical", "warning", "info"}


def test_no_panel_hides_another() -> None:
    board = cast("dict[str, Rows]", json.loads(BOARD.read_text()))
    seen: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = cast("dict[str, int]", panel["gridPos"])
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & seen, panel["title"]
        assert all(x < 24 for x, _ in cells)
        seen |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) >= 15


def test_promtool_takes_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed here; the names above were checked all the same")
    ended = subprocess.run(  # noqa: S603  # Prometheus' own checker
        [promtool, "check", "rules", str(ALERTS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_promtool_reads_every_expression(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed here")
    made = [
        {"record": f"x{at}", "expr": each.replace("$__rate_interval", "5m")}
        for at, each in enumerate(expressions())
    ]
    (tmp_path / "all.yml").write_text(json.dumps({"groups": [{"name": "x", "rules": made}]}))
    ended = subprocess.run(  # noqa: S603  # Prometheus' own checker
        [promtool, "check", "rules", str(tmp_path / "all.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
