"""The macOS keychain, played by a stand-in on the PATH."""

# ruff: noqa: S106  # names of entries, no passwords

from pathlib import Path

import pytest

from poolhand.config.errors import SecretUnusable
from poolhand.config.keychain import from_keychain, into_keychain, out_of_keychain
from poolhand.config.secrets import Secret, coordinator_token
from poolhand.config.settings import Coordinator

TOKEN = "tok-canary'\"$5f0c;"  # noqa: S105  # a made-up one


def test_stored_read_and_deleted_and_never_an_argument(keychain: Path) -> None:
    environ = {"PATH": str(keychain)}
    assert from_keychain("poolhand", environ).secret is None
    into_keychain("poolhand", Secret(TOKEN), environ)
    assert from_keychain("poolhand", environ).secret == Secret(TOKEN)
    into_keychain("poolhand", Secret("other"), environ)
    assert from_keychain("poolhand", environ).secret == Secret("other"), "in place of the first"
    assert out_of_keychain("poolhand", environ)
    assert not out_of_keychain("poolhand", environ)
    asked = (keychain / "asked").read_text()
    assert "find-generic-password -s poolhand -w" in asked
    assert TOKEN not in asked
    assert TOKEN.encode().hex() not in asked


def test_what_is_not_there_is_no_failure_and_what_is_locked_is_one(keychain: Path) -> None:
    environ = {"PATH": str(keychain)}
    found = from_keychain("x", environ)
    assert found.warning == "keychain entry 'x' is not there: going without a token"
    found = from_keychain("x", {"PATH": "/nowhere"})
    assert (found.secret, "no keychain here" in found.warning) == (None, True)
    for attempt in (
        lambda: into_keychain("x", Secret(TOKEN), {"PATH": "/nowhere"}),
        lambda: out_of_keychain("x", {"PATH": "/nowhere"}),
    ):
        with pytest.raises(SecretUnusable, match="no keychain on this machine"):
            attempt()
    (keychain / "locked").touch()
    with pytest.raises(SecretUnusable, match=r"does not give it out \(36\)"):
        from_keychain("x", environ)
    with pytest.raises(SecretUnusable) as caught:
        into_keychain("x", Secret(TOKEN), environ)
    assert TOKEN not in repr(caught.value) + repr(caught.value.__context__)
    with pytest.raises(SecretUnusable, match="keeps it"):
        out_of_keychain("x", environ)


def test_the_settings_name_it(keychain: Path) -> None:
    section = Coordinator(url="wss://c.test", token_keychain="poolhand")
    (keychain / "item-poolhand").write_text(TOKEN)
    found = coordinator_token(section, {"PATH": str(keychain), "POOLHAND_TOKEN": "other"})
    assert found.secret == Secret(TOKEN)
    assert found.source == "keychain entry 'poolhand'"
    (keychain / "item-poolhand").write_text("two words")
    with pytest.raises(SecretUnusable, match="blanks"):
        coordinator_token(section, {"PATH": str(keychain)})
    with pytest.raises(ValueError, match="only one of"):
        Coordinator(url="wss://c.test", token_keychain="a", token_env="B")
    with pytest.raises(ValueError, match="pattern"):
        Coordinator(url="wss://c.test", token_keychain="-w")
