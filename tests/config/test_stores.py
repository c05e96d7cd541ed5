"""The tables under [stores]: what they take for granted, and what they refuse."""

import pytest

from poolhand.config import settings
from poolhand.config.rules import Invalid
from poolhand.config.section import Section
from poolhand.config.settings import Settings
from poolhand.config.stores import S3, Gs, Hf, Ngc, Stores


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
    with pytest.raises(Invalid):
        Stores.model_validate({"trusted_hosts": [host]})


@pytest.mark.parametrize(
    ("table", "key"),
    [("gs", "token"), ("hf", "token"), ("ngc", "key"), ("ngc", "api_key"), ("s3", "secret_key")],
)
def test_secrets_are_no_keys(table: str, key: str) -> None:
    with pytest.raises(Invalid, match="extra_forbidden"):
        Stores.model_validate({table: {key: "x"}})


def test_what_is_wrong_in_a_table_in_a_table_is_told_with_the_way_to_it() -> None:
    wrong = {"coordinator": {"url": "wss://a.example"}, "stores": {"s3": {"regoin": 1}}, "log": 5}
    with pytest.raises(Invalid) as caught:
        Settings.model_validate(wrong)
    found = {one.at: one.kind for one in caught.value.faults}
    assert found == {("stores", "s3", "regoin"): "extra_forbidden", ("log",): "model_type"}
