"""Pictures in a chat: which are passed on, and what is said of the others."""

import base64
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.backends.engines import images
from poolhand.backends.engines.asked import BadRequest

PNG = "data:image/png;base64,iVBORw0KGgo="
TEXT: Mapping[str, object] = {"type": "text", "text": "What is this?"}


def picture(url: object = PNG, **more: object) -> Mapping[str, object]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def said(*parts: object, role: str = "user") -> list[object]:
    return [{"role": "system", "content": "Look."}, {"role": role, "content": [*parts]}]


def test_what_is_left_is_text_in_its_order() -> None:
    asked = said(TEXT, picture(), TEXT, picture(detail="low"))
    assert images.without(asked) == said(TEXT, TEXT)
    assert asked == said(TEXT, picture(), TEXT, picture(detail="low")), "nothing was changed"


@pytest.mark.parametrize("messages", ["no array", None, [7], [{"role": "user", "content": 7}], []])
def test_what_is_wrong_elsewhere_is_left_to_others(messages: object) -> None:
    assert images.without(messages) == messages


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (picture("https://example.org/a.png"), "nothing is fetched"),
        (picture("http://169.254.169.254/latest"), "nothing is fetched"),
        (picture("file:///etc/passwd"), "nothing is fetched"),
        (picture("data:image/svg+xml;base64,AAAA"), "PNG, JPEG, WebP or GIF"),
        (picture("data:text/html;base64,AAAA"), "PNG, JPEG, WebP or GIF"),
        (picture("data:image/png,AAAA"), "in base64"),
        (picture("data:image/png;base64,"), "whole base64"),
        (picture("data:image/png;base64,AAA"), "whole base64"),
        (picture("data:image/png;base64,AA A"), "whole base64"),
        (picture("data:image/png;base64,AA=A"), "whole base64"),
        (picture(PNG + "\n"), "whole base64"),
        (picture("data:image/png;base64," + "A" * images.MOST_CHARS), "at most 21 MiB"),
        (picture(7), "have a url"),
        ({"type": "image_url", "image_url": PNG}, "have a url"),
        ({"type": "image_url"}, "have a url"),
        (picture(detail="original"), "detail that is known"),
        (picture(detail=[]), "detail that is known"),
        (picture(path="/etc/passwd"), "detail that is known"),
    ],
)
def test_what_is_no_picture_is_refused_in_closed_words(part: object, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        images.without(said(TEXT, part))
    assert "passwd" not in str(caught.value)


def test_there_are_so_many_and_they_are_the_users() -> None:
    most = [picture()] * images.MOST_IMAGES
    assert images.without(said(*most)) == said()
    with pytest.raises(BadRequest, match="images must be at most 16"):
        images.without([*said(*most), *said(picture())])
    with pytest.raises(BadRequest, match="images must come from the user"):
        images.without(said(picture(), role="assistant"))


@settings(max_examples=50)
@given(st.binary(min_size=1, max_size=200), st.sampled_from(["png", "jpeg", "webp", "gif"]))
def test_whatever_bytes_they_are_of(data: bytes, kind: str) -> None:
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    assert images.without(said(picture(url))) == said()
