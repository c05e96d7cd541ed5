"""URLs taken apart by hand: never otherwise than the library takes them apart."""

import subprocess
import sys
from urllib import parse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poolhand.config.urls import Url, quote, split, unquote, unquote_plus

TEXTS = st.text("aZ0-_.~/%+ :@?#[]ä\u2028", max_size=12)
HOSTS = st.one_of(
    st.sampled_from(["a", "a.example", "127.0.0.1", "[::1]", "A.b", "", "a..b", "-"]), TEXTS
)
PORTS = st.one_of(
    st.just(""), st.integers(0, 70000).map(lambda port: f":{port}"), st.just(":x"), st.just(":080")
)
PATHS = st.one_of(st.sampled_from(["", "/", "/a", "/a/b/", "//a", "/a?b=c", "/a#b"]), TEXTS)
URLS = st.builds(
    "{}://{}{}{}".format, st.sampled_from(["http", "https", "HTTP", "s3"]), HOSTS, PORTS, PATHS
)


def by_the_library(url: str) -> Url | None:
    try:
        parts = parse.urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    return Url(parts.scheme, parts.netloc, host, port, parts.path, parts.query, parts.fragment)


@given(URLS)
@example("http://127.0.0.1:9000")
@example("https://s3.example:59999/a/b/")
@example("http://s3.example:60000/a")
@example("http://a:0/")
def test_a_url_has_the_parts_that_the_library_finds(url: str) -> None:
    expected = by_the_library(url)
    if expected is None:
        with pytest.raises(ValueError):  # noqa: PT011  # whatever the library has to say of it
            _ = split(url)
    else:
        assert split(url) == expected


@given(TEXTS, st.sampled_from(["", "/", "/~", "-_.~"]))
def test_texts_are_encoded_as_the_library_encodes_them(text: str, safe: str) -> None:
    assert quote(text, safe=safe) == parse.quote(text, safe=safe)
    assert unquote(text) == parse.unquote(text)
    assert unquote_plus(text) == parse.unquote_plus(text)
    assert unquote(quote(text)) == text


def test_what_is_usual_does_without_the_library() -> None:
    program = """
import sys
from poolhand.config.urls import quote, split, unquote_plus
split("http://127.0.0.1:9000"), split("https://s3.example/a"), quote("a b"), unquote_plus("a+b")
print("urllib.parse" in sys.modules)
unquote_plus("a%20b")
print("urllib.parse" in sys.modules)
"""
    ended = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.split() == ["False", "True"]
