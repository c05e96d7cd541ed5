"""The scripted checkpoint as files: digests that never change, and a folder engines accept."""

import hashlib
import json
from argparse import ArgumentParser
from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict

import pytest

from poolhand.agent.dev.checkpoint import (
    PRESETS,
    add_arguments,
    expected_text,
    main,
    make_model,
)


class Place(TypedDict):
    """What a safetensors header says of one tensor."""

    dtype: str
    shape: list[int]
    data_offsets: list[int]


PINNED: list[tuple[dict[str, str | int], str]] = [
    (
        {"preset": "nano"},
        "e803a97468ea9e4bc97a8610c798e4bf8612d55eddeac0e0e5958a7434c2c0e7",
    ),
    (
        {"preset": "nano", "name": "alpha", "seed": 3, "shards": 1, "dtype": "F16"},
        "f0cdcb7dfbcfd4a301a95da862c39915edcc0c1c32b531449f62bee48a13ff09",
    ),
    (
        {"preset": "nano", "name": "a-b_9", "seed": 1, "shards": 3, "dtype": "F32"},
        "510a8d9ec461599284d5c1d0f6373fc51fb5f4f6dc9dbd43452acaed341b1df2",
    ),
    (
        {},
        "b35bdebbcae9b4eedb4cd71039553fdf59ee20cc78e7e2768319cfa0c37caa79",
    ),
    (
        {"preset": "small", "shards": 9},
        "92b9b3e35c0b927007ef63aeb5fdd7dac784ea00e3c162d62aff58e45c26b93a",
    ),
]
"""Options, and the digest of what `sha256sum *` prints for the folder."""


@pytest.mark.parametrize(("options", "digest"), PINNED)
def test_the_same_options_give_the_same_bytes_for_ever(
    tmp_path: Path, options: dict[str, Any], digest: str
) -> None:
    files = make_model(tmp_path, **options)
    lines = "".join(f"{facts['sha256']}  {file}\n" for file, facts in sorted(files.items()))
    assert hashlib.sha256(lines.encode()).hexdigest() == digest


def test_what_is_reported_is_what_lies_on_disk(tmp_path: Path) -> None:
    files = make_model(tmp_path / "deep" / "down", preset="nano", shards=3)
    found = {path.name: path.read_bytes() for path in (tmp_path / "deep" / "down").iterdir()}
    assert set(found) == set(files)
    for name, facts in files.items():
        assert facts["size"] == len(found[name])
        assert facts["sha256"] == hashlib.sha256(found[name]).hexdigest()


def headers(folder: Path) -> dict[str, dict[str, Place]]:
    read: dict[str, dict[str, Place]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        raw = path.read_bytes()
        end = 8 + int.from_bytes(raw[:8], "little")
        read[path.name] = json.loads(raw[8:end])
        assert end % 8 == 0, "the tensors begin aligned"
        offsets = [p["data_offsets"] for n, p in read[path.name].items() if n != "__metadata__"]
        assert offsets[0][0] == 0
        assert all(a[1] == b[0] for a, b in pairwise(offsets)), "no holes"
        assert offsets[-1][1] == len(raw) - end
        del read[path.name]["__metadata__"]
    return read


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("shards", [1, 2, 5])
def test_the_index_names_each_tensor_once_and_where_it_is(
    tmp_path: Path, shards: int, dtype: str
) -> None:
    make_model(tmp_path, preset="nano", shards=shards, dtype=dtype)
    found = headers(tmp_path)
    assert len(found) == shards
    places = {tensor: file for file, tensors in found.items() for tensor in tensors}
    assert len(places) == sum(map(len, found.values())) == 3 + 9 * PRESETS["nano"].layers
    if shards > 1:
        index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
        assert index["weight_map"] == places
    else:
        assert not (tmp_path / "model.safetensors.index.json").exists()


def test_the_config_agrees_with_the_tensors(tmp_path: Path) -> None:
    make_model(tmp_path, preset="nano", shards=1)
    config = json.loads((tmp_path / "config.json").read_text())
    tensors = headers(tmp_path)["model.safetensors"]
    wide, vocab = config["hidden_size"], config["vocab_size"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    assert tensors["model.embed_tokens.weight"]["shape"] == [vocab, wide]
    assert tensors["model.layers.1.self_attn.k_proj.weight"]["shape"] == [keys, wide]
    assert tensors["model.layers.0.mlp.down_proj.weight"]["shape"] == [
        wide,
        config["intermediate_size"],
    ]


def test_the_name_is_part_of_what_it_says_and_of_the_files(tmp_path: Path) -> None:
    assert expected_text("alpha") != expected_text("beta")
    one = make_model(tmp_path / "a", preset="nano", name="alpha")
    two = make_model(tmp_path / "b", preset="nano", name="beta")
    assert one["tokenizer.json"] != two["tokenizer.json"]


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "9lives"},
        {"name": "../up"},
        {"name": "a" * 33},
        {"name": "a\n"},
        {"preset": "huge"},
        {"dtype": "Q4"},
        {"shards": 0},
    ],
)
def test_options_that_cannot_be_are_refused_before_a_byte_is_written(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"name|no checkpoint"):
        make_model(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    add_arguments(parser)
    words = [str(tmp_path), "--preset", "nano", "--name", "alpha", "--shards", "1"]
    assert main(parser.parse_args(words)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {path.name for path in tmp_path.iterdir()}
