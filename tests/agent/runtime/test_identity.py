"""Keys that live in memory, a number that lives on disk, and facts that were looked at."""

import base64
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from nacl.signing import VerifyKey

from poolhand.agent.core.report import Identity
from poolhand.agent.runtime.identity import identify, machine_id, privacy
from poolhand.agent.wire.sealing import NodeKey
from poolhand.config.paths import MACHINE_FILE, StateUnusable
from poolhand.config.secrets import Secret
from poolhand.config.settings import Coordinator, Settings


def offering(*engines: str, isolation: str = "child") -> Settings:
    models = [
        {"id": f"m{at}", "ref": "file:///m", "engine": engine} for at, engine in enumerate(engines)
    ]
    return Settings.model_validate(
        {
            "coordinator": {"url": "ws://127.0.0.1:1"},
            "models": models,
            "engines": {"mlx": {"isolation": isolation}},
        }
    )


NONE = offering()


SETTINGS = Settings(coordinator=Coordinator(url="ws://localhost/"))


def made(state: Path, token: Secret | None = None) -> tuple[Identity, NodeKey]:
    return identify(state, token, SETTINGS, is_hidden=True)


def test_each_process_has_keys_of_its_own(tmp_path: Path) -> None:
    (one, key), (two, _) = (
        identify(tmp_path, None, NONE, is_hidden=False),
        identify(tmp_path, None, NONE, is_hidden=False),
    )
    assert one.public_key == key.public_key != two.public_key
    assert one.machine_id == two.machine_id
    assert len(base64.b64decode(one.public_key)) == 32


def test_a_token_is_kept_and_never_shown(tmp_path: Path) -> None:
    identity, _ = identify(tmp_path, Secret("canary-token"), NONE, is_hidden=False)
    assert identity.token is not None
    assert identity.token.get_secret_value() == "canary-token"
    assert "canary" not in repr(identity)


def test_a_challenge_is_signed_over_nonce_and_timestamp(tmp_path: Path) -> None:
    identity, _ = identify(tmp_path, None, NONE, is_hidden=False)
    signature = base64.b64decode(identity.sign("nonce", "time"))
    assert len(signature) == 64
    assert identity.sign("nonce", "time") != identity.sign("other", "time")
    with pytest.raises(Exception, match="forged"):
        VerifyKey(base64.b64decode(identity.public_key)).verify(b"noncetime", signature)


def test_the_number_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    made = machine_id(tmp_path)
    assert machine_id(tmp_path) == made
    assert len(made) == 32
    assert (tmp_path / MACHINE_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"machine_id": 7}', b'{"machine_id": ""}', b"\xff"]
)
def test_a_file_that_means_nothing_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / MACHINE_FILE
    path.write_bytes(content)
    number = machine_id(tmp_path)
    assert json.loads(path.read_text()) == {"machine_id": number}
    assert path.with_suffix(".bad").read_bytes() == content


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match=r"machine\.json"):
        machine_id(tmp_path / "nowhere")


def test_core_dumps_are_told_as_they_are() -> None:
    script = (
        "from poolhand.agent.runtime.identity import forbid_core_dumps, privacy\n"
        "from poolhand.config.settings import Coordinator, Settings\n"
        "settings = Settings(coordinator=Coordinator(url='ws://localhost/'))\n"
        "def told(): print(privacy(settings, {}, is_hidden=True).core_dumps_disabled)\n"
        "told(); forbid_core_dumps(); told()"
    )
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    done = subprocess.run(  # noqa: S603  # ourselves
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(limits == (0, 0)), "True"]


def test_a_model_at_a_provider_is_a_way_out_for_text() -> None:
    here = {"id": "a", "ref": "file:///a", "engine": "echo"}
    there = {"id": "b", "external": {"dialect": "openai"}}
    for models, is_kept in (([here], True), ([here, there], False)):
        document = {"coordinator": {"url": "ws://localhost/"}, "models": models}
        said = privacy(Settings.model_validate(document), {}, is_hidden=True)
        assert said.text_proxy_disabled is is_kept
        assert said.text_backend_inprocess is is_kept
        assert said.anti_debug_enabled is is_kept


def test_nothing_is_claimed_that_is_not_so() -> None:
    said = privacy(SETTINGS, {"LD_PRELOAD": "x"}, is_hidden=False)
    assert not said.anti_debug_enabled
    assert not said.text_backend_inprocess
    assert not said.env_scrubbed
    assert privacy(SETTINGS, {"PATH": "/bin"}, is_hidden=True).env_scrubbed
