"""Signatures: whatever botocore signs is accepted, and nothing that was changed since."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.agent.dev.s3_answers import S3Problem
from poolhand.agent.dev.sigv4 import Credentials, SignedRequest, parse_target, verify

KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
MALFORMED = "AuthorizationHeaderMalformed"
SKEWED = "RequestTimeTooSkewed"
RIGHT, WRONG = "a token", "another"
HOST = "store.localhost:9000"


def now_s() -> float:
    return datetime.now(UTC).timestamp()


def signed(
    path: str,
    query: list[tuple[str, str]],
    *,
    method: str = "GET",
    token: str | None = None,
    presign_s: int | None = None,
    signs_payload: bool = True,
) -> SignedRequest:
    """A request as botocore signs it and as it would arrive."""
    text = "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in query)
    url = f"http://{HOST}{quote(path, safe='/-_.~')}" + (f"?{text}" if text else "")
    made: Any = AWSRequest(method=method, url=url, headers={"Host": HOST})
    made.context["client_config"] = Config(s3={"payload_signing_enabled": signs_payload})
    credentials: Any = BotoCredentials(KEYS.access_key, KEYS.secret_key, token)
    signer: Any = (
        S3SigV4Auth(credentials, "s3", "eu-test-1")
        if presign_s is None
        else S3SigV4QueryAuth(credentials, "s3", "eu-test-1", expires=presign_s)
    )
    signer.add_auth(made)
    split = urlsplit(str(made.url))
    got_path, got_query = parse_target(f"{split.path}?{split.query}")
    arrived = [(str(name).lower(), str(value)) for name, value in made.headers.items()]
    return SignedRequest(method, got_path, got_query, arrived)


letters = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
queries = st.lists(st.tuples(letters.filter(bool), letters), max_size=4, unique_by=lambda q: q[0])
"""botocore's own presigner keeps one value a name."""


@settings(max_examples=60, deadline=None)
@given(path=letters, query=queries, token=st.none() | st.just("a/token=="))
def test_what_botocore_signs_is_accepted(
    path: str, query: list[tuple[str, str]], token: str | None
) -> None:
    request = signed(f"/bucket/{path}", query, token=token)
    assert verify(request, KEYS, now_s=now_s()) is None


@settings(max_examples=60, deadline=None)
@given(path=letters, query=queries, token=st.none() | st.just("a/token=="))
def test_what_botocore_presigns_is_accepted(
    path: str, query: list[tuple[str, str]], token: str | None
) -> None:
    request = signed(f"/bucket/{path}", query, token=token, presign_s=60)
    assert verify(request, KEYS, now_s=now_s()) is None


def with_method(request: SignedRequest) -> SignedRequest:
    return replace(request, method="HEAD")


def with_path(request: SignedRequest) -> SignedRequest:
    return replace(request, path=request.path + "x")


def with_query(request: SignedRequest) -> SignedRequest:
    return replace(request, query=[*request.query, ("more", "")])


def with_host(request: SignedRequest) -> SignedRequest:
    headers = [(name, "elsewhere" if name == "host" else value) for name, value in request.headers]
    return replace(request, headers=headers)


@settings(max_examples=60, deadline=None)
@given(
    path=letters,
    query=queries,
    presign_s=st.none() | st.just(60),
    change=st.sampled_from([with_method, with_path, with_query, with_host]),
)
def test_a_request_changed_after_signing_is_refused(
    path: str,
    query: list[tuple[str, str]],
    presign_s: int | None,
    change: Callable[[SignedRequest], SignedRequest],
) -> None:
    request = change(signed(f"/bucket/{path}", query, presign_s=presign_s))
    problem = verify(request, KEYS, now_s=now_s())
    assert problem is not None
    assert problem.code == "SignatureDoesNotMatch"
    assert problem.facts["StringToSign"].startswith("AWS4-HMAC-SHA256\n")


def code(request: SignedRequest, keys: Credentials = KEYS, *, later_s: float = 0.0) -> str:
    problem = verify(request, keys, now_s=now_s() + later_s)
    return "granted" if problem is None else problem.code


def with_header(request: SignedRequest, name: str, value: str | None) -> SignedRequest:
    kept = [(own, text) for own, text in request.headers if own != name]
    return replace(request, headers=kept if value is None else [*kept, (name, value)])


def test_the_wrong_secret_and_the_wrong_name_are_told_apart() -> None:
    request = signed("/b/k", [])
    assert code(request, Credentials(KEYS.access_key, "other")) == "SignatureDoesNotMatch"
    assert code(request, Credentials("other", KEYS.secret_key)) == "InvalidAccessKeyId"


def test_an_unsigned_request_is_denied() -> None:
    bare = SignedRequest("GET", "/b/k", [], [("host", HOST)])
    assert code(bare) == "AccessDenied"


@pytest.mark.parametrize(
    ("later_s", "outcome"),
    [
        (-920, "RequestTimeTooSkewed"),
        (-880, "granted"),
        (880, "granted"),
        (920, "RequestTimeTooSkewed"),
    ],
)
def test_a_clock_may_be_wrong_by_a_quarter_of_an_hour(later_s: float, outcome: str) -> None:
    assert code(signed("/b/k", []), later_s=later_s) == outcome


@pytest.mark.parametrize(
    ("later_s", "outcome"),
    [(0, "granted"), (50, "granted"), (70, "AccessDenied"), (-1000, "AccessDenied")],
)
def test_a_presigned_request_has_its_time(later_s: float, outcome: str) -> None:
    assert code(signed("/b/k", [], presign_s=60), later_s=later_s) == outcome


def test_a_week_is_the_longest_promise() -> None:
    assert code(signed("/b/k", [], presign_s=604800)) == "granted"
    assert code(signed("/b/k", [], presign_s=604801)) == "AuthorizationQueryParametersError"


def test_payload_hashes_are_the_empty_one_or_none() -> None:
    request = signed("/b/k", [], signs_payload=False)
    assert request.header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD"
    assert code(request) == "granted"
    wrong = with_header(request, "x-amz-content-sha256", "0" * 64)
    assert code(wrong) == "XAmzContentSHA256Mismatch"
    assert code(with_header(request, "x-amz-content-sha256", None)) == "InvalidRequest"


def test_a_session_token_is_compared_where_one_is_expected() -> None:
    keys = replace(KEYS, session_token=RIGHT)
    for presign_s in (None, 60):
        assert code(signed("/b/k", [], token=RIGHT, presign_s=presign_s), keys) == "granted"
        assert code(signed("/b/k", [], token=WRONG, presign_s=presign_s), keys) == "InvalidToken"
        assert code(signed("/b/k", [], presign_s=presign_s), keys) == "InvalidToken"


def test_no_amazon_header_may_be_added_unsigned() -> None:
    request = with_header(signed("/b/k", []), "x-amz-security-token", "smuggled")
    assert code(request) == "AccessDenied"


@pytest.mark.parametrize(
    ("name", "value", "outcome"),
    [
        ("authorization", "Basic abc", MALFORMED),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=a, Signature=b",
            MALFORMED,
        ),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=b",
            MALFORMED,
        ),
        ("x-amz-date", "yesterday", MALFORMED),
        ("x-amz-date", "20200101T000000Z", MALFORMED),
    ],
)
def test_what_cannot_be_read_is_malformed(name: str, value: str, outcome: str) -> None:
    assert code(with_header(signed("/b/k", []), name, value)) == outcome


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80), st.text(max_size=20), queries)
def test_nothing_makes_the_check_raise(
    authorization: str, stamp: str, query: list[tuple[str, str]]
) -> None:
    headers = [("authorization", f"AWS4-HMAC-SHA256 {authorization}"), ("x-amz-date", stamp)]
    request = SignedRequest("GET", "/", query, headers)
    assert isinstance(verify(request, KEYS, now_s=0.0), S3Problem)
    asked = [("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Expires", stamp), *query]
    assert isinstance(verify(replace(request, query=asked), KEYS, now_s=0.0), S3Problem)


def test_neither_secret_nor_headers_are_in_a_repr() -> None:
    assert KEYS.secret_key not in repr(KEYS)
    assert "Signature=" not in repr(signed("/b/k", []))


def test_a_target_is_decoded_once() -> None:
    path, query = parse_target("/b/a%20b%2Fc+d?prefix=x+y%2B&flag&empty=")
    assert path == "/b/a b/c+d"
    assert query == [("prefix", "x y+"), ("flag", ""), ("empty", "")]
    with pytest.raises(UnicodeDecodeError):
        parse_target("/b/%ff")
