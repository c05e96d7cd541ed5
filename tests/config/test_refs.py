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
        ("hf://org/name/m-Q4.gguf", ModelRef("hf", "org", "name", file="m-Q4.gguf")),
        ("hf://org/n.gguf/q/M.GGUF", ModelRef("hf", "org", "n.gguf", file="q/M.GGUF")),
        ("hf://org/name@v1/m.gguf", ModelRef("hf", "org", "name", "v1", "m.gguf")),
        (
            "hf://org/name@refs/pr/1/q4/m.gguf",
            ModelRef("hf", "org", "name", "refs/pr/1", "q4/m.gguf"),
        ),
        ("hf://org/name@v1.gguf", ModelRef("hf", "org", "name", "v1.gguf")),
        ("ngc://org/team/name:1.0", ModelRef("ngc", "org", "team/name", "1.0")),
        ("s3://b1/key@with:marks", ModelRef("s3", "b1", "key@with:marks")),
        ("FILE:///srv/models/a/", ModelRef("file", "", "/srv/models/a")),
        ("file://localhost/srv/a%20b", ModelRef("file", "", "/srv/a b")),
        ("org/name", ModelRef("hf", "org", "name")),
        (" google-t5/t5-small@refs/pr/1 ", ModelRef("hf", "google-t5", "t5-small", "refs/pr/1")),
        ("ngc://org/name:1.0", ModelRef("ngc", "org", "name", "1.0")),
        ("ngc://org/name/1.0", ModelRef("ngc", "org", "name", "1.0")),
        ("ngc://org/team/name/1.0", ModelRef("ngc", "org", "team/name", "1.0")),
        ("ngc://nim/nvidia/big:v1", ModelRef("ngc", "nim", "nvidia/big", "v1")),
        ("ngc://org/team/models/name/1", ModelRef("ngc", "org", "team/models/name", "1")),
        (
            "HTTPS://Registry.Example:8443/v2/a%20b/manifest.json",
            ModelRef("https", "registry.example:8443", "v2/a%20b/manifest.json"),
        ),
        ("http://[::1]:9/manifest.json", ModelRef("http", "[::1]:9", "manifest.json")),
    ],
)
def test_a_reference(text: str, expected: ModelRef) -> None:
    assert ModelRef.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no scheme"),
        ("tiny", "no scheme"),
        ("a/b/c", "no scheme"),
        ("./a", "no scheme"),
        ("/srv/models", "no scheme"),
        ("ftp://a/b", "unknown scheme; known are s3, gs, ngc, hf, file, https, http"),
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
        ("s3://bucket/a?weights=none", "not allowed"),
        ("file:///a%00b", "control characters"),
        ("hf://org/name/sub", "are org/name"),
        ("hf://org/name@", "no valid revision"),
        ("hf://org/name/m.safetensors", "either/FILE.gguf"),
        ("hf://org/name/../m.gguf", "segments are not allowed"),
        ("hf://org/-name/m.gguf", "are org/name"),
        ("hf://org/name@a/../b", "segments are not allowed"),
        ("ngc://org/name", "are ngc://org/"),
        ("ngc://org/name:", "no valid version"),
        ("ngc://o1/t/k/n/x:1", "are ngc://org/"),
        ("https://host", "names a registry's manifest"),
        ("https://host/a.json", "names a registry's manifest"),
        ("https://user:word@host/manifest.json", "no valid host"),
        ("https://host:0/manifest.json", "no valid host"),
        ("https://host:99999/manifest.json", "no valid host"),
        ("https:///manifest.json", "no valid host"),
        ("https://host/a/%2e%2e/manifest.json", "segments are not allowed"),
        ("https://host/a b/manifest.json", "percent-encoded"),
    ],
)
def test_what_is_no_reference(text: str, reason: str) -> None:
    with pytest.raises(RefInvalid) as caught:
        ModelRef.parse(text)
    assert reason in caught.value.reason
    assert caught.value.ref == text


segments = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True)


SPELLED = {
    "s3": ("bucket", 4, ""),
    "gs": ("bucket", 4, ""),
    "file": ("", 4, ""),
    "hf": ("org", 1, "@"),
    "ngc": ("org", 3, ":"),
    "https": ("host:8443", 3, ""),
    "http": ("127.0.0.1", 3, ""),
}
"""For each scheme: what comes first, the most segments, what a revision stands behind."""


@given(
    scheme=st.sampled_from(SCHEMES), parts=st.lists(segments, min_size=1, max_size=4), mark=segments
)
def test_law_what_is_spelled_is_read_again(scheme: str, parts: list[str], mark: str) -> None:
    head, most, sign = SPELLED[scheme]
    path = "/".join(parts[:most]) + ("/manifest.json" if scheme.startswith("http") else "")
    tail = f"{sign}{mark}" if sign else ""
    text = f"{scheme}://{head}/{path}{tail}"
    ref = ModelRef.parse(text)
    assert str(ref) == text
    if not tail and not scheme.startswith("http"):
        assert ModelRef.parse(f" {scheme.upper()}{text.removeprefix(scheme)}/ ") == ref
    assert ref.revision == (mark if tail else "")


odd = st.text(st.sampled_from("ab%?# \u00a0é2F"), min_size=1, max_size=8)


@given(st.lists(odd.filter(lambda part: part not in {".", ".."}), min_size=1, max_size=3))
def test_law_any_folder_can_be_spelled(parts: list[str]) -> None:
    ref = ModelRef("file", "", f"/{'/'.join(parts)}")
    assert ModelRef.parse(str(ref)) == ref


@given(st.text(max_size=30))
def test_law_a_path_never_leaves_its_place(rest: str) -> None:
    for scheme in SCHEMES:
        try:
            ref = ModelRef.parse(f"{scheme}://bucket/{rest}")
        except RefInvalid:
            continue
        assert not {"..", "."} & set(ref.path.split("/"))
