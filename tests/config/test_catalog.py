"""What may be taken from a public catalog, and where its objects lie."""

import pytest

from poolhand.config.catalog import Catalog
from poolhand.config.errors import RefInvalid
from poolhand.config.rules import Invalid
from poolhand.config.settings import Settings

PREFIX = "v2/org-a--1d9e4c717c57/v1"


def test_nothing_is_taken_unless_the_operator_names_it() -> None:
    assert not Catalog().names("org/a")
    named = Catalog(builds=("org/a", "org/tiny-*"))
    assert [named.names(m) for m in ("org/a", "org/tiny-7b", "org/b", "xorg/a")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("store", "ref"),
    [
        ("s3://bucket", f"s3://bucket/{PREFIX}"),
        ("s3://bucket/pre/", f"s3://bucket/pre/{PREFIX}"),
        ("https://r.example/x", f"https://r.example/x/{PREFIX}/manifest.json"),
    ],
)
def test_a_store_and_a_prefix_make_a_place(store: str, ref: str) -> None:
    catalog = Catalog(store=store)
    assert catalog.ref(PREFIX) == ref
    assert catalog.holds(ref)
    assert not catalog.holds(ref.replace("bucket", "bucket2").replace("r.ex", "r2.ex"))


def test_what_is_unset_is_with_the_coordinator() -> None:
    whole = Catalog().at("https://c.example")
    assert whole.url == whole.store == "https://c.example"
    elsewhere = Catalog(url="https://list.example", store="s3://bbb").at("https://c.example")
    assert (elsewhere.url, elsewhere.store) == ("https://list.example", "s3://bbb")
    with pytest.raises(RefInvalid):
        Catalog().ref(PREFIX)
    assert not Catalog().holds("s3://bbb/x")


@pytest.mark.parametrize("prefix", ["../up", "v2//v1", "v2/./v1", "v2/../../x", "v2/a?x"])
def test_a_prefix_leads_nowhere_else(prefix: str) -> None:
    for store in ("s3://bucket", "https://r.example"):
        with pytest.raises(RefInvalid):
            Catalog(store=store).ref(prefix)


@pytest.mark.parametrize(
    "said",
    [
        {"store": "gs://bucket"},
        {"store": "file:///srv"},
        {"store": "s3://b/../c"},
        {"url": "https://h/path"},
        {"url": "ws://h"},
        {"url": "https://me@h"},
        {"builds": [" x"]},
        {"refresh_s": 0.5},
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        Catalog.model_validate(said)


def test_claims_hold_for_what_a_catalog_may_bring() -> None:
    base = {"coordinator": {"url": "ws://127.0.0.1:1"}}
    assert Settings.model_validate(base).claimed == ()
    more = {**base, "catalog": {"builds": ["org/*"], "store": "s3://bbb"}}
    (example,) = Settings.model_validate(more).claimed
    assert example.ref.startswith("s3://bbb/")
