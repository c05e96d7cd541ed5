"""The configuration's checks, well and ill."""

from pathlib import Path

import pytest

from poolhand.agent.cli.checks_config import ABOUT, look
from poolhand.agent.cli.checks_told import Finding

from .checks_world import PLAIN, RUNNING, by_id, ground, verdicts

TOKEN = "canary-token-77aa"  # noqa: S105  # a made-up one


def test_all_is_well(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    extras = tmp_path / "w" / "agent.d"
    extras.mkdir(parents=True)
    (extras / "10.toml").write_text("[slots]\nmax_model_slots = 2\n")
    (extras / ".swp").write_text("")
    inside: dict[str, object] = {"path": str(tmp_path / "w" / "agent.toml"), "pending": []}
    told = {**RUNNING, "config": inside}
    text = f'{PLAIN}token_file = "{token}"\n'
    found = list(look(ground(tmp_path / "w", text, status=told)))
    assert verdicts(found) == dict.fromkeys(ABOUT, "ok")
    assert by_id(found)["token.source"].cause == f"read from file {token}"
    assert TOKEN not in repr(found)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    found = list(look(ground(tmp_path, "")))
    assert verdicts(found)["config.readable"] == "fail"
    assert verdicts(found)["config.valid"] == "skipped"
    assert verdicts(found)["token.source"] == "skipped"
    assert by_id(found)["config.readable"].is_config


def test_what_cannot_be_is_told_whole(tmp_path: Path) -> None:
    found = by_id(look(ground(tmp_path, '[coordinator]\nurl = "ftp://x"\n[slot]\na = 1\n')))
    assert found["config.readable"].verdict == "ok"
    invalid = found["config.valid"]
    assert (invalid.verdict, invalid.is_config) == ("fail", True)
    assert "agent.toml:2" in invalid.cause
    assert "slots" in invalid.cause, "the suggestion for the second mistake"


def test_others_may_write(tmp_path: Path) -> None:
    here = ground(tmp_path / "w")
    here.config.chmod(0o666)
    found = by_id(look(here))["config.permissions"]
    assert (found.verdict, found.subject) == ("warn", str(here.config))
    assert "0666" in found.cause
    here.config.chmod(0o600)
    here.config.parent.chmod(0o777)
    assert by_id(look(here))["config.permissions"].subject == str(here.config.parent)
    here.config.parent.chmod(0o1777)
    assert by_id(look(here))["config.permissions"].verdict == "ok", "as in /tmp"


def test_what_lies_in_agent_d_and_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "agent.d").mkdir()
    (tmp_path / "agent.d" / "more.conf").write_text("")
    found = by_id(look(ground(tmp_path)))["config.extras"]
    assert found.verdict == "warn"
    assert "more.conf" in found.cause


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"rejected": {"words": "agent.toml:1: no\x1b"}}, "no?"),
        ({"pending": ["slots.max_model_slots"]}, "slots.max_model_slots"),
        ({"path": "/somewhere/else.toml"}, "another file, /somewhere/else.toml"),
    ],
)
def test_an_edit_that_is_not_in_force(tmp_path: Path, told: object, words: str) -> None:
    found = by_id(look(ground(tmp_path, status={**RUNNING, "config": told})))["config.pending"]
    assert found.verdict == "warn"
    assert words in found.cause


def test_tokens(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o644)
    text = f'{PLAIN}token_file = "{token}"\n'
    found = by_id(look(ground(tmp_path / "w", text)))["token.source"]
    assert (found.verdict, found.is_config) == ("fail", True)
    assert "0644" in found.cause
    token.unlink()
    assert by_id(look(ground(tmp_path / "w", text)))["token.source"].verdict == "warn"
    assert by_id(look(ground(tmp_path / "w")))["token.source"].verdict == "ok", "none is named"


def test_a_token_that_a_service_s_manager_hands_over(tmp_path: Path) -> None:
    text = f'{PLAIN}token_credential = "token"\n'
    here = ground(tmp_path / "w", text)
    file = here.root / "etc" / "poolhand" / "token"

    def found() -> Finding:
        return by_id(look(here))["token.source"]

    assert found().verdict == "warn"
    assert f"{file} is not there" in found().cause
    file.parent.mkdir(parents=True)
    file.write_text(TOKEN)
    file.chmod(0o600)
    assert (found().verdict, found().cause) == (
        "ok",
        f"the service's manager hands {file} over",
    )
    file.chmod(0o640)
    assert (found().verdict, found().remedy) == ("warn", f"Say `chmod 600 {file}`.")
    here = ground(tmp_path / "w", text, environ={"CREDENTIALS_DIRECTORY": str(file.parent)})
    assert found().cause == "read from credential 'token'", "seen from inside of the service"
    here = ground(tmp_path / "w", text.replace('"token"', '"other"'))
    assert found().verdict == "skipped"
