"""The port: only with the key, only under its own name, and never for a page of others."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from poolhand.agent.control.access import KEY_NAME, guard, key_of, port
from poolhand.agent.control.api import Api
from poolhand.agent.control.asked import Answer, Asked, NotAnswered, Routes
from poolhand.config.errors import SecretUnusable
from poolhand.config.paths import StateUnusable
from poolhand.config.secrets import Secret

KEY = "k" * 40
GOOD = {"host": "127.0.0.1:9100", "authorization": f"Bearer {KEY}"}


def verdict(method: str = "GET", **headers: str) -> int:
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {name: value for name, value in {**GOOD, **changed}.items() if value}
    try:
        guard(Secret(KEY), 9100)(Asked(method, "/v1/status", headers=given))
    except NotAnswered as error:
        return error.answer.status
    return 200


def test_whoever_has_the_key_is_answered() -> None:
    assert verdict() == 200
    assert verdict(host="localhost:9100") == 200
    assert verdict(host="LOCALHOST:9100", authorization=f"bearer {KEY}") == 200
    assert verdict(origin="http://127.0.0.1:9100") == 200
    assert verdict("POST", content_type="application/json; charset=utf-8") == 200


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"authorization": ""}, 401),
        ("GET", {"authorization": "Bearer "}, 401),
        ("GET", {"authorization": f"Bearer {KEY}x"}, 401),
        ("GET", {"authorization": f"Bearer {KEY[:-1]}"}, 401),
        ("GET", {"authorization": f"Basic {KEY}"}, 401),
        ("GET", {"authorization": KEY}, 401),
        ("GET", {"host": ""}, 421),
        ("GET", {"host": "127.0.0.1"}, 421),
        ("GET", {"host": "127.0.0.1:9101"}, 421),
        ("GET", {"host": "rebound.example:9100"}, 421),
        ("GET", {"host": "localhost:9100.evil.example"}, 421),
        ("GET", {"origin": "https://evil.example"}, 403),
        ("GET", {"origin": "null"}, 403),
        ("GET", {"origin": "http://localhost:3000"}, 403),
        ("POST", {"content_type": "text/plain"}, 415),
        ("POST", {"content_type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_everybody_else_is_not(method: str, headers: dict[str, str], status: int) -> None:
    assert verdict(method, **headers) == status


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = key_of(None, tmp_path)
    assert key_of(None, tmp_path) == first
    assert (tmp_path / KEY_NAME).stat().st_mode & 0o777 == 0o600
    assert len(first.reveal()) >= 32
    other = tmp_path / "other"
    other.mkdir()
    assert key_of(None, other) != first


@pytest.mark.parametrize("text", ["", "short", "with blanks in the key", "ä" * 40, "\n"])
def test_what_is_no_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SecretUnusable, match="16 plain characters"):
        key_of(str(path), tmp_path)


def test_a_key_that_others_may_read_is_none(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o644)
    with pytest.raises(SecretUnusable, match="chmod 600") as caught:
        key_of(str(path), tmp_path)
    assert KEY not in str(caught.value)
    with pytest.raises(SecretUnusable, match="No such file"):
        key_of(str(tmp_path / "none"), tmp_path)
    with pytest.raises(SecretUnusable, match="no file of this user"):
        key_of(str(tmp_path), tmp_path)


async def test_the_port_answers_on_loopback_and_only_with_the_key() -> None:
    routes: Routes = {"/v1/status": {"GET": lambda _: Answer({"serving": True})}}
    with port(0) as bound:
        number = bound.getsockname()[1]
        assert bound.getsockname()[0] == "127.0.0.1"
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            api = Api(routes, guard=guard(Secret(KEY), number))
            serving = tasks.create_task(api.serve(bound, ready.set))
            await ready.wait()
            bearer = f"Authorization: Bearer {KEY}\r\n"
            for extra, status in ((bearer, 200), ("", 401)):
                reader, writer = await asyncio.open_connection("127.0.0.1", number)
                head = f"GET /v1/status HTTP/1.1\r\nHost: localhost:{number}\r\n{extra}\r\n"
                writer.write(head.encode())
                raw = await reader.read()
                writer.close()
                assert int(raw.split()[1]) == status
                body = json.loads(raw.partition(b"\r\n\r\n")[2])
                assert ("serving" in body) == (status == 200)
            serving.cancel()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(StateUnusable, match=f"control.port {number}"), port(number):
            pass
