"""Where a server that reads weights by itself is led to: as a fetch of ours would be."""

import pytest

from poolhand.backends.engines.served_store import environment
from poolhand.config.errors import ConfigInvalid
from poolhand.config.refs import ModelRef
from poolhand.config.stores import S3

REF = ModelRef.parse("s3://models/org/a")
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "t"}
ROLE = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2/x"}
OTHERS = {"POOLHAND_TOKEN": "no", "HTTPS_PROXY": "no", "AWS_EXECUTION_ENV": "no", "PATH": "/bin"}


def test_aws_itself_is_asked_with_what_the_agent_has() -> None:
    assert environment(REF, S3(region="eu-west-1"), KEYS | ROLE | OTHERS) == KEYS | ROLE | {
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "1",
    }


@pytest.mark.parametrize(
    ("configured", "environ", "url"),
    [
        ("http://minio:9000", {"AWS_ENDPOINT_URL_S3": "http://b"}, "http://minio:9000"),
        (None, {"AWS_ENDPOINT_URL_S3": "http://b", "AWS_ENDPOINT_URL": "http://c"}, "http://b"),
        (None, {"AWS_ENDPOINT_URL": "http://c"}, "http://c"),
    ],
)
def test_the_same_endpoint_wins_as_for_a_fetch(
    configured: str | None, environ: dict[str, str], url: str
) -> None:
    told = environment(REF, S3(endpoint=configured), environ | KEYS | ROLE)
    assert told["AWS_ENDPOINT_URL"] == told["RUNAI_STREAMER_S3_ENDPOINT"] == url
    assert told["RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING"] == "0"
    assert told["AWS_EC2_METADATA_DISABLED"] == "true"
    assert told.items() >= KEYS.items()
    assert not told.keys() & ROLE.keys(), "a machine's own role is for AWS alone"
    assert not told.keys() & OTHERS.keys()


def test_the_operators_settings_come_along() -> None:
    s3 = S3(endpoint="http://c", addressing="virtual", profile="p", ca_file="/ca.pem")
    told = environment(REF, s3, {"AWS_PROFILE": "q", "AWS_CA_BUNDLE": "/other.pem"})
    assert told["AWS_PROFILE"] == "p"
    assert told["AWS_CA_BUNDLE"] == "/ca.pem"
    assert told["RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING"] == "1"
    assert environment(REF, S3(), {"AWS_CA_BUNDLE": "/b"})["AWS_CA_BUNDLE"] == "/b"


def test_who_asks_without_a_key_gets_none() -> None:
    told = environment(REF, S3(unsigned=True, profile="p"), KEYS | ROLE)
    assert not told.keys() & {*KEYS, *ROLE, "AWS_PROFILE"}


def test_an_endpoint_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigInvalid):
        environment(REF, S3(endpoint="ftp://x"), {})
