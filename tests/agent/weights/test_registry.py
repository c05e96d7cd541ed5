"""What a public catalog lists, and what of it is believed."""

import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weights_origin import manifest_of

from poolhand.agent.weights.manifest import prefix, weight_hash
from poolhand.agent.weights.registry import (
    MAX_ALIASES,
    MAX_OFFERED,
    Listed,
    manifest_path,
    offer,
    read_listing,
    wanted,
)
from poolhand.backends.stores.errors import StoreUnreachable, WeightsCorrupt
from poolhand.config.catalog import Catalog

MODEL = "org/toy-a"
TOY = {"config.json": b"{}", "model.safetensors": b"A" * 50}
MANIFEST = manifest_of(TOY, model=MODEL)
HASH = str(json.loads(MANIFEST)["aggregate_sha256"])
POLICY = Catalog(builds=("org/*",), store="s3://bucket")


def row(model: str = MODEL, **more: object) -> dict[str, object]:
    return {"id": model, "r2_prefix": prefix(model, "v1"), "weight_hash": HASH, **more}


def listed(*rows: object, **more: object) -> bytes:
    return json.dumps({"models": rows, **more}).encode()


def test_a_catalog_s_builds_and_aliases() -> None:
    alias = {"id": "toy", "desired_build": MODEL, "previous_build": None, "retired_builds": ["o/x"]}
    body = listed(row(capabilities=None), aliases=[alias, {"id": "n", "retired_builds": None}])
    found = read_listing(body, host="h")
    assert found.builds == (Listed(MODEL, prefix(MODEL, "v1"), HASH),)
    assert found.aliases == {"toy": (MODEL, "o/x"), "n": ()}
    assert read_listing(listed(), host="h").aliases is None


def test_what_a_catalog_pins_is_known_of_builds_that_cannot_be_had_from_it_too() -> None:
    rows = (row(), row("o/b", r2_prefix=None, weight_hash=None), row("o/c", active=False), row("?"))
    assert read_listing(listed(*rows), host="h").hashes == {MODEL: HASH, "o/b": ""}


@pytest.mark.parametrize(
    "odd",
    [
        None,
        7,
        row(id=None),
        row("org/a b"),
        row("x" * 300),
        row(r2_prefix=None),
        row(r2_prefix="v2/" + "x" * 600),
        row(weight_hash="abc"),
        row(weight_hash=None),
        row(active=False),
        row(status="retired"),
    ],
)
def test_what_makes_no_sense_is_left_out(odd: object) -> None:
    assert [b.model for b in read_listing(listed(odd, row("org/b")), host="h").builds] == ["org/b"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"models": 7}', b"{" * 100_000, b"\xff"])
def test_what_is_no_catalog_is_told(body: bytes) -> None:
    with pytest.raises(StoreUnreachable, match="no catalog"):
        read_listing(body, host="h")


WORDS = st.sampled_from(["models", "aliases", "id", "r2_prefix", "retired_builds"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner),
    max_leaves=20,
)


@given(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_a_listing_or_a_failure(body: bytes) -> None:
    try:
        found = read_listing(body, host="h")
    except StoreUnreachable:
        return
    assert all(len(build.weight_hash) == 64 for build in found.builds)


def test_only_what_is_named_and_not_described_is_wanted() -> None:
    rows = [row(), row("other/x"), row("org/own"), row(), *(row(f"org/{n}") for n in range(200))]
    found = wanted(read_listing(listed(*rows), host="h"), POLICY, ["org/own"])
    assert len(found) == MAX_OFFERED
    assert found[0].model == MODEL
    assert not {"other/x", "org/own"} & {build.model for build in found}


def test_aliases_have_bounds() -> None:
    many = [{"id": f"a{n}", "desired_build": MODEL} for n in range(1000)]
    found = read_listing(listed(aliases=many), host="h").aliases
    assert found is not None
    assert len(found) == MAX_ALIASES


def test_a_manifest_that_holds_makes_an_offer() -> None:
    entry = offer(Listed(MODEL, prefix(MODEL, "v1"), HASH), MANIFEST, POLICY)
    assert entry.ref == f"s3://bucket/{prefix(MODEL, 'v1')}"
    assert entry.weight_hash == HASH
    assert (entry.aliases, entry.engine) == ((), "auto")


@pytest.mark.parametrize(
    ("build", "change", "words"),
    [
        (Listed(MODEL, prefix(MODEL, "v1"), "0" * 64), {}, "hash is not the one"),
        (Listed(MODEL, "v2/elsewhere/v1", HASH), {}, "prefix is not the one"),
        (Listed("org/b", prefix(MODEL, "v1"), HASH), {}, "another model"),
        (Listed(MODEL, prefix(MODEL, "v1"), HASH), {"file_count": 9}, "file_count"),
        (Listed(MODEL, "../x", HASH), {"r2_prefix": "../x"}, "segments"),
    ],
)
def test_a_manifest_that_does_not_is_refused(
    build: Listed, change: dict[str, object], words: str
) -> None:
    fields = cast("dict[str, object]", json.loads(MANIFEST)) | change
    with pytest.raises(WeightsCorrupt, match=words):
        offer(build, json.dumps(fields).encode(), POLICY)


def test_an_id_is_one_segment_of_the_path() -> None:
    assert manifest_path("org/a+b") == "/v1/models/catalog/manifest/org%2Fa%2Bb"
    assert weight_hash([]) != HASH
