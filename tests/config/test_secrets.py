"""The token: where it comes from, when it is refused, and that it appears nowhere."""

# ruff: noqa: S106  # these are names of sources, not secrets

import copy
import json
import logging
import os
import pickle
import stat
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.config.errors import SecretUnusable
from poolhand.config.secrets import MOST_BYTES, FoundToken, Secret, coordinator_token
from poolhand.config.settings import Coordinator

URL = "ws://127.0.0.1:1"
CANARY = "tok-canary-5f0c"


def token(environ: dict[str, str] | None = None, **named: str) -> FoundToken:
    return coordinator_token(Coordinator.model_validate({"url": URL, **named}), environ or {})


def written(tmp_path: Path, content: bytes, mode: int = 0o600) -> str:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def revealed(found: FoundToken) -> str:
    assert found.secret is not None
    assert found.warning == ""
    return found.secret.reveal()


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
def test_a_private_file(tmp_path: Path, mode: int, end: bytes) -> None:
    path = written(tmp_path, CANARY.encode() + end, mode)
    assert revealed(token(token_file=path)) == CANARY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_file_that_others_may_touch_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, CANARY.encode(), mode)
    with pytest.raises(SecretUnusable, match=f"mode 0{mode:o}\\): chmod 600 {path}"):
        token(token_file=path)


def test_a_link_is_judged_by_what_it_points_at(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(written(tmp_path, CANARY.encode()))
    assert revealed(token(token_file=str(link))) == CANARY
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(SecretUnusable, match="others may read it"):
        token(token_file=str(link))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, CANARY.encode())
    os.chown(path, 12345, 12345)
    with pytest.raises(SecretUnusable, match="another user"):
        token(token_file=path)


def test_an_absent_source_is_no_token_and_a_warning(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    for found in (
        token(token_file=str(tmp_path / "none")),
        token(token_env="NONE"),
        token(token_credential="none"),
        token(environ, token_credential="none"),
    ):
        assert found.secret is None
        assert found.warning.endswith("going without a token")
        assert found.source in found.warning


def test_nothing_named_is_no_token_and_no_warning() -> None:
    assert token() == FoundToken(None, "environment variable POOLHAND_TOKEN")


def test_the_environment(tmp_path: Path) -> None:
    environ = {"POOLHAND_TOKEN": CANARY, "OTHER": "other\n"}
    assert revealed(token(environ)) == CANARY
    assert revealed(token(environ, token_env="OTHER")) == "other"
    assert token(environ, token_file=str(tmp_path / "none")).secret is None, "only what is named"


def test_a_credential_may_have_any_mode(tmp_path: Path) -> None:
    written(tmp_path, CANARY.encode(), 0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert revealed(token(environ, token_credential="token")) == CANARY
    for name in ("../token", "", "..", "a/b"):
        with pytest.raises(SecretUnusable, match="no slashes"):
            token(environ, token_credential=name)


def test_a_credential_that_is_one_empty_line_stands_for_no_file(tmp_path: Path) -> None:
    written(tmp_path, b"\n")
    found = token({"CREDENTIALS_DIRECTORY": str(tmp_path)}, token_credential="token")
    assert found.secret is None
    assert "going without a token" in found.warning
    written(tmp_path, b"\n\n")
    with pytest.raises(SecretUnusable, match="empty"):
        token({"CREDENTIALS_DIRECTORY": str(tmp_path)}, token_credential="token")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"  \n", "empty"),
        (b"a b", "blanks"),
        (b" ab", "blanks"),
        (b"a\nb\n", "blanks"),
        (b"a\x00b", "control"),
        (b"a\x1b[31m", "control"),
        (b"\xff\xfe", "UTF-8"),
        (b"a" * (MOST_BYTES + 1), "longer"),
    ],
)
def test_what_cannot_be_a_token(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(SecretUnusable, match=reason):
        token(token_file=written(tmp_path, content))
    with pytest.raises(SecretUnusable, match=reason):
        token({"T": os.fsdecode(content)}, token_env="T")


def test_the_longest_token(tmp_path: Path) -> None:
    longest = "a" * MOST_BYTES
    assert revealed(token(token_file=written(tmp_path, f"{longest}\r\n".encode()))) == longest


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (str(tmp_path), str(tmp_path / "pipe")):
        with pytest.raises(SecretUnusable, match="regular file"):
            token(token_file=path)
    with pytest.raises(SecretUnusable, match="no valid path"):
        token(token_file="a\0b")
    with pytest.raises(SecretUnusable, match="Not a directory"):
        token(token_file=f"{written(tmp_path, b'x')}/inner")


def test_a_secret_does_not_show_itself(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(CANARY)
    logging.getLogger("x").warning("%s %r", secret, {"token": secret})
    found = FoundToken(secret, "file x")
    shown = [str(secret), repr(secret), f"{secret:>40}", f"{secret!s}", repr(found), caplog.text]
    assert not [text for text in shown if CANARY in text]
    assert caplog.text.count("[secret]") == 2
    with pytest.raises(TypeError):
        json.dumps(secret)
    for way in (pickle.dumps, copy.copy, copy.deepcopy, vars):
        with pytest.raises(TypeError):
            way(secret)
    assert secret == Secret(CANARY)
    assert secret != Secret("other")
    assert secret != CANARY
    assert len({secret, Secret(CANARY)}) == 1


@given(tail=st.binary(min_size=1, max_size=20))
@settings(max_examples=60)
def test_a_refusal_never_quotes_the_token(tail: bytes) -> None:
    environ = {"T": os.fsdecode(CANARY.encode() + tail)}
    refusal: SecretUnusable | None = None
    try:
        assert CANARY not in repr(token(environ, token_env="T"))
    except SecretUnusable as error:
        refusal = error
    if refusal is not None:
        told = "".join(traceback.format_exception(refusal)) + repr(vars(refusal))
        assert refusal.__context__ is None, "a context would hold what was being decoded"
        assert CANARY not in told


def test_the_mode_is_asked_of_the_open_file(tmp_path: Path) -> None:
    path = written(tmp_path, CANARY.encode())
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert token(token_file=path).source == f"file {path}"
