"""A folder as a store, on a real file system."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from poolhand.backends.stores.base import FileLocation
from poolhand.backends.stores.errors import (
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    WeightsChanged,
    WeightsUnsafe,
)
from poolhand.backends.stores.local import LocalStore
from poolhand.config.refs import ModelRef


def store(folder: Path) -> LocalStore:
    return LocalStore(ModelRef.parse(f"file://{folder}"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "sub" / "w.safetensors").write_bytes(b"0123456789")
    return folder


async def test_content_may_be_linked_but_folders_are_not_entered(
    model: Path, tmp_path: Path
) -> None:
    blobs = tmp_path / "blobs"
    shutil.move(model / "sub", blobs)
    (model / "w.safetensors").symlink_to("../blobs/w.safetensors")
    (model / "elsewhere").symlink_to(blobs)
    files = await store(model).files()
    assert [(file.path, file.size_bytes) for file in files] == [
        ("config.json", 8),
        ("w.safetensors", 10),
    ]
    assert store(model).location(files[1]) == FileLocation(str(model / "w.safetensors"))
    assert await store(model).read(files[1]) == b"0123456789"


async def test_a_link_to_nowhere_is_missing(model: Path) -> None:
    (model / "w.safetensors").symlink_to("nowhere")
    with pytest.raises(ModelMissing, match="No such file"):
        await store(model).files()


async def test_what_is_no_regular_file_is_refused_if_it_would_be_read(model: Path) -> None:
    os.mkfifo(model / "ignored")
    assert len(await store(model).files()) == 2
    os.mkfifo(model / "w.safetensors")
    with pytest.raises(WeightsUnsafe, match="no regular file"):
        await store(model).files()


async def test_a_name_that_could_do_harm_is_refused(model: Path) -> None:
    (model / "a\nb.json").write_text("{}")
    with pytest.raises(WeightsUnsafe, match="control character"):
        await store(model).files()


async def test_each_way_of_replacing_a_file_changes_its_tag(model: Path) -> None:
    (before, _) = await store(model).files()
    (model / "new").write_text('{"a": 2}')
    (model / "new").replace(model / "config.json")
    with pytest.raises(WeightsChanged, match=r"config\.json changed"):
        await store(model).read(before)
    (model / "config.json").unlink()
    with pytest.raises(WeightsChanged):
        await store(model).read(before)


async def test_a_tag_lasts_as_long_as_the_file(model: Path) -> None:
    assert await store(model).files() == await store(model).files()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_folder_that_may_not_be_read_is_denied(model: Path) -> None:
    (model / "sub").chmod(0)
    with pytest.raises(StoreDenied, match="Permission denied"):
        await store(model).files()
    (model / "sub").chmod(0o700)


async def test_an_empty_folder_is_a_missing_model(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    with pytest.raises(ModelMissing, match="no file of a model"):
        await store(tmp_path).files()
    with pytest.raises(ModelMissing, match="no such folder"):
        await store(tmp_path / "absent").files()


async def test_a_disk_that_answers_oddly_is_unreachable(model: Path) -> None:
    (file, _) = await store(model).files()
    with pytest.raises(StoreUnreachable, match="File name too long"):
        await store(model).read(replace(file, key="x" * 5000))
