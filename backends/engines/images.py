"""Pictures in a chat, as far as a model that sees takes them (pure).

They come with the request, as ``data:`` URLs: a server that fetched them would let whoever asks
reach into this machine's network.
"""

import re
from collections.abc import Mapping, Sequence
from typing import cast

from .asked import BadRequest, mapping

MOST_IMAGES = 16
"""Of one request."""

MOST_CHARS = 28 * 2**20
"""Of one picture's URL: 21 MiB, spelled in base64."""

_DATA = re.compile(r"data:image/(?:png|jpeg|webp|gif);base64,")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_DETAILS = frozenset({"auto", "low", "high"})


def without(messages: object) -> object:
    """The same messages, with texts only; each picture is looked at and left out.

    Args:
        messages: Of a chat, not looked at yet.

    Raises:
        BadRequest: A picture is not one, too large, too many, or not from the user.
    """
    if not isinstance(messages, list):
        return messages
    count = 0
    left: list[object] = []
    for message in cast("list[object]", messages):
        fields = mapping(message)
        parts = _parts(fields.get("content"))
        if parts is None:
            left.append(message)
            continue
        texts = [part for part in parts if not _is_image(part)]
        if len(texts) < len(parts) and fields.get("role") != "user":
            raise BadRequest(field="images", must="come from the user")
        count += len(parts) - len(texts)
        if count > MOST_IMAGES:
            raise BadRequest(field="images", must=f"be at most {MOST_IMAGES}")
        left.append({**fields, "content": texts})
    return left


def _is_image(part: object) -> bool:
    match part:
        case {"type": "image_url"}:
            _check(mapping(mapping(part).get("image_url")))
            return True
        case _:
            return False


def _check(image: Mapping[str, object]) -> None:
    url = image.get("url")
    if not isinstance(url, str):
        raise BadRequest(field="image_url", must="have a url")
    if len(url) > MOST_CHARS:
        raise BadRequest(field="an image", must=f"have at most {MOST_CHARS * 3 // 4 // 2**20} MiB")
    head = _DATA.match(url)
    if head is None:
        must = "be a data: URL of a PNG, JPEG, WebP or GIF in base64; nothing is fetched"
        raise BadRequest(field="an image's url", must=must)
    if len(url) % 4 != head.end() % 4 or _BASE64.fullmatch(url, head.end()) is None:
        raise BadRequest(field="an image's url", must="be whole base64")
    detail = image.get("detail", "auto")
    is_known = isinstance(detail, str) and detail in _DETAILS
    if not image.keys() <= {"url", "detail"} or not is_known:
        raise BadRequest(field="image_url", must="have a url, and a detail that is known")


def _parts(content: object) -> Sequence[object] | None:
    return cast("Sequence[object]", content) if isinstance(content, list) else None
