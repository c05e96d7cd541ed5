"""The cache's checks, in real folders; bounds are what makes a disk full."""

from pathlib import Path

from poolhand.agent.cli.checks_disk import ABOUT, cache_of, look
from poolhand.agent.cli.checks_told import Ground
from poolhand.agent.weights.cache import Cache

from .checks_world import PLAIN, by_id, ground, verdicts

MODEL = '[[models]]\nid = "org/a"\nref = "s3://models/a"\n'
GIB = 2**30


def cached(folder: Path, keys: str = "reserve_gib = 0\nreserve_ratio = 0\n") -> Ground:
    return ground(folder, f'{PLAIN}{MODEL}[cache]\ndir = "{folder}/cache"\n{keys}')


def test_all_is_well_and_nothing_is_made(tmp_path: Path) -> None:
    here = cached(tmp_path)
    found = verdicts(look(here))
    assert found == {**dict.fromkeys(ABOUT, "ok"), "cache.room": "skipped"}
    assert not cache_of(here).exists()


def test_a_build_that_fits_and_one_that_does_not(tmp_path: Path) -> None:
    here = cached(tmp_path, "reserve_gib = 0\nreserve_ratio = 0\nquota_gib = 1\n")
    cache = Cache(cache_of(here))
    cache.remember("org/a", "s3://models/a", 2**20)
    assert by_id(look(here))["cache.room"].verdict == "ok"
    cache.remember("org/a", "s3://models/a", 2 * GIB)
    full = by_id(look(here))["cache.room"]
    assert (full.verdict, full.subject) == ("fail", "org/a")
    assert full.cause == "2.0 GiB to come, 1.0 GiB beyond the cache's quota"


def test_a_disk_without_head_room(tmp_path: Path) -> None:
    here = cached(tmp_path, "reserve_gib = 1000000\n")
    found = by_id(look(here))["cache.disk"]
    assert found.verdict == "fail"
    assert "nothing can be fetched" in found.cause


def test_a_file_where_the_cache_should_be(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    assert by_id(look(cached(tmp_path)))["cache.disk"].verdict == "fail"


def test_beyond_the_quota_and_nobodys(tmp_path: Path) -> None:
    here = cached(tmp_path, "reserve_gib = 0\nreserve_ratio = 0\nquota_gib = 0.0001\n")
    stray = Cache(cache_of(here)).folder("org/stray")
    stray.mkdir(parents=True)
    (stray / "model.safetensors").write_bytes(bytes(2**20))
    found = by_id(look(here))
    assert found["cache.quota"].verdict == "warn"
    assert "1.0 MiB of" in found["cache.quota"].cause
    assert found["cache.orphans"].verdict == "warn"
    assert stray.name in found["cache.orphans"].cause


def test_without_models(tmp_path: Path) -> None:
    here = ground(tmp_path, f'{PLAIN}[cache]\ndir = "{tmp_path}/cache"\n')
    assert by_id(look(here))["cache.room"].verdict == "skipped"
    named = ground(tmp_path, environ={"CACHE_DIRECTORY": "/var/cache/poolhand"})
    assert cache_of(named) == Path("/var/cache/poolhand")
