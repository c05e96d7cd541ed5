"""A tensor is told of when all of its bytes are here, once, and taken back with its file."""

import json
import random
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from weights_origin import CHILD, REF, Origin, quick, stores_of, toy

from poolhand.agent.weights.cache import PARTIAL_NAME
from poolhand.agent.weights.fetch import fetch
from poolhand.agent.weights.journal import Claim
from poolhand.agent.weights.lines import FetchJob, Tensors, decode, encode_tensors
from poolhand.agent.weights.parts import Part, Target
from poolhand.agent.weights.plan import Grid
from poolhand.agent.weights.tensors import MOST_NAMES, Arriving
from poolhand.backends.stores.base import RemoteFile

BLOCK = 64
PATH = "model.safetensors"


def shard(lengths: list[int]) -> tuple[bytes, dict[str, range]]:
    """A file of such tensors, and where each of them lies."""
    at, table, spans = 0, dict[str, object](), dict[str, range]()
    for number, length in enumerate(lengths):
        table[f"t{number}"] = {"dtype": "U8", "shape": [length], "data_offsets": [at, at + length]}
        spans[f"t{number}"] = range(at, at + length)
        at += length
    header = json.dumps(table).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(at)
    base = 8 + len(header)
    return data, {name: range(base + s.start, base + s.stop) for name, s in spans.items()}


def part_of(folder: Path, data: bytes, path: str = PATH) -> Part:
    blocks = -(-len(data) // BLOCK)
    target = Target(RemoteFile(path, len(data), None, path))
    part = Part(folder, target, Claim(bytearray(blocks)), Grid(BLOCK, BLOCK))
    (folder / PARTIAL_NAME).mkdir(parents=True, exist_ok=True)
    _ = (folder / PARTIAL_NAME / path).write_bytes(data)
    return part


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_told_when_all_of_it_is_here_and_only_once(
    lengths: list[int], order: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data, spans = shard(lengths)
        part = part_of(Path(folder), data)
        arriving = Arriving([part], Grid(BLOCK, BLOCK))
        blocks = list(range(len(part.have)))
        order.shuffle(blocks)
        told: list[str] = []
        for block in blocks:
            part.have[block] = 1
            for news in arriving.look():
                for name in news.names:
                    span = spans[name]
                    assert all(part.have[span[0] // BLOCK : span[-1] // BLOCK + 1])
                    told.append(name)
        assert told == list(spans), "in the order of their bytes, each once"


def test_nothing_is_told_of_a_header_that_does_not_hold_together(tmp_path: Path) -> None:
    data, _ = shard([10, 20])
    bad = data.replace(b"[10, 30]", b"[10, 31]")
    part = part_of(tmp_path, bad)
    part.have[:] = b"\x01" * len(part.have)
    assert Arriving([part], Grid(BLOCK, BLOCK)).look() == []


def test_what_comes_anew_is_taken_back_and_told_again(tmp_path: Path) -> None:
    data, spans = shard([100, 100])
    part = part_of(tmp_path, data)
    other = part_of(tmp_path, b"{}", "config.json")
    part.have[:] = other.have[:] = b"\x01" * len(part.have)
    arriving = Arriving([other, part], Grid(BLOCK, BLOCK))
    assert arriving.look() == [Tensors(PATH, tuple(spans))]
    part.have[-1] = 0
    assert arriving.look([0, 1]) == [Tensors(PATH, is_forgotten=True), Tensors(PATH, ("t0",))]
    part.have[-1] = 1
    assert arriving.look() == [Tensors(PATH, ("t1",))]


def test_many_names_go_in_many_lines(tmp_path: Path) -> None:
    data, spans = shard([1] * (2 * MOST_NAMES + 1))
    part = part_of(tmp_path, data)
    part.have[:] = b"\x01" * len(part.have)
    told = Arriving([part], Grid(BLOCK, BLOCK)).look()
    assert [len(news.names) for news in told] == [MOST_NAMES, MOST_NAMES, 1]
    assert [name for news in told for name in news.names] == list(spans)


@given(st.text(max_size=20), st.lists(st.text(max_size=8), max_size=4), st.booleans())
def test_a_line_says_it(path: str, names: list[str], is_forgotten: bool) -> None:  # noqa: FBT001
    tensors = Tensors(path, tuple(names), is_forgotten)
    assert decode(encode_tensors(tensors)) == tensors


async def test_a_fetch_tells_of_tensors_before_it_is_over(tmp_path: Path) -> None:
    objects = toy(shard_bytes=300_000)
    told: list[Tensors] = []
    with Origin(objects) as origin:
        origin.pause_s = 0.05
        job = FetchJob("org/toy", REF, stores_of(origin), quick(), str(tmp_path))
        _ = await fetch(job, told=lambda _: None, arrived=told.append, command=CHILD)
    shards = {name for name in objects if name.endswith(".safetensors")}
    assert {tensors.path for tensors in told} <= shards
    assert all(tensors.names == ("t",) for tensors in told)
