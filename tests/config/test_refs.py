"""References: what they mean, how they are spelled, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config.errors import RefInvalid
from poolhand.config.refs import SCHEMES, ModelRef


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://models/tiny-a", ModelRef("s3", "models", "tiny-a")),
        ("  S3://models/Org/Tiny/ \n", ModelRef("s3", "models", "Org/Tiny")),
        ("s3://models", ModelRef("s3", "models", "")),
        ("gs://bucket/a/b", ModelRef("gs", "bucket", "a/b")),
        ("hf://org/name", ModelRef("hf", "org", "name")),
        ("hf://org/name@v1", ModelRef("hf", "org", "name", "v1")),
        ("ngc://org/team/name:1.0", ModelRef("ngc", "org", "team/name", "1.0")),
        ("s3://b1/key@with:marks", ModelRef("s3", "b1", "key@with:marks")),
        ("FILE:///srv/models/a/", ModelRef("file", "", "/srv/models/a")),
        ("file://localhost/srv/a%20b", ModelRef("file", "", "/srv/a b")),
    ],
)
def test_a_reference(text: str, expected: ModelRef) -> None:
    assert ModelRef.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no scheme"),
        ("models/tiny", "no scheme"),
        ("/srv/models", "no scheme"),
        ("ftp://a/b", "unknown scheme; known are s3, gs, ngc, hf, file"),
        ("s3://", "no valid bucket"),
        ("s3:///key", "no valid bucket"),
        ("s3://b_!/key", "no valid bucket"),
        ("hf://org", "no model name"),
        ("ngc://org/", "no model name"),
        ("file://srv/models", "absolute path"),
        ("file:///a/../b", "segments are not allowed"),
        ("file:///a/%2e%2e/b", "segments are not allowed"),
        ("s3://bucket/a/../b", "segments are not allowed"),
        ("s3://bucket/a//b", "segments are not allowed"),
        ("s3://bucket/./b", "segments are not allowed"),
        ("s3://bucket/a?b", "not allowed"),
        ("s3://bucket/a#b", "not allowed"),
        ("s3://bucket/a\nb", "not allowed"),
    ],
)
def test_what_is_no_reference(text: str, reason: str) -> None:
    with pytest.raises(RefInvalid) as caught:
        ModelRef.parse(text)
    assert reason in caught.value.reason
    assert caught.value.ref == text


segments = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True)


@given(
    scheme=st.sampled_from(SCHEMES), parts=st.lists(segments, min_size=1, max_size=4), mark=segments
)
def test_law_what_is_spelled_is_read_again(scheme: str, parts: list[str], mark: str) -> None:
    tail = {"hf": f"@{mark}", "ngc": f":{mark}"}.get(scheme, "")
    head = "" if scheme == "file" else "bucket"
    text = f"{scheme}://{head}/{'/'.join(parts)}{tail}"
    ref = ModelRef.parse(text)
    assert str(ref) == text
    if not tail:
        assert ModelRef.parse(f" {scheme.upper()}{text.removeprefix(scheme)}/ ") == ref
    assert ref.revision == (mark if tail else "")


@given(st.text(max_size=30))
def test_law_a_path_never_leaves_its_place(rest: str) -> None:
    for scheme in SCHEMES:
        try:
            ref = ModelRef.parse(f"{scheme}://bucket/{rest}")
        except RefInvalid:
            continue
        assert not {"..", "."} & set(ref.path.split("/"))
