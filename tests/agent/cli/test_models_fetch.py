"""``models fetch`` as users run it: a process, an S3 of our own on loopback."""

import asyncio
import hashlib
import json
import pickle
from argparse import ArgumentTypeError
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from poolhand.agent.cli.exits import Exit
from poolhand.agent.cli.models_args import rate
from poolhand.agent.dev.objectstore import ObjectStore

from .conftest import Cli
from .toy_store import ENVIRON, REF, fetched, holding

OBJECTS = {
    "config.json": b'{"model_type": "toy"}',
    "tokenizer_config.json": b"{}",
    "README.md": b"# toy",
    "sub/data.dat": b"0123456789" * 50_000,
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    async with holding(tmp_path / "root", OBJECTS) as running:
        yield running


def below(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


async def test_a_copy_with_no_daemon_and_no_configuration(
    cli: Cli, store: ObjectStore, tmp_path: Path
) -> None:
    ended = await fetched(cli, store, "--to", tmp_path / "to")
    assert ended.returncode == Exit.OK, ended.stderr
    assert below(tmp_path / "to") == OBJECTS
    assert ended.stdout.startswith(f"{tmp_path}/to: ")
    assert "held to what the store tells" in ended.stdout
    assert "of" in ended.stderr, "progress goes to standard error"
    again = await fetched(cli, store, "--to", tmp_path / "to", "--json")
    said = json.loads(again.stdout)
    total = sum(map(len, OBJECTS.values()))
    assert (said["bytes_fetched"], said["bytes_resumed"]) == (0, total)


async def test_only_what_tells_about_a_model(cli: Cli, store: ObjectStore, tmp_path: Path) -> None:
    """None of the weights, in a folder that no agent takes for a build; the rest comes later."""
    telling = {name: data for name, data in OBJECTS.items() if name.endswith(".json")}
    sums = tmp_path / "SHA256SUMS"
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in OBJECTS.items()]
    _ = sums.write_text("".join(lines))
    ended = await fetched(cli, store, "--metadata-only", "--checksums", sums, "--json")
    assert ended.returncode == Exit.OK, ended.stderr
    said = json.loads(ended.stdout)
    assert below(Path(said["folder"])) == telling
    assert said["verified_by"] == "checksums"
    to = tmp_path / "to"
    assert (await fetched(cli, store, "--metadata-only", "--to", to)).returncode == Exit.OK
    assert below(to) == telling
    assert (await fetched(cli, store, "--to", to)).returncode == Exit.OK
    assert below(to) == OBJECTS


async def test_what_goes_wrong_at_home_has_a_code_and_a_remedy(
    cli: Cli, store: ObjectStore, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    ended = await fetched(cli, store, "--to", taken, "--json")
    assert json.loads(ended.stdout)["error"]["code"] == "disk_failed"
    assert ended.returncode == Exit.FAILURE
    ended = await fetched(cli, store, "--checksums", tmp_path / "nowhere")
    assert (ended.returncode, "there is no file" in ended.stderr) == (Exit.USAGE, True)
    ended = await fetched(cli, store, "--endpoint", "nonsense")
    assert "Traceback" not in ended.stderr
    assert "it must begin with https:// or http://" in ended.stderr


async def test_checksums_decide(cli: Cli, store: ObjectStore, tmp_path: Path) -> None:
    sums = tmp_path / "SHA256SUMS"
    lines = [f"{hashlib.sha256(data).hexdigest()} *./{name}\n" for name, data in OBJECTS.items()]
    _ = sums.write_text("".join(lines))
    ended = await fetched(cli, store, "--to", tmp_path / "to", "--checksums", sums, "--json")
    said = json.loads(ended.stdout)
    assert (ended.returncode, said["ok"], said["verified_by"]) == (Exit.OK, True, "checksums")
    digests = {file["path"]: file["sha256"] for file in said["files"]}
    assert digests == {name: hashlib.sha256(data).hexdigest() for name, data in OBJECTS.items()}
    _ = sums.write_text("".join(lines).replace(lines[0][:4], "0000"))
    ended = await fetched(cli, store, "--to", tmp_path / "other", "--checksums", sums, "--json")
    assert ended.returncode == Exit.FAILURE
    assert json.loads(ended.stdout)["error"]["code"] == "weights_corrupt"
    assert [name for name in below(tmp_path / "other") if not name.startswith(".poolhand")] == []
    ended = await fetched(cli, store, "--to", tmp_path / "third", "--no-verify", "--json")
    assert json.loads(ended.stdout)["verified_by"] is None


async def test_what_nobody_vouches_for_is_no_success(
    cli: Cli, store: ObjectStore, tmp_path: Path
) -> None:
    """The bytes are here and may be used; whoever asks whether they are right is told no."""
    config = tmp_path / "a.toml"
    _ = config.write_text(
        f'[coordinator]\nurl = "ws://127.0.0.1:1"\n[cache]\ndir = "{tmp_path}/there"\n'
        "[stores.s3]\netag_is_md5 = false\n"
    )
    for args in (("--to", tmp_path / "to"), ()):
        ended = await fetched(cli, store, "--config", config, *args)
        assert ended.returncode == Exit.UNVERIFIED
        assert ("NOT VERIFIED" in ended.stdout, "--no-verify" in ended.stderr) == (True, True)
        ended = await fetched(cli, store, "--config", config, "--json", *args)
        said = json.loads(ended.stdout)
        assert (ended.returncode, said["ok"]) == (Exit.UNVERIFIED, False)
        assert said["error"]["code"] == "weights_unverified"
        assert said["verified_by"] == "self"
        ended = await fetched(cli, store, "--config", config, "--json", "--no-verify", *args)
        said = json.loads(ended.stdout)
        assert (ended.returncode, said["ok"]) == (Exit.OK, True)
    assert below(tmp_path / "to") == OBJECTS


async def test_into_the_cache(cli: Cli, store: ObjectStore, tmp_path: Path) -> None:
    ended = await fetched(cli, store, "--json", "--connections", "2")
    said = json.loads(ended.stdout)
    assert (ended.returncode, said["model"]) == (Exit.OK, "org/toy")
    folder = Path(said["folder"])
    assert folder.is_relative_to(tmp_path / ".cache" / "poolhand")
    assert "README.md" not in below(folder), "only what an engine needs"
    sums = tmp_path / "SUMS"
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in OBJECTS.items()]
    _ = sums.write_text("".join(lines))
    assert (await fetched(cli, store, "--checksums", sums)).returncode == Exit.OK
    _ = sums.write_text("".join(lines[1:]))
    ended = await fetched(cli, store, "--checksums", sums)
    assert (ended.returncode, "config.json" in ended.stderr) == (Exit.FAILURE, True)


async def test_a_configured_model_is_found_by_its_names(
    cli: Cli, store: ObjectStore, tmp_path: Path
) -> None:
    config = tmp_path / "a.toml"
    _ = config.write_text(
        '[coordinator]\nurl = "ws://127.0.0.1:1"\n'
        f'[cache]\ndir = "{tmp_path}/there"\n'
        '[[models]]\nid = "mine"\naliases = ["m"]\nref = "s3://models/org/toy"\n'
    )
    environ = {**ENVIRON, "AWS_ENDPOINT_URL_S3": store.url}
    for name in ("m", "mine", "S3://models/org/toy/"):
        args = ("models", "fetch", name, "--config", config, "--json")
        ended = await asyncio.to_thread(cli, *args, **environ)
        said = json.loads(ended.stdout)
        assert (said["model"], ended.returncode) == ("mine", Exit.OK)
        assert said["folder"].startswith(f"{tmp_path}/there/models/mine--")


def test_what_is_not_understood(cli: Cli, tmp_path: Path) -> None:
    ended = cli("models", "fetch", "no-scheme")
    assert ended.returncode == Exit.USAGE
    assert "no-scheme" in ended.stderr
    ended = cli("models", "fetch", "s3://b/m", "--checksums", "x", "--no-verify")
    assert ended.returncode == Exit.USAGE
    ended = cli("models", "fetch", "s3://bucket/m", "--connections", "65")
    assert ended.returncode == Exit.USAGE
    ended = cli("models", "fetch", f"file://{tmp_path}/none", "--to", tmp_path / "to", "--json")
    assert ended.returncode == Exit.FAILURE
    assert json.loads(ended.stdout)["error"]["code"] == "model_missing"


def test_a_folder_on_this_machine_is_copied(cli: Cli, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    _ = (place / "notes.txt").write_bytes(b"hello")
    ended = cli("models", "fetch", f"file://{place}", "--to", tmp_path / "to")
    assert (ended.returncode, below(tmp_path / "to")) == (Exit.OK, {"notes.txt": b"hello"})
    _ = (place / "notes.txt").write_bytes(pickle.dumps(print))
    ended = cli("models", "fetch", f"file://{place}", "--to", tmp_path / "to")
    assert (ended.returncode, "pickle" in ended.stderr) == (Exit.FAILURE, True)
    assert below(tmp_path / "to")["notes.txt"] == b"hello", "the old one stays"


async def test_our_own_variables_count_without_a_configuration(
    cli: Cli, store: ObjectStore, tmp_path: Path
) -> None:
    to, environ = tmp_path / "to", {**ENVIRON, "POOLHAND_STORES__S3__ENDPOINT": store.url}
    fetch = ("models", "fetch", REF, "--to", to)
    ended = await asyncio.to_thread(cli, *fetch, **environ)
    assert (ended.returncode, below(to)) == (Exit.OK, OBJECTS), ended.stderr
    wrong = {**environ, "POOLHAND_STORES__TRUSTED_HOSTS": "localhost"}
    ended = await asyncio.to_thread(cli, *fetch, **wrong)
    assert ended.returncode == Exit.CONFIG
    assert "environment variable POOLHAND_STORES__TRUSTED_HOSTS" in ended.stderr


async def test_a_limit_holds(cli: Cli, store: ObjectStore, tmp_path: Path) -> None:
    ended = await fetched(cli, store, "--to", tmp_path / "to", "--limit", "250K", "--json")
    said = json.loads(ended.stdout)
    assert ended.returncode == Exit.OK, ended.stderr
    # half a megabyte at a quarter a second; a bucket may let its first moment through at once
    assert said["seconds"] > 1.0
    assert below(tmp_path / "to") == OBJECTS


@pytest.mark.parametrize(
    ("text", "bytes_s"),
    [
        ("500", 500),
        ("500K", 5e5),
        ("20MiB/s", 20 * 2**20),
        ("1.5G", 1.5e9),
        ("2 mb/s", 2e6),
        ("64Ki", 65536),
    ],
)
def test_rates(text: str, bytes_s: float) -> None:
    assert rate(text) == bytes_s


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "nan", "inf", "1e99", "5T", "5ik"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        _ = rate(text)


async def test_the_caches_bounds_hold(cli: Cli, store: ObjectStore, tmp_path: Path) -> None:
    def config(bounds: str) -> Path:
        path = tmp_path / "a.toml"
        _ = path.write_text(
            '[coordinator]\nurl = "ws://127.0.0.1:1"\n'
            f'[cache]\ndir = "{tmp_path}/cache"\nreserve_ratio = 0\n{bounds}\n'
        )
        return path

    ended = await fetched(cli, store, "--config", config("reserve_gib = 1000000"), "--json")
    assert ended.returncode == Exit.FAILURE
    assert json.loads(ended.stdout)["error"]["code"] == "cache_full"
    assert "cache.reserve_gib" in ended.stderr
    # one build takes 12 KiB of blocks, so a second is beyond 10.5 KiB
    bounds = config("reserve_gib = 0\nquota_gib = 0.00001")
    assert (await fetched(cli, store, "--config", bounds, "--id", "old")).returncode == Exit.OK
    ended = await fetched(cli, store, "--config", bounds, "--id", "new")
    assert (ended.returncode, "old--" in ended.stderr) == (Exit.OK, True), ended.stderr
    names = [path.name for path in (tmp_path / "cache" / "models").iterdir()]
    assert [name.split("--")[0] for name in names if not name.startswith(".")] == ["new"]


def test_a_build_that_asks_for_code_is_told(cli: Cli, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    _ = (place / "config.json").write_text('{"auto_map": {"AutoModel": "modeling.Mine"}}')
    ended = cli("models", "fetch", f"file://{place}", "--to", tmp_path / "to", "--json")
    (warning,) = json.loads(ended.stdout)["warnings"]
    assert ended.returncode == Exit.OK
    assert warning in ended.stderr
    assert "auto_map" in warning
