"""The tables under [stores]: what they take for granted, and what they refuse."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from poolhand.config import settings
from poolhand.config.problems import entry_of, table_of
from poolhand.config.settings import Settings
from poolhand.config.stores import S3, Gs, Hf, Ngc, Section, Stores, unwritten


def test_nothing_has_to_be_said() -> None:
    stores = Stores()
    assert (stores.s3, stores.gs, stores.hf, stores.ngc) == (S3(), Gs(), Hf(), Ngc())
    assert stores.trusted_hosts == (), "nobody is trusted by default"
    assert stores.gs.auth == "auto"
    assert not stores.s3.requester_pays, "nobody pays by default"


def test_settings_pass_them_on() -> None:
    assert settings.Stores is Stores
    assert settings.S3 is S3
    assert settings.Section is Section


@pytest.mark.parametrize(
    "host",
    ["store.lan", "store.lan:9000", "10.0.0.5", "10.0.0.5:80", "[::1]", "[fd00::1]:9000", "s"],
)
def test_a_trusted_host(host: str) -> None:
    assert Stores.model_validate({"trusted_hosts": [host]}).trusted_hosts == (host,)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "http://store.lan",
        "store.lan/",
        "*",
        "*.lan",
        "user@h",
        "h:port",
        "::1",
        "a b",
        "10.0.0.0/8",
    ],
)
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ValidationError):
        Stores.model_validate({"trusted_hosts": [host]})


@pytest.mark.parametrize(
    ("table", "key"),
    [("gs", "token"), ("hf", "token"), ("ngc", "key"), ("ngc", "api_key"), ("s3", "secret_key")],
)
def test_secrets_are_no_keys(table: str, key: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Stores.model_validate({table: {key: "x"}})


def every_table(section: type[Section]) -> Iterator[type[Section]]:
    yield section
    for field in section.model_fields.values():
        inner = table_of(field) or entry_of(field)
        if inner is not None:
            yield from every_table(inner)


def test_a_table_that_is_not_written_is_as_one_that_is_empty() -> None:
    needed = {"coordinator": {"url": "ws://127.0.0.1:1"}}
    whole = Settings.model_validate(needed)
    named = [name for name in Settings.model_fields if name not in {"coordinator", "models"}]
    assert whole == Settings.model_validate(needed | {name: {} for name in named})
    tables = [one for one in every_table(Settings) if all_have_defaults(one)]
    assert len(tables) > 20
    for table in tables:
        assert unwritten(table) == table.model_validate({}), table


def all_have_defaults(table: type[Section]) -> bool:
    return not any(field.is_required() for field in table.model_fields.values())


def test_only_what_is_written_gets_a_validator_of_its_own() -> None:
    program = (
        "from poolhand.config.settings import Settings, Stores, Weights\n"
        "Settings.model_validate({'coordinator': {'url': 'wss://a.example'}, 'stores': {}})\n"
        "print(Stores.__pydantic_complete__, Weights.__pydantic_complete__)\n"
        "Settings.model_validate({'coordinator': {'url': 'wss://a.example'},"
        " 'stores': {'trusted_hosts': ['a']}})\n"
        "print(Stores.__pydantic_complete__, Weights.__pydantic_complete__)\n"
    )
    ended = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.splitlines() == ["False False", "True False"]


def test_what_is_wrong_in_a_table_in_a_table_is_told_with_the_way_to_it() -> None:
    wrong = {"coordinator": {"url": "wss://a.example"}, "stores": {"s3": {"regoin": 1}}, "log": 5}
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(wrong)
    found = {one["loc"]: one["type"] for one in caught.value.errors()}
    assert found == {("stores", "s3", "regoin"): "extra_forbidden", ("log",): "model_type"}
