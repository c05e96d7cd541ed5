"""What stores tell of bytes: taken beside the sha256, believed as far as it was seen to hold."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.digests import FrontierDigest, PieceBad, told_of
from poolhand.agent.weights.told import Checked, Witness, both, lies

DATA = bytes(range(256)) * 40


def parts(data: bytes, part_bytes: int) -> str:
    """As S3 makes it: of an upload in one part, too."""
    pieces = [data[at : at + part_bytes] for at in range(0, max(1, len(data)), part_bytes)]
    digests = b"".join(hashlib.md5(one, usedforsecurity=False).digest() for one in pieces)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(pieces)}"


def truth(kind: str, data: bytes) -> str:
    blob = b"blob %d\0" % len(data) + data
    found = {
        "etag": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "git": hashlib.sha1(blob, usedforsecurity=False).hexdigest(),
        "parts100": parts(data, 100),
        "parts10240": parts(data, 10240),
    }
    return f"{kind}:{found[kind]}"


KINDS = ("etag", "md5", "git", "parts100", "parts10240")


@given(kind=st.sampled_from(KINDS), data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_both_are_taken_at_once_and_a_copy_goes_on_by_itself(
    kind: str, data: bytes, cut: int
) -> None:
    begun = both(f"{kind}:", size_bytes=len(data))
    begun.update(data[:cut])
    left = begun.copy()
    begun.update(b"something else")
    left.update(memoryview(data)[cut:])
    assert (left.hexdigest(), left.told()) == (hashlib.sha256(data).hexdigest(), truth(kind, data))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_found_out_as_it_arrives_and_as_a_whole(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "f"
    _ = path.write_bytes(DATA)
    assert told_of(path, f"{kind}:", memoryview(bytearray(999))) == truth(kind, DATA)
    with path.open("rb") as file:
        digest = FrontierDigest(
            file.fileno(),
            size_bytes=len(DATA),
            block_bytes=1000,
            have=bytearray(b"\0" + b"\1" * 10),
            told=f"{kind}:",
            mark_bytes=4000,
        )
        digest.take(memoryview(DATA)[:1000], 0, 0)
        digest.arrived(0)
        sha256 = digest.advance(memoryview(bytearray(512)), is_stopped=lambda: False)
    assert sha256 == hashlib.sha256(DATA).hexdigest()
    assert digest.told == truth(kind, DATA)
    assert digest.marks[-1] == sha256


def test_a_piece_that_is_fetched_again_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "f"
    _ = path.write_bytes(b"x" * 4000 + DATA[4000:])
    marks = tuple(hashlib.sha256(DATA[:at]).hexdigest() for at in (4000, 8000, len(DATA)))
    with path.open("r+b", buffering=0) as file:
        digest = FrontierDigest(
            file.fileno(),
            size_bytes=len(DATA),
            block_bytes=1000,
            have=bytearray(b"\1" * 11),
            expected=marks,
            mark_bytes=4000,
            told="md5:",
        )
        with pytest.raises(PieceBad) as bad:
            _ = digest.advance(memoryview(bytearray(512)), is_stopped=lambda: False)
        _ = file.write(DATA[:4000])
        for block in bad.value.blocks:
            digest.arrived(block)
        _ = digest.advance(memoryview(bytearray(512)), is_stopped=lambda: False)
    assert digest.told == truth("md5", DATA)


def test_nobody_asked(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    with path.open("rb") as file:
        digest = FrontierDigest(file.fileno(), size_bytes=0, block_bytes=4, have=bytearray())
    assert digest.told is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_be_something_else_counts_once_it_was_seen_to_be_right(kind: str) -> None:
    witness = Witness()
    assert witness.is_lie(f"{kind}:a", f"{kind}:b") == (kind == "md5")
    assert not witness.is_lie(f"{kind}:a", f"{kind}:a")
    assert witness.is_lie(f"{kind}:a", f"{kind}:b")


def checked(**files: tuple[str | None, str | None]) -> tuple[str, ...]:
    return lies(Checked(path, told, found) for path, (told, found) in files.items())


def test_who_lies_in_the_end() -> None:
    right, wrong = ("etag:1", "etag:1"), ("etag:1", "etag:2")
    assert checked(a=right, b=right, c=(None, None), d=("etag:1", None)) == ()
    assert checked(a=right, b=wrong, c=right) == ("b",)
    assert checked(a=wrong, b=(None, None)) == ("a",), "nobody else to ask"
    assert checked(a=wrong, b=wrong) == (), "this store's tags are no MD5s"
    assert checked(a=("git:1", "git:2")) == ()
    assert checked(a=("git:1", "git:2"), b=("git:1", "git:1")) == ("a",)
    assert checked(a=("md5:1", "md5:2"), b=("md5:1", "md5:2")) == ("a", "b")
    assert checked(a=("parts8:1-2", "parts8:2-2"), b=("parts9:1-2", "parts9:1-2")) == ()
    assert checked(a=("parts8:1-2", "parts8:2-2"), b=("parts8:1-3", "parts8:1-3")) == ("a",)
    assert checked(a=("git:1", "git:1"), b=wrong, c=wrong) == ()
