"""Settings: one value, strict, frozen, with one default for each key."""

import pytest

from poolhand.config.rules import Invalid
from poolhand.config.settings import Coordinator, ModelEntry, Section, Settings


def line(url: str, **more: object) -> Coordinator:
    return Coordinator.model_validate({"url": url, **more})


@pytest.mark.parametrize(
    ("url", "socket_url"),
    [
        ("ws://127.0.0.1:8080/ws/provider", "ws://127.0.0.1:8080/ws/provider"),
        ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/ws/provider"),
        ("http://localhost:8080/", "ws://localhost:8080/ws/provider"),
        (" https://c.example ", "wss://c.example/ws/provider"),
        ("wss://c.example/other", "wss://c.example/other"),
        ("ws://[::1]:9", "ws://[::1]:9/ws/provider"),
    ],
)
def test_the_url_that_is_dialled(url: str, socket_url: str) -> None:
    assert line(url).socket_url == socket_url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "c.example",
        "ftp://c.example",
        "wss://",
        "wss://user:word@c.example",
        "wss://c.example?x=1",
        "wss://c.example#x",
        "wss://c.example:port",
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(Invalid):
        line(url)


@pytest.mark.parametrize("url", ["ws://c.example", "http://10.0.0.1", "ws://localhost.evil"])
def test_plain_text_leaves_this_machine_only_when_told_to(url: str) -> None:
    with pytest.raises(Invalid, match="allow_plaintext_beyond_loopback"):
        line(url)
    assert not line(url, allow_plaintext_beyond_loopback=True).is_encrypted


def test_what_stays_on_this_machine() -> None:
    for url in ("ws://127.0.0.1", "ws://127.9.9.9", "ws://[::1]", "ws://localhost"):
        assert line(url).is_loopback
    assert not line("wss://c.example").is_loopback


def test_the_token_has_one_source() -> None:
    assert line("ws://127.0.0.1", token_env="T")  # noqa: S106  # a name
    with pytest.raises(Invalid, match="name only one of"):
        line("ws://127.0.0.1", token_env="T", token_file="t")  # noqa: S106  # names


def test_nothing_is_read_as_something_else() -> None:
    for wrong in (
        {"slots": {"max_model_slots": "1"}},
        {"slots": {"max_model_slots": 1.0}},
        {"pools": {"allowed": "a"}},
        {"pools": {"allowed": [1]}},
        {"unknown": 1},
        {"coordinator": {"url": "ws://127.0.0.1", "private_only": 1}},
    ):
        with pytest.raises(Invalid):
            Settings.model_validate({"coordinator": {"url": "ws://127.0.0.1"}} | wrong)


def test_whole_numbers_are_good_seconds() -> None:
    assert line("ws://127.0.0.1", heartbeat_interval_s=5).heartbeat_interval_s == 5.0


def test_a_model_is_found_by_its_id() -> None:
    entry = {"id": "org/a", "aliases": ["a"], "ref": " S3://bucket/a "}
    chosen = Settings.model_validate({"coordinator": {"url": "ws://127.0.0.1"}, "models": [entry]})
    found = chosen.entry("org/a")
    assert found is not None
    assert found.ref == "s3://bucket/a", "spelled canonically"
    assert found.place.container == "bucket"
    assert chosen.entry("a") is None


def test_a_bad_reference_is_one_problem_among_others() -> None:
    with pytest.raises(Invalid) as caught:
        ModelEntry.model_validate({"id": "", "ref": "nope"})
    assert {fault.at for fault in caught.value.faults} == {("id",), ("ref",)}


def test_two_builds_cannot_have_one_id() -> None:
    entry = {"id": "org/a", "ref": "file:///a"}
    with pytest.raises(Invalid, match=r"two .* have the id 'org/a'"):
        Settings.model_validate({"coordinator": {"url": "ws://127.0.0.1"}, "models": [entry] * 2})


def test_settings_are_frozen_and_every_table_has_its_defaults() -> None:
    chosen = Settings.model_validate({"coordinator": {"url": "ws://127.0.0.1"}})
    with pytest.raises(AttributeError, match="stays as it was made"):
        chosen.slots.max_model_slots = 2  # pyright: ignore[reportAttributeAccessIssue]  # that is the point
    for name in Settings.model_fields:
        value = getattr(chosen, name)
        if name not in {"coordinator", "models"}:
            assert isinstance(value, Section)
            assert value == type(value)(), "one default in one place"
