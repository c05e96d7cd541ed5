"""The hub: commits, pages, promised digests, tokens, and what huggingface_hub left here."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from stand_ins import COMMIT, OTHER_COMMIT, TOKEN, Shelf, hub, sha256, standing

from poolhand.backends.stores.base import FileLocation, HttpLocation
from poolhand.backends.stores.errors import (
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    WeightsUnsafe,
)
from poolhand.backends.stores.hf import ENDPOINT, HfStore
from poolhand.config.refs import ModelRef
from poolhand.config.stores import Hf, Stores

FILES = {"config.json": b"{}", "sub/m.safetensors": b"weights", "README.md": b"#"}
Make = Callable[..., HfStore]


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    async with standing(hub) as shelf:
        shelf.objects = {f"models/tiny/{path}": content for path, content in FILES.items()}
        yield shelf


@pytest.fixture
def environ(shelf: Shelf, tmp_path: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": f"{shelf.url}/", "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf")}


@pytest.fixture
async def store(shelf: Shelf, environ: Mapping[str, str]) -> AsyncIterator[Make]:
    made: list[HfStore] = []

    def make(ref: str = "models/tiny", config: Hf | None = None) -> HfStore:
        trusted = (shelf.onward.removeprefix("http://"),)
        stores = Stores(trusted_hosts=trusted, hf=config or Hf())
        made.append(HfStore(ModelRef.parse(ref), stores, environ))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def test_large_files_come_with_their_digest(store: Make) -> None:
    opened = store()
    kept = {file.path: file for file in await opened.files()}
    assert set(kept) == {"config.json", "sub/m.safetensors"}
    assert kept["sub/m.safetensors"].sha256 == sha256(b"weights")
    assert kept["config.json"].sha256 is None
    assert all(f"/resolve/{COMMIT}/" in file.key for file in kept.values())
    place = opened.location(kept["sub/m.safetensors"])
    assert isinstance(place, HttpLocation)
    assert place.target.startswith("/onward/")
    assert "authorization" not in place.headers
    home = opened.location(kept["config.json"])
    assert isinstance(home, HttpLocation)
    assert home.headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in repr(home) + repr(opened) + opened.name


async def test_one_quantisation_of_many(shelf: Shelf, store: Make) -> None:
    shelf.objects |= {f"models/tiny/m-{kind}.gguf": b"GGUF" for kind in ("Q4", "Q5", "Q8")}
    del shelf.objects["models/tiny/sub/m.safetensors"]
    with pytest.raises(ModelMissing, match=r"3 GGUF models.*hf://org/name/FILE"):
        await store().files()
    for ref in ("hf://models/tiny/m-Q5.gguf", "hf://models/tiny@main/m-Q5.gguf"):
        found = await store(ref).files()
        assert [file.path for file in found] == ["config.json", "m-Q5.gguf"]
    with pytest.raises(ModelMissing, match=r"no 'm-Q6\.gguf'"):
        await store("hf://models/tiny/m-Q6.gguf").files()


async def test_all_of_it_or_only_what_tells(store: Make) -> None:
    whole, telling = store(), store()
    whole.take_all()
    telling.take_metadata()
    assert {file.path for file in await whole.files()} == set(FILES)
    assert [file.path for file in await telling.files()] == ["config.json"]


async def test_a_revision_becomes_a_commit_first(shelf: Shelf, store: Make) -> None:
    assert len(await store("models/tiny@refs/pr/1").files()) == 2
    assert "GET /api/models/models/tiny/revision/refs%2Fpr%2F1" in shelf.seen
    shelf.seen.clear()
    assert len(await store(f"models/tiny@{COMMIT}").files()) == 2
    assert not any("/revision/" in seen for seen in shelf.seen), "a commit is one already"
    with pytest.raises(ModelMissing, match="no revision 'v9'"):
        await store("models/tiny@v9").files()
    with pytest.raises(ModelMissing):
        await store("models/absent").files()


async def test_the_endpoint_that_wins(environ: dict[str, str]) -> None:
    def name(config: Hf) -> str:
        return HfStore(ModelRef.parse("a1/b"), Stores(hf=config), environ).name

    assert name(Hf(endpoint="http://h:1/")) == "http://h:1/a1/b"
    assert name(Hf()) == f"{environ.pop('HF_ENDPOINT').rstrip('/')}/a1/b"
    assert name(Hf()) == f"{ENDPOINT}/a1/b"


async def test_the_token_that_wins(store: Make, environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text(TOKEN)
    environ["HF_TOKEN"] = "wr0ng"  # noqa: S105  # it is none
    assert len(await store(config=Hf(token_file=str(path))).files()) == 2
    with pytest.raises(StoreDenied, match="may not read") as caught:
        await store().files()
    assert "wr0ng" not in str(caught.value)
    del environ["HF_TOKEN"]
    with pytest.raises(StoreDenied, match="there is none, or it wants a token"):
        await store().files()
    environ["HF_TOKEN_PATH"] = str(path)
    assert len(await store().files()) == 2
    del environ["HF_TOKEN_PATH"]
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(f"{TOKEN}\n")
    assert len(await store().files()) == 2


async def test_a_token_is_not_shown_where_nobody_asked_for_it(
    shelf: Shelf, store: Make, environ: dict[str, str], tmp_path: Path
) -> None:
    environ |= {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    with pytest.raises(StoreDenied):
        await store().files()
    assert shelf.authorized == []
    (tmp_path / "mine").write_text(TOKEN)
    assert len(await store(config=Hf(token_file=str(tmp_path / "mine"))).files()) == 2


async def test_a_repository_that_is_gated(shelf: Shelf, store: Make) -> None:
    shelf.is_gated = True
    with pytest.raises(StoreDenied, match="gated: accept its conditions"):
        await store().files()


@pytest.mark.parametrize(
    ("name", "place"), [("HF_TOKEN_PATH", "t/token"), ("HF_HOME", "t"), ("XDG_CACHE_HOME", "")]
)
@pytest.mark.parametrize("spelled", ["~/{}", "$MINE/{}", "${{MINE}}/{}"])
async def test_paths_are_read_as_huggingface_hub_reads_them(
    store: Make,
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    place: str,
    spelled: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("t", "huggingface"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "token").write_text(TOKEN)
    del environ["HF_TOKEN"], environ["HF_HOME"]
    environ |= {name: spelled.format(place), "MINE": str(tmp_path)}
    assert len(await store().files()) == 2


async def test_a_token_that_ended_is_read_again(
    shelf: Shelf, store: Make, environ: dict[str, str]
) -> None:
    opened = store()
    kept = await opened.files()
    shelf.token = environ["HF_TOKEN"] = "n3w"  # noqa: S105  # everybody may know it
    await opened.refresh()
    assert await opened.read(kept[0]) == b"{}"


async def test_busy_and_senseless_hubs(shelf: Shelf, store: Make) -> None:
    shelf.statuses = [429, 429]
    with pytest.raises(StoreUnreachable, match="429"):
        await store().files()
    shelf.objects = {"models/tiny/a\\b.json": b"{}"}
    with pytest.raises(WeightsUnsafe):
        await store().files()
    shelf.objects = {"models/tiny/a.py": b""}
    with pytest.raises(ModelMissing, match="no file of a model"):
        await store().files()


# ── huggingface_hub's cache ───────────────────────────────────────────────────────────


def cached(home: Path, commit: str = COMMIT, files: Mapping[str, bytes] = FILES) -> Path:
    """As huggingface_hub lays it out: links from snapshots to blobs."""
    repository = home / "hub" / "models--models--tiny"
    snapshot = repository / "snapshots" / commit
    (repository / "blobs").mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    for path, content in files.items():
        blob = repository / "blobs" / sha256(content)
        blob.write_bytes(content)
        (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / path).symlink_to(blob)
    return snapshot


async def test_a_whole_build_is_read_from_the_cache(
    shelf: Shelf, store: Make, tmp_path: Path
) -> None:
    snapshot = cached(tmp_path / "hf")
    opened = store()
    kept = {file.path: file for file in await opened.files()}
    assert kept["sub/m.safetensors"].sha256 == sha256(b"weights")
    place = opened.location(kept["sub/m.safetensors"])
    assert place == FileLocation(str(snapshot / "sub/m.safetensors"))
    assert await opened.read(kept["config.json"]) == b"{}"
    assert not any("/resolve/" in seen for seen in shelf.seen), "no byte came from the hub"
    assert "huggingface_hub's cache" in opened.notes[0]


@pytest.mark.parametrize(
    ("commit", "files", "config"),
    [
        (OTHER_COMMIT, FILES, Hf()),
        (COMMIT, {"config.json": b"{}"}, Hf()),
        (COMMIT, FILES | {"config.json": b"{ }"}, Hf()),
        (COMMIT, FILES, Hf(ignore_local_cache=True)),
    ],
)
async def test_another_or_half_a_build_is_downloaded(
    store: Make, tmp_path: Path, commit: str, files: Mapping[str, bytes], config: Hf
) -> None:
    cached(tmp_path / "hf", commit, files)
    opened = store(config=config)
    assert all(isinstance(opened.location(file), HttpLocation) for file in await opened.files())


async def test_offline_a_whole_build_needs_no_hub(
    shelf: Shelf, store: Make, environ: dict[str, str], tmp_path: Path
) -> None:
    environ["HF_HUB_OFFLINE"] = "1"
    with pytest.raises(ModelMissing, match="HF_HUB_OFFLINE"):
        await store().files()
    snapshot = cached(tmp_path / "hf", OTHER_COMMIT, {"config.json": b"{}"})
    with pytest.raises(ModelMissing):
        await store().files()
    (snapshot / "m.safetensors").write_bytes(b"w")
    assert len(await store().files()) == 2
    assert len(await store(f"models/tiny@{OTHER_COMMIT}").files()) == 2
    index = b'{"weight_map": {"a": "m.safetensors", "b": "n.safetensors"}}'
    (snapshot / "model.safetensors.index.json").write_bytes(index)
    with pytest.raises(ModelMissing):
        await store().files()
    (snapshot / "n.safetensors").write_bytes(b"w")
    telling = store()
    telling.take_metadata()
    names = [file.path for file in await telling.files()]
    assert names == ["config.json", "model.safetensors.index.json"]
    assert shelf.seen == []


async def test_a_hub_that_is_away_is_not_needed_for_a_whole_build(
    store: Make, environ: dict[str, str], tmp_path: Path
) -> None:
    """As huggingface_hub has it; but what is not whole, or not wanted, is not taken."""
    environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
    with pytest.raises(StoreUnreachable):
        await store().files()
    cached(tmp_path / "hf", files={"config.json": b"{}", "m.safetensors": b"weights"})
    opened = store()
    kept = {file.path: file.sha256 for file in await opened.files()}
    assert kept["m.safetensors"] == sha256(b"weights")
    assert "could not be asked" in opened.notes[-1]
    with pytest.raises(StoreUnreachable):
        await store(config=Hf(ignore_local_cache=True)).files()
    assert opened.distrust()
    with pytest.raises(StoreUnreachable):
        await opened.files()


async def test_a_hub_that_is_only_busy_is_waited_for(
    shelf: Shelf, store: Make, tmp_path: Path
) -> None:
    cached(tmp_path / "hf", files={"config.json": b"{}", "m.safetensors": b"weights"})
    shelf.statuses = [503] * 9
    with pytest.raises(StoreUnreachable) as busy:
        await store().files()
    assert busy.value.is_busy


async def test_offline_a_gguf_model_needs_no_configuration(
    store: Make, environ: dict[str, str], tmp_path: Path
) -> None:
    environ["HF_HUB_OFFLINE"] = "1"
    snapshot = cached(tmp_path / "hf", OTHER_COMMIT, {"m-00001-of-00002.gguf": b"GGUF"})
    with pytest.raises(ModelMissing):
        await store().files()
    (snapshot / "m-00002-of-00002.gguf").write_bytes(b"GGUF")
    assert len(await store().files()) == 2


async def test_offline_a_blob_is_held_to_its_name(
    store: Make, environ: dict[str, str], tmp_path: Path
) -> None:
    environ["TRANSFORMERS_OFFLINE"] = "1"
    snapshot = cached(tmp_path / "hf", files={"m.safetensors": b"w"})
    blob = snapshot.parents[1] / "blobs" / ("a" * 40)
    blob.write_bytes(b"{}")
    (snapshot / "config.json").symlink_to(blob)
    (snapshot / "t.txt").write_bytes(b"no link")
    kept = {file.path: (file.sha256, file.told) for file in await store().files()}
    assert kept == {
        "config.json": (None, f"git:{'a' * 40}"),
        "m.safetensors": (sha256(b"w"), None),
        "t.txt": (None, None),
    }


async def test_a_cache_that_is_damaged_is_left(
    store: Make, environ: dict[str, str], tmp_path: Path
) -> None:
    snapshot = cached(tmp_path / "hf")
    opened = store()
    assert not opened.distrust(), "nothing was taken from there"
    assert isinstance(opened.location((await opened.files())[0]), FileLocation)
    assert opened.distrust()
    assert isinstance(opened.location((await opened.files())[0]), HttpLocation)
    assert not opened.distrust()
    environ["HF_HUB_OFFLINE"] = "1"
    (snapshot / "m.safetensors").write_bytes(b"w")
    offline = store()
    await offline.files()
    assert not offline.distrust(), "there is nowhere else to take it from"


@pytest.mark.parametrize("name", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"])
async def test_the_cache_is_where_the_environment_says(
    store: Make, environ: dict[str, str], tmp_path: Path, name: str
) -> None:
    home = tmp_path / "else"
    cached(home / "huggingface")
    del environ["HF_HOME"]
    environ[name] = str(home if name == "XDG_CACHE_HOME" else home / "huggingface" / "hub")
    opened = store()
    files = await opened.files()
    assert isinstance(opened.location(files[0]), FileLocation)
