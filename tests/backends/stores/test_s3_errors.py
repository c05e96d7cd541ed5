"""What each answer of a store means, read from the table."""

import pytest
from botocore import exceptions as boto  # pyright: ignore[reportMissingTypeStubs]
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.stores.errors import (
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    WeightsChanged,
    WeightsError,
)
from poolhand.backends.stores.s3_errors import (
    CHANGED,
    DENIED,
    MISSING,
    code_and_status,
    of_answer,
    of_failure,
)

STORE = "http://127.0.0.1:9000/models"
WHY = "no credentials were found"


def told(code: str, status: int, *, file: str = "", is_unsigned: bool = False) -> WeightsError:
    return of_answer(
        code,
        status,
        store=STORE,
        model="m",
        file=file,
        is_unsigned=is_unsigned,
        unsigned_why=WHY,
    )


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("NoSuchBucket", 404, ModelMissing),
        ("NoSuchKey", 404, ModelMissing),
        ("InvalidBucketName", 400, ModelMissing),
        ("404", 404, ModelMissing),
        ("AccessDenied", 403, StoreDenied),
        ("InvalidAccessKeyId", 403, StoreDenied),
        ("SignatureDoesNotMatch", 403, StoreDenied),
        ("ExpiredToken", 400, StoreDenied),
        ("RequestTimeTooSkewed", 403, StoreDenied),
        ("Forbidden", 403, StoreDenied),
        ("", 401, StoreDenied),
        ("SlowDown", 503, StoreUnreachable),
        ("SlowDown", 200, StoreUnreachable),
        ("InternalError", 500, StoreUnreachable),
        ("", 429, StoreUnreachable),
        ("PermanentRedirect", 301, StoreUnreachable),
        ("InvalidRequest", 400, StoreUnreachable),
        ("PreconditionFailed", 412, WeightsChanged),
        ("416", 416, WeightsChanged),
    ],
)
def test_an_answer(code: str, status: int, error: type[WeightsError]) -> None:
    assert type(told(code, status)) is error


def test_the_lists_do_not_contradict_each_other() -> None:
    assert not MISSING.keys() & DENIED.keys()
    assert not CHANGED & (MISSING.keys() | DENIED.keys())


@pytest.mark.parametrize("code", sorted(DENIED))
def test_a_refusal_says_why_unless_nobody_asked_as_anybody(code: str) -> None:
    assert DENIED[code] in str(told(code, 403))
    assert WHY in str(told(code, 403, is_unsigned=True))


def test_an_object_that_was_listed_and_is_gone_has_changed() -> None:
    assert type(told("NoSuchKey", 404, file="a.json")) is WeightsChanged
    assert type(told("", 404, file="a.json")) is WeightsChanged
    assert type(told("NoSuchBucket", 404, file="a.json")) is ModelMissing


CODES = st.sampled_from([*MISSING, *DENIED, *CHANGED, "SlowDown", "Odd"]) | st.text(max_size=80)


@given(code=CODES, status=st.integers(0, 999), file=st.sampled_from(["", "a.json"]))
def test_every_answer_means_something_and_nothing_raw_travels_on(
    code: str, status: int, file: str
) -> None:
    text = str(told(code, status, file=file))
    assert text.isprintable()
    assert len(text) < 250


def test_code_and_status_of_botocores_error() -> None:
    answer = {"Error": {"Code": "NoSuchKey"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
    assert code_and_status(boto.ClientError(answer, "GetObject")) == ("NoSuchKey", 404)
    nothing: dict[str, object] = {}
    assert code_and_status(boto.ClientError(nothing, "GetObject")) == ("", 0)


URL = "http://127.0.0.1:9000/models?X-Amz-Signature=secret"


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (boto.NoCredentialsError(), StoreDenied, "credentials are configured but cannot be had"),
        (boto.ProfileNotFound(profile="x"), StoreDenied, "ProfileNotFound"),
        (boto.UnauthorizedSSOTokenError(), StoreDenied, "UnauthorizedSSOTokenError"),
        (boto.ConnectTimeoutError(endpoint_url=URL), StoreUnreachable, "no answer in time"),
        (boto.ReadTimeoutError(endpoint_url=URL), StoreUnreachable, "no answer in time"),
        (TimeoutError(), StoreUnreachable, "no answer in time"),
        (boto.SSLError(endpoint_url=URL, error="x"), StoreUnreachable, "TLS certificate"),
        (
            boto.EndpointConnectionError(endpoint_url=URL, error=OSError(111, "refused")),
            StoreUnreachable,
            "no connection: refused",
        ),
        (ConnectionResetError(104, "reset by peer"), StoreUnreachable, "reset by peer"),
        (boto.ConnectionClosedError(endpoint_url=URL), StoreUnreachable, "no sensible answer"),
    ],
)
def test_a_failure_names_the_store_and_no_secret(
    error: Exception, kind: type[WeightsError], reason: str
) -> None:
    made = of_failure(error, store=STORE)
    assert type(made) is kind
    assert reason in str(made)
    assert STORE in str(made)
    assert "secret" not in str(made)
