"""The words of an S3 server, read back with a real XML parser."""

from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poolhand.agent.dev.s3_answers import (
    ERRORS,
    NAMESPACE,
    ListedObject,
    Listing,
    S3Problem,
    buckets_xml,
    location_xml,
    usual_code,
)

# what XML 1.0 can say at all
names = st.text(
    st.characters(
        min_codepoint=9, exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"
    )
    | st.sampled_from("\t\n\r")
)


def texts(document: bytes, name: str) -> list[str]:
    root = ET.fromstring(document)  # noqa: S314 - our own document
    return [found.text or "" for found in root.iter(f"{{{NAMESPACE}}}{name}")]


def listing(key: str, *, is_url_encoded: bool, more: str = "") -> Listing:
    return Listing(
        request={"Name": "models", "Prefix": key},
        objects=[ListedObject(key, 7, "abc", "2026-01-02T03:04:05.000Z")],
        prefixes=[key],
        next_token=more,
        is_url_encoded=is_url_encoded,
    )


@settings(max_examples=60)
@given(names)
@example("a\rb\tc\nd")
def test_a_key_comes_back_as_it_was(key: str) -> None:
    assert texts(listing(key, is_url_encoded=False).xml(), "Key") == [key]
    encoded = listing(key, is_url_encoded=True).xml()
    assert [unquote(text) for text in texts(encoded, "Key")] == [key]
    assert {unquote(text) for text in texts(encoded, "Prefix")} == {key}
    assert encoded.isascii()


def test_a_listing_says_what_clients_look_for() -> None:
    last = listing("a/b c", is_url_encoded=True).xml()
    assert texts(last, "Key") == ["a/b%20c"]
    assert texts(last, "ETag") == ['"abc"']
    assert texts(last, "Size") == ["7"]
    assert texts(last, "KeyCount") == ["2"]
    assert texts(last, "IsTruncated") == ["false"]
    assert texts(last, "NextContinuationToken") == []
    first = listing("a", is_url_encoded=False, more="t==").xml()
    assert texts(first, "IsTruncated") == ["true"]
    assert texts(first, "NextContinuationToken") == ["t=="]
    assert texts(first, "EncodingType") == []


@pytest.mark.parametrize("code", list(ERRORS))
def test_every_error_has_a_status_and_a_sentence(code: str) -> None:
    problem = S3Problem(code, facts={"Key": "<&>"})
    root = ET.fromstring(problem.xml(resource="/a&b", request_id="R1"))  # noqa: S314 - our own
    told = {child.tag: child.text for child in root}
    assert 400 <= problem.status < 600
    assert told["Code"] == code
    assert told["Message"] == ERRORS[code][1]
    assert (told["Key"], told["Resource"], told["RequestId"]) == ("<&>", "/a&b", "R1")


def test_a_code_from_outside_is_told_as_it_is() -> None:
    problem = S3Problem("Odd")
    assert problem.status == 500
    assert b"<Code>Odd</Code><Message>Odd</Message>" in problem.xml(resource="", request_id="")


def test_a_status_alone_finds_its_usual_code() -> None:
    assert {status: usual_code(status) for status in (400, 403, 404, 412, 416, 429, 500, 503)} == {
        400: "InvalidRequest",
        403: "AccessDenied",
        404: "NoSuchKey",
        412: "PreconditionFailed",
        416: "InvalidRange",
        429: "TooManyRequests",
        500: "InternalError",
        503: "SlowDown",
    }
    assert usual_code(599) == "InternalError"


def test_the_first_region_is_told_by_silence() -> None:
    assert b"></LocationConstraint>" in location_xml("us-east-1")
    assert b">eu-test-1</LocationConstraint>" in location_xml("eu-test-1")
    assert texts(buckets_xml(["a", "b"]), "Name") == ["a", "b"]
