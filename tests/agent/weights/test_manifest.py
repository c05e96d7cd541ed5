"""The published manifest and the one hash that names a build's bytes."""

import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weights_origin import manifest_of

from poolhand.agent.weights.manifest import (
    Manifest,
    ManifestFile,
    ManifestInvalid,
    folder_name,
    is_foreign,
    is_hidden,
    is_integrity,
    parse,
    path_problem,
    paths_problem,
    prefix,
    slug,
    weight_hash,
)

TOY = {"config.json": b"{}", "model.safetensors": b"A" * 5000, "tokenizer.json": b"{}"}
TOY_HASH = "5477bbafb99a64a62d978cd19b30c27990eb0398dd7b1ecf9609828b62fab8e6"
MODEL = "org/toy-a"

Fields = dict[str, object]


def digests(objects: dict[str, bytes]) -> list[tuple[str, bytes]]:
    return [(path, hashlib.sha256(data).digest()) for path, data in objects.items()]


def published() -> Fields:
    fields: Fields = json.loads(manifest_of(TOY, model=MODEL))
    return fields


def test_the_hash_that_a_coordinator_accepted() -> None:
    assert weight_hash(digests(TOY)) == TOY_HASH


def test_the_prefix_that_a_coordinator_accepted() -> None:
    assert prefix(MODEL, "v1") == "v2/org-toy-a--1d9e4c717c57/v1"


def test_files_that_do_not_count_do_not_change_the_hash() -> None:
    more = {**TOY, "README.md": b"?", ".cache/config.json": b"?", "notes.txt": b"?"}
    assert weight_hash(digests(more)) == TOY_HASH


@given(st.permutations(digests({**TOY, "a/config.json": b"1", "Z.bin": b"2", "z.npz": b"3"})))
def test_the_order_of_listing_does_not_matter(order: list[tuple[str, bytes]]) -> None:
    assert weight_hash(order) == weight_hash(sorted(order))


def test_paths_are_sorted_by_their_bytes() -> None:
    first, second = ("B.bin", b"b" * 32), ("a.bin", b"a" * 32)
    assert weight_hash([second, first]) == hashlib.sha256(b"b" * 32 + b"a" * 32).hexdigest()


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("model.safetensors", True),
        ("sub/weights.npz", True),
        ("pytorch_model.bin", True),
        ("merges.txt", True),
        ("sub/config.json", True),
        ("Config.json", False),
        ("model.SAFETENSORS", False),
        (".hidden/model.safetensors", False),
        ("sub/.config.json", False),
        ("README.md", False),
    ],
)
def test_which_files_count(path: str, *, counts: bool) -> None:
    assert is_integrity(path) is counts


def test_hidden_is_any_segment_with_a_dot_before_it() -> None:
    assert is_hidden("a/.b/c")
    assert not is_hidden("a.b/c.d")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("org/toy-a", "org-toy-a"),
        ("a b:c", "a-b-c"),
        ("-x-", "x"),
        ("...", "model"),
        ("Ä", "model"),
    ],
)
def test_slugs(model: str, name: str) -> None:
    assert slug(model) == name


@given(st.text(min_size=1, max_size=300))
def test_a_folder_name_is_one_safe_segment(model: str) -> None:
    try:
        name = folder_name(model)
    except UnicodeEncodeError:
        return  # a lone surrogate is no id
    assert path_problem(name) == ""
    assert "/" not in name
    assert not name.startswith(".")


@given(st.tuples(st.text("ab/-", min_size=1), st.text("ab/-", min_size=1)))
def test_two_models_never_share_a_folder(models: tuple[str, str]) -> None:
    first, second = models
    assert (folder_name(first) == folder_name(second)) == (first == second)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a/./b",
        "a\\b",
        "a\0b",
        "a\nb",
        "\x7f",
        "x" * 256,
        "/".join(["abc"] * 300),
        "manifest.ok",
        "Manifest.OK",
        "ä" * 128,
    ],
)
def test_names_that_are_not_written(path: str) -> None:
    assert path_problem(path)


@pytest.mark.parametrize("path", ["a", "a/b.c", "a b", "…", "x" * 255, "a..b", "..a"])
def test_names_that_are(path: str) -> None:
    assert path_problem(path) == ""


@pytest.mark.parametrize(
    "paths", [["a", "a"], ["a/B", "A/b"], ["a", "a/b"], ["A/b/c", "a/B"], ["fine", "../x"]]
)
def test_sets_of_names_that_do_not_fit_one_folder(paths: list[str]) -> None:
    assert paths_problem(paths)
    assert paths_problem(paths[::-1])


def test_a_manifest_that_keeps_every_rule() -> None:
    found = parse(json.dumps(published()).encode(), model=MODEL)
    assert found == Manifest(
        model=MODEL,
        version="v1",
        prefix="v2/org-toy-a--1d9e4c717c57/v1",
        aggregate_sha256=TOY_HASH,
        files=tuple(
            ManifestFile(path, len(data), hashlib.sha256(data).hexdigest())
            for path, data in TOY.items()
        ),
    )


def test_unknown_fields_and_roles_are_taken() -> None:
    fields = published()
    entries = fields["files"]
    assert isinstance(entries, list)
    entries[0]["role"] = "config"
    found = parse(json.dumps({**fields, "created_at": "now"}).encode(), model=MODEL)
    assert found.files[0].role == "config"


def change(name: str, value: object) -> Callable[[Fields], None]:
    return lambda fields: fields.update({name: value})


def change_file(name: str, value: object) -> Callable[[Fields], None]:
    def apply(fields: Fields) -> None:
        entries = fields["files"]
        assert isinstance(entries, list)
        entries[1][name] = value

    return apply


def change_pieces(value: object) -> Callable[[Fields], None]:
    def apply(fields: Fields) -> None:
        fields["chunk_bytes"] = 2**16
        change_file("chunks", value)(fields)

    return apply


def test_digests_of_pieces_are_taken() -> None:
    fields = published()
    change_pieces(["ab" * 32])(fields)
    found = parse(json.dumps(fields).encode(), model=MODEL)
    assert (found.chunk_bytes, found.files[0].chunks) == (2**16, ())
    assert found.files[1].chunks == ("ab" * 32,)
    del fields["chunk_bytes"]
    found = parse(json.dumps(fields).encode(), model=MODEL)
    assert (found.chunk_bytes, found.files[1].chunks) == (0, ())


BREAKS = {
    "schema_version 2": change("schema_version", 2),
    "schema_version true": change("schema_version", value=True),
    "another model": change("model_id", "org/other"),
    "no model": change("model_id", None),
    "no version": change("version", ""),
    "no prefix": change("r2_prefix", 3),
    "no files": change("files", None),
    "a file that is none": change("files", [3]),
    "too few files": change("file_count", 2),
    "a count that is true": change("file_count", value=True),
    "another total": change("total_size_bytes", 1),
    "another aggregate": change("aggregate_sha256", "0" * 64),
    "an upper-case aggregate": change("aggregate_sha256", TOY_HASH.upper()),
    "an absolute path": change_file("path", "/model.safetensors"),
    "a path upwards": change_file("path", "../model.safetensors"),
    "a backslash": change_file("path", "a\\b.safetensors"),
    "one name twice": change_file("path", "Config.json"),
    "a lone surrogate": change_file("path", "\ud800"),
    "a negative size": change_file("size_bytes", -1),
    "a size that is a float": change_file("size_bytes", 5000.0),
    "another digest": change_file("sha256", "0" * 64),
    "a short digest": change_file("sha256", "0" * 63),
    "pieces too short": change("chunk_bytes", 2**16 - 1),
    "pieces too long": change("chunk_bytes", 2**25 + 1),
    "pieces of no length": change("chunk_bytes", "65536"),
    "pieces that are no list": change_pieces("0" * 64),
    "too many pieces": change_pieces(["0" * 64] * 2),
    "too few pieces": change_pieces([]),
    "a piece that is no digest": change_pieces([3]),
}


@pytest.mark.parametrize("damage", BREAKS.values(), ids=BREAKS.keys())
def test_a_manifest_that_breaks_a_rule_is_not_believed(damage: Callable[[Fields], None]) -> None:
    fields = published()
    damage(fields)
    with pytest.raises(ManifestInvalid):
        _ = parse(json.dumps(fields).encode(), model=MODEL)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_invalid_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        _ = parse(data, model=MODEL)
    assert is_foreign(data) in {True, False}


def test_only_a_manifest_of_this_kind_is_held_to_the_rules() -> None:
    assert is_foreign(b'{"name": "a web app"}')
    assert is_foreign(b"[]")
    assert not is_foreign(b'{"schema_version": 7}')
    assert not is_foreign(b"{ torn")


def test_one_that_would_take_all_memory_is_refused_unread() -> None:
    data = b'{"schema_version": 1, "files": [' + b"[]," * 2**20 + b"0]}"
    assert not is_foreign(data)
    with pytest.raises(ManifestInvalid, match="more than 1048576 values"):
        _ = parse(data, model=MODEL)
