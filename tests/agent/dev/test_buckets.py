"""A folder as buckets: paging by law, ETags, and no way out of the folder."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.agent.dev.buckets import Buckets, Page, page_of
from poolhand.agent.dev.s3_answers import S3Problem


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"no")
    for name in ("a/x.bin", "a/y z.bin", "a\u00e9", "b"):
        path = tmp_path / "root" / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "root"


def test_files_are_keys(root: Path) -> None:
    buckets = Buckets(root)
    folder = buckets.folder("models")
    assert folder is not None
    assert buckets.names() == ["models"]
    assert buckets.keys(folder) == ["a/x.bin", "a/y z.bin", "a\u00e9", "b"]
    found = buckets.find(folder, "a/x.bin")
    assert found is not None
    assert found.size_bytes == 7
    assert found.etag == hashlib.md5(b"a/x.bin", usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "..",
        "../models/b",
        "../../outside/secret",
        "a/../b",
        "a/./x.bin",
        "a//x.bin",
        "/b",
        "b/",
        "a",
        "b\0",
        "b/x",
        "link",
        "folderlink/secret",
        "circle",
        "x" * 5000,
    ],
)
def test_nothing_but_its_own_files_is_there(root: Path, key: str) -> None:
    bucket = root / "models"
    (bucket / "link").symlink_to(root.parent / "outside" / "secret")
    (bucket / "folderlink").symlink_to(root.parent / "outside")
    (bucket / "circle").symlink_to("circle")
    buckets = Buckets(root)
    folder = buckets.folder("models")
    assert folder is not None
    assert buckets.find(folder, key) is None
    assert key not in buckets.keys(folder)


def test_a_link_inside_the_bucket_is_an_object(root: Path) -> None:
    (root / "models" / "same").symlink_to("b")
    buckets = Buckets(root)
    folder = buckets.folder("models")
    assert folder is not None
    assert "same" in buckets.keys(folder)
    assert buckets.find(folder, "same") is not None


@pytest.mark.parametrize("name", ["", ".", "..", "../outside", "none", "a\0", "file", "out"])
def test_a_bucket_is_a_folder_in_the_root(root: Path, name: str) -> None:
    (root / "file").write_bytes(b"")
    (root / "out").symlink_to(root.parent / "outside")
    assert Buckets(root).folder(name) is None


def test_an_etag_is_worked_out_again_only_when_the_file_changed(root: Path) -> None:
    buckets, path = Buckets(root), root / "models" / "b"
    folder = buckets.folder("models")
    assert folder is not None
    first = buckets.find(folder, "b")
    assert first is not None
    state = path.stat()
    # the same size, time and inode: only reading again could tell, and it must not read
    path.write_bytes(b"c")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert buckets.find(folder, "b") == first
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))
    second = buckets.find(folder, "b")
    assert second is not None
    assert second.etag == hashlib.md5(b"c", usedforsecurity=False).hexdigest()


def test_a_name_that_is_no_utf8_is_no_key(root: Path) -> None:
    try:
        (root / "models" / os.fsdecode(b"\xff")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    folder = Buckets(root).folder("models")
    assert folder is not None
    assert all(key.isprintable() for key in Buckets(root).keys(folder))


def read_all(keys: list[str], query: dict[str, str]) -> tuple[list[str], list[str], list[int]]:
    """Follow the tokens to the end."""
    found: list[str] = []
    prefixes: list[str] = []
    sizes: list[int] = []
    token: dict[str, str] = {}
    for _ in range(200):
        page = page_of(keys, query | token)
        assert isinstance(page, Page)
        found += page.keys
        prefixes += page.prefixes
        sizes.append(len(page.keys) + len(page.prefixes))
        if not page.next_token:
            return found, prefixes, sizes
        token = {"continuation-token": page.next_token}
    pytest.fail("the pages never end")


names = st.text("ab/\u00e9\U0001f600", min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    keys=st.sets(names, max_size=25).map(sorted),
    prefix=st.text("ab/", max_size=2),
    delimiter=st.sampled_from(["", "/", "b", "ab"]),
    most=st.integers(1, 5),
    after=st.text("ab/", max_size=3),
)
def test_pages_of_any_size_tell_the_same_and_each_entry_once(
    keys: list[str], prefix: str, delimiter: str, most: int, after: str
) -> None:
    query = {"prefix": prefix, "delimiter": delimiter, "start-after": after}
    found, prefixes, sizes = read_all(keys, query | {"max-keys": str(most)})
    matching = [key for key in keys if key.startswith(prefix) and key > after]
    rest = {
        key: key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        for key in matching
    }
    assert found == [key for key, (_, hit, _) in rest.items() if not hit]
    assert prefixes == sorted({prefix + head + hit for head, hit, _ in rest.values() if hit})
    assert all(size == most for size in sizes[:-1])
    assert sizes[-1] <= most


def test_keys_are_in_the_order_of_their_bytes() -> None:
    texts = ["\uffee", "\U0001f600", "a", "Z"]
    assert sorted(texts) == sorted(texts, key=str.encode)


def test_a_page_holds_a_thousand_at_most_and_none_if_asked() -> None:
    keys = [f"{n:05d}" for n in range(1500)]
    page = page_of(keys, {"max-keys": "5000"})
    assert isinstance(page, Page)
    assert len(page.keys) == 1000
    assert page_of(keys, {"max-keys": "0"}) == Page([], [], "")


@pytest.mark.parametrize(
    "query",
    [
        {"max-keys": "-1"},
        {"max-keys": "x"},
        {"max-keys": ""},
        {"continuation-token": "%"},
        {"continuation-token": "eA=="},
        {"continuation-token": ""},
    ],
)
def test_nonsense_is_an_invalid_argument(query: dict[str, str]) -> None:
    problem = page_of(["a"], query)
    assert isinstance(problem, S3Problem)
    assert problem.code == "InvalidArgument"
