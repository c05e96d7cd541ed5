"""Our signatures against botocore's, byte for byte."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import cast

import pytest
from botocore import auth, awsrequest, credentials  # pyright: ignore[reportMissingTypeStubs]
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]

from poolhand.backends.stores.signing import Credentials, Signer, encoded_key

LASTING = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
PASSING = Credentials("ASIAEXAMPLE", "secret", "token/with+odd=characters")


def by_botocore(
    creds: Credentials,
    region: str,
    authority: str,
    target: str,
    query: str,
    more: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What botocore signs for the same request, at its own time."""
    url = f"http://{authority}{target}" + (f"?{query}" if query else "")
    request = awsrequest.AWSRequest(method="GET", url=url, headers=dict(more or {}))
    context = cast("dict[str, object]", request.context)  # pyright: ignore[reportUnknownMemberType]
    context["client_config"] = Config(s3={"payload_signing_enabled": False})
    signer = auth.S3SigV4Auth(
        credentials.Credentials(creds.access_key, creds.secret_key, creds.token), "s3", region
    )
    cast("Callable[[object], None]", signer.add_auth)(request)
    return {name.lower(): str(value) for name, value in request.headers.items()}


def stamp_s(headers: Mapping[str, str]) -> float:
    at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return at.timestamp()


@pytest.mark.parametrize("creds", [LASTING, PASSING], ids=["lasting", "token"])
@pytest.mark.parametrize(
    ("authority", "key", "query"),
    [
        ("127.0.0.1:9000", "models/org/name/config.json", ""),
        ("models.s3.eu-west-1.amazonaws.com", "a b/c+d=e&f.json", ""),
        ("store.example", "ünï/模型/😀.safetensors", ""),
        ("store.example", "~tilde'(quote)!*;@,$", ""),
        ("store.example:8443", "x", "versionId=3%2F4&list-type=2&empty="),
        ("[::1]:9000", "b/100%25.json", "b=2&a=1&a-b=3"),
    ],
)
def test_it_signs_what_botocore_signs(
    creds: Credentials, authority: str, key: str, query: str
) -> None:
    target = f"/models/{encoded_key(key)}"
    theirs = by_botocore(creds, "eu-west-1", authority, target, query)
    ours = Signer(creds, "eu-west-1").headers(
        authority=authority, target=target, query=query, now_s=stamp_s(theirs)
    )
    assert ours.pop("host") == authority
    assert ours == theirs


@pytest.mark.parametrize("creds", [LASTING, PASSING], ids=["lasting", "token"])
def test_further_headers_are_signed_in_their_place(creds: Credentials) -> None:
    more = {"x-amz-request-payer": "requester"}
    theirs = by_botocore(creds, "us-east-1", "store.example", "/b/k", "", more)
    ours = Signer(creds, "us-east-1").headers(
        authority="store.example", target="/b/k", now_s=stamp_s(theirs), more=more
    )
    assert ours.pop("host") == "store.example"
    assert ours == theirs


def test_the_key_of_yesterday_signs_nothing_today() -> None:
    signer, midnight_s = Signer(LASTING, "us-east-1"), 1_800_057_600.0
    assert midnight_s % 86400 == 0
    for now_s in (midnight_s - 1, midnight_s, midnight_s - 1):
        fresh = Signer(LASTING, "us-east-1")
        one = signer.headers(authority="h", target="/b/k", now_s=now_s)
        assert one == fresh.headers(authority="h", target="/b/k", now_s=now_s)


def test_region_key_and_time_all_count() -> None:
    def signature(region: str = "a", target: str = "/b/k", now_s: float = 0.0) -> str:
        signer = Signer(LASTING, region)
        return signer.headers(authority="h", target=target, now_s=now_s)["authorization"]

    assert len({signature(), signature("b"), signature(target="/b/l"), signature(now_s=1)}) == 4


def test_many_threads_sign_alike() -> None:
    signer = Signer(PASSING, "us-east-1")

    def sign(at: int) -> str:
        now_s = (at % 2) * 86400.0
        return signer.headers(authority="h", target="/b/k", now_s=now_s)["authorization"]

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(sign, range(500)))) == 2


def test_a_signature_is_cheap() -> None:
    signer = Signer(PASSING, "us-east-1")
    best_s = 1.0
    for _ in range(20):
        before_s = time.perf_counter()
        for _ in range(100):
            signer.headers(authority="h:9000", target="/bucket/key", now_s=1.0)
        best_s = min(best_s, (time.perf_counter() - before_s) / 100)
    assert best_s < 60e-6, "a few microseconds; ten times that is still cheaper than botocore"


def test_no_secret_is_ever_shown() -> None:
    shown = f"{PASSING!r} {PASSING} {Signer(PASSING, 'us-east-1')!r}"
    assert "secret'" not in shown
    assert "token/with" not in shown
    assert "ASIAEXAMPLE" in shown
