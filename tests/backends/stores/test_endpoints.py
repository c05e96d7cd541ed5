"""Which endpoint wins, told case by case."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.stores.endpoints import (
    Endpoint,
    Origin,
    Profile,
    bucket_url,
    choose,
    origin,
    profile_of,
)
from poolhand.config.errors import ConfigInvalid
from poolhand.config.settings import S3

EVERY = {"AWS_ENDPOINT_URL_S3": "http://service:2", "AWS_ENDPOINT_URL": "http://general:3"}
PROFILE = Profile(endpoint="http://profile:4", region="profile-region")


@pytest.mark.parametrize(
    ("config", "environ", "profile", "url", "source"),
    [
        (S3(endpoint="http://ours:1"), EVERY, PROFILE, "http://ours:1", "config"),
        (S3(), EVERY, PROFILE, "http://service:2", "AWS_ENDPOINT_URL_S3"),
        (
            S3(),
            EVERY | {"AWS_ENDPOINT_URL_S3": ""},
            PROFILE,
            "http://general:3",
            "AWS_ENDPOINT_URL",
        ),
        (S3(endpoint=" "), {"AWS_ENDPOINT_URL": "  "}, PROFILE, "http://profile:4", "profile"),
        (S3(), {}, Profile(), None, "aws"),
    ],
)
def test_the_first_that_speaks_wins(
    config: S3, environ: Mapping[str, str], profile: Profile, url: str | None, source: str
) -> None:
    chosen = choose(config, environ, "models", profile=profile)
    assert (chosen.url, chosen.source) == (url, source)


@pytest.mark.parametrize("word", ["true", "True", " TRUE "])
def test_ignoring_configured_endpoints_silences_all_but_our_own(word: str) -> None:
    environ = EVERY | {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": word}
    assert choose(S3(), environ, "models", profile=PROFILE).source == "aws"
    assert choose(S3(endpoint="http://ours:1"), environ, "models").source == "config"


@pytest.mark.parametrize("word", ["", "false", "1", "yes"])
def test_only_the_word_true_ignores_them(word: str) -> None:
    environ = EVERY | {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": word}
    assert choose(S3(), environ, "models").source == "AWS_ENDPOINT_URL_S3"


def test_the_reason_names_the_winner_and_the_beaten() -> None:
    chosen = choose(S3(endpoint="http://ours:1"), EVERY, "models")
    assert chosen.why == (
        "http://ours:1 comes from stores.s3.endpoint, "
        "which wins over AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL"
    )
    assert "AWS's own in us-east-1" in choose(S3(), {}, "models").why


@pytest.mark.parametrize(
    ("config", "environ", "profile", "region"),
    [
        (S3(region="a"), {"AWS_REGION": "b", "AWS_DEFAULT_REGION": "c"}, PROFILE, "a"),
        (S3(), {"AWS_REGION": "b", "AWS_DEFAULT_REGION": "c"}, PROFILE, "b"),
        (S3(), {"AWS_REGION": " ", "AWS_DEFAULT_REGION": "c"}, PROFILE, "c"),
        (S3(), {}, PROFILE, "profile-region"),
        (S3(endpoint="https://s3.eu-west-1.amazonaws.com"), {}, Profile(), "eu-west-1"),
        (S3(endpoint="http://elsewhere"), {}, Profile(), "us-east-1"),
    ],
)
def test_the_region(config: S3, environ: Mapping[str, str], profile: Profile, region: str) -> None:
    assert choose(config, environ, "models", profile=profile).region == region


@pytest.mark.parametrize(
    ("endpoint", "is_aws"),
    [
        (None, True),
        ("https://s3.amazonaws.com", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("https://s3.dualstack.us-west-2.amazonaws.com", True),
        ("https://bucket.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com", True),
        ("https://s3-fips.us-gov-west-1.amazonaws.com", True),
        ("https://amazonaws.com.evil.example", False),
        ("https://evil-s3.amazonaws.com.example", False),
        ("https://s3.eu-west-1.amazonaws.com.example", False),
        ("http://127.0.0.1:9000", False),
        ("https://account.r2.cloudflarestorage.com", False),
    ],
)
def test_only_aws_itself_is_aws(endpoint: str | None, is_aws: bool) -> None:  # noqa: FBT001
    assert choose(S3(endpoint=endpoint), {}, "models").is_aws is is_aws


@pytest.mark.parametrize(
    ("endpoint", "asked", "bucket", "addressing"),
    [
        (None, "auto", "models", "virtual"),
        (None, "auto", "my.models", "path"),
        (None, "auto", "Models_1", "path"),
        (None, "path", "models", "path"),
        ("http://store.example", "auto", "models", "path"),
        ("http://store.example", "virtual", "models", "virtual"),
        ("http://store.example", "virtual", "my.models", "path"),
        ("http://127.0.0.1:9000", "path", "models", "path"),
    ],
)
def test_the_addressing(endpoint: str | None, asked: str, bucket: str, addressing: str) -> None:
    config = S3.model_validate({"endpoint": endpoint, "addressing": asked})
    assert choose(config, {}, bucket).addressing == addressing


@pytest.mark.parametrize(
    "url",
    [
        "store:9000",
        "ftp://store",
        "http://",
        "http://:9000",
        "http://store:port",
        "http://store:99999",
        "http://store:0",
        "http://store?x=1",
        "http://store#x",
        "http://st ore",
        "http://[::1",
    ],
)
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_a_bad_url_is_refused_by_the_name_of_its_setting(url: str, name: str) -> None:
    with pytest.raises(ConfigInvalid, match=f"^{name}: cannot use this S3 endpoint"):
        choose(S3(), {name: url}, "models")
    with pytest.raises(ConfigInvalid, match=r"^stores\.s3\.endpoint: "):
        choose(S3(endpoint=url), {}, "models")


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        choose(S3(endpoint="http://user:hunter2@store"), {}, "models")
    assert "hunter2" not in f"{caught.value} {caught.value!r}"


def test_virtual_addressing_of_an_address_is_refused() -> None:
    for url in ("http://127.0.0.1:9000", "http://[::1]:9000"):
        with pytest.raises(ConfigInvalid, match="needs a host name"):
            choose(S3(endpoint=url, addressing="virtual"), {}, "models")


@pytest.mark.parametrize("region", ["eu west", "a/b", "x\ny", "-a"])
def test_a_region_that_cannot_be_signed_is_refused(region: str) -> None:
    with pytest.raises(ConfigInvalid, match="no name of a region"):
        choose(S3(region=region), {}, "models")


def test_a_profile_prefers_its_services_section() -> None:
    full = {"services": {"mine": {"s3": {"endpoint_url": "http://service"}}}}
    scoped = {"services": "mine", "endpoint_url": "http://general", "region": "eu-west-1"}
    assert profile_of(full, scoped) == Profile("http://service", "eu-west-1")
    assert profile_of({}, scoped) == Profile("http://general", "eu-west-1")
    assert profile_of(full, scoped | {"ignore_configured_endpoint_urls": "true"}) == Profile(
        region="eu-west-1"
    )
    assert profile_of({}, {}) == Profile()


@pytest.mark.parametrize(
    ("config", "bucket", "url"),
    [
        (S3(region="eu-west-1"), "models", "https://models.s3.eu-west-1.amazonaws.com"),
        (S3(region="cn-north-1"), "models", "https://models.s3.cn-north-1.amazonaws.com.cn"),
        (S3(), "my.models", "https://s3.us-east-1.amazonaws.com/my.models"),
        (S3(endpoint="http://[::1]:9000/"), "models", "http://[::1]:9000/models"),
        (S3(endpoint="https://h/s3/"), "models", "https://h/s3/models"),
        (S3(endpoint="https://h/s3", addressing="virtual"), "models", "https://models.h/s3"),
    ],
)
def test_the_url_of_a_bucket(config: S3, bucket: str, url: str) -> None:
    assert bucket_url(choose(config, {}, bucket), bucket) == url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/b?list-type=2", Origin("h", 80, is_tls=False, authority="h", prefix="/b")),
        ("https://h:443/", Origin("h", 443, is_tls=True, authority="h", prefix="")),
        ("https://h:80/b", Origin("h", 80, is_tls=True, authority="h:80", prefix="/b")),
        ("http://[::1]:9/b/", Origin("::1", 9, is_tls=False, authority="[::1]:9", prefix="/b")),
    ],
)
def test_an_origin(url: str, expected: Origin) -> None:
    assert origin(url) == expected


URLS = st.sampled_from(["", " ", "http://a:1", "https://b.example/x", "junk", "http://u:p@h"])
VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")


@given(
    endpoint=st.none() | URLS | st.text(max_size=20),
    environ=st.dictionaries(st.sampled_from(VARIABLES), URLS | st.text(max_size=20)),
    bucket=st.from_regex(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,30}"), fullmatch=True),
    addressing=st.sampled_from(["path", "virtual", "auto"]),
)
def test_laws(
    endpoint: str | None, environ: Mapping[str, str], bucket: str, addressing: str
) -> None:
    config = S3.model_validate({"endpoint": endpoint, "addressing": addressing})
    try:
        chosen = choose(config, environ, bucket)
    except ConfigInvalid:
        return
    assert isinstance(chosen, Endpoint)
    parts = urlsplit(bucket_url(chosen, bucket))
    assert parts.scheme in {"http", "https"}
    assert parts.hostname
    assert "@" not in parts.netloc
    if endpoint and endpoint.strip():
        assert chosen.source == "config", "nothing wins over our own configuration"
    assert (bucket in parts.path) == (chosen.addressing == "path")
