"""What agent and child say to each other comes through whole, and nothing else means anything."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.lines import (
    Alone,
    FetchJob,
    Mode,
    Result,
    decode,
    decode_job,
    decode_limits,
    encode_error,
    encode_job,
    encode_limit,
    encode_progress,
    encode_result,
    take_job,
)
from poolhand.backends.stores.base import Progress
from poolhand.backends.stores.errors import (
    CacheBusy,
    CacheFull,
    DiskFailed,
    DiskFull,
    FetchDied,
    ModelMissing,
    StoreDenied,
    StoreUnreachable,
    StoreUnsafe,
    StoreUnsupported,
    WeightsChanged,
    WeightsCorrupt,
    WeightsError,
    WeightsUnsafe,
    WeightsUnverified,
)
from poolhand.config.errors import AgentError, ConfigInvalid
from poolhand.config.peers import Peers
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3, Stores, Weights

JOB = FetchJob(
    "org/toy",
    ModelRef.parse("s3://bucket/a/b"),
    Stores(s3=S3(endpoint="http://127.0.0.1:9", addressing="path")),
    Weights(connections=3),
    "/var/cache",
)

ERRORS: list[AgentError] = [
    CacheBusy(model="m"),
    CacheFull(needs_bytes=3, free_bytes=2, lacking_bytes=1, bound="quota", bound_bytes=4),
    DiskFull(needs_bytes=3 * 2**30, free_bytes=2**30),
    DiskFailed(path="p", reason="r"),
    StoreUnsafe(store="s", reason="r"),
    FetchDied(model="m", exit_code=3, tail="x"),
    ModelMissing(model="m", reason="r"),
    StoreDenied(store="s", reason="r"),
    StoreUnreachable(store="s", reason="r"),
    StoreUnsupported(scheme="gs", needs="x"),
    WeightsChanged(model="m", file="f"),
    WeightsCorrupt(model="m", file="f", reason="r"),
    WeightsUnsafe(model="m", reason="r"),
    WeightsUnverified(model="m", file="f", others=2),
    ConfigInvalid(path="p", line=None, problem="x"),
]


@pytest.mark.parametrize("mode", ["fetch", "list"])
@pytest.mark.parametrize(
    "ref",
    [
        "s3://bucket/a",
        "s3://bucket",
        "file:///a/b",
        "file:///a%2520b",
        "hf://org/name@main",
        "hf://org/name@main/q4/m.gguf",
        "ngc://org/m:1",
    ],
)
def test_a_job_arrives_as_it_was(ref: str, mode: Mode) -> None:
    job = replace(JOB, ref=ModelRef.parse(ref))
    line = encode_job(job, mode)
    assert decode_job(line) == (job, mode)
    assert line.count(b"\n") == 1


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_an_error_arrives_as_it_was(error: AgentError) -> None:
    heard = decode(encode_error(error))
    assert isinstance(heard, type(error))
    assert isinstance(heard, AgentError)
    assert str(heard) == str(error)
    assert heard.load_text == error.load_text
    assert vars(heard).items() <= vars(error).items()


def test_every_leaf_of_the_family_is_tried_above() -> None:
    leaves = {kind for kind in WeightsError.__subclasses__() if "code" in vars(kind)}
    assert leaves <= {type(error) for error in ERRORS}


@given(st.integers(0), st.integers(0), st.integers(0), st.none() | st.floats(0, 1e12))
def test_progress_arrives_as_it_was(
    done: int, total: int, resumed: int, rate: float | None
) -> None:
    progress = Progress(done, total, resumed, rate, eta_s=rate)
    assert decode(encode_progress("fetch", progress)) == progress


def test_a_result_arrives_as_it_was() -> None:
    assert decode(encode_result(Result(5, 2))) == Result(5, 2)


@pytest.mark.parametrize(
    "said",
    [
        {},
        [],
        "text",
        {"progress": 3},
        {"progress": {"bytes_done": "1"}},
        {"result": {"size_bytes": 1}},
        {"error": {"code": "unheard_of", "sentence": "x", "facts": {}}},
        {"error": None},
    ],
)
def test_what_means_nothing(said: object) -> None:
    assert decode(json.dumps(said).encode()) is None


@given(st.binary(max_size=100))
def test_any_line_is_survived(line: bytes) -> None:
    assert decode(line) is None


def test_limits_are_heard_in_order_and_nonsense_is_not() -> None:
    said = encode_limit(5) + b"what\n" + encode_limit(None) + b'{"limit": 0}\n{"limit": "1"}\n'
    assert decode_limits(said) == [5, None]
    assert decode_limits(b"") == []


def test_an_error_of_the_configuration_comes_through_whole_enough_to_be_told() -> None:
    told = decode(encode_error(ConfigInvalid(path="a.toml", line=None, problem="no")))
    assert isinstance(told, ConfigInvalid)
    assert (str(told), told.line, told.others) == ("a.toml: no", None, ())


def test_the_child_takes_plain_values_of_what_the_agent_has_validated() -> None:
    s3 = S3(endpoint="http://127.0.0.1:1", unsigned=True)
    weights = Weights(connections=3, max_bytes_per_s=7)
    ref = ModelRef.parse("s3://bucket/a/b")
    job = FetchJob("a/b", ref, Stores(s3=s3), weights, "/cache", Alone(is_all=False))
    taken, mode = take_job(encode_job(job, "fetch"))
    assert mode == "fetch"
    assert (taken.model, taken.ref, taken.cache_dir) == ("a/b", ref, "/cache")
    assert taken.alone == Alone(is_all=False)
    assert vars(taken.stores.s3) == s3.model_dump()
    assert vars(taken.weights) == weights.model_dump()
    assert not taken.peers.is_on
    with pytest.raises(AttributeError):
        _ = getattr(taken.weights, "conections")  # noqa: B009  # no key of that name


@pytest.mark.parametrize("ref", ["hf://org/name", "gs://bucket/a", "s3://bucket/a"])
def test_where_values_are_not_enough_it_validates_as_before(ref: str) -> None:
    peers = Peers(urls=("10.0.0.1:7717",), key_file="/k") if ref.startswith("s3") else Peers()
    job = FetchJob("a", ModelRef.parse(ref), Stores(), Weights(), "/cache", peers=peers)
    assert take_job(encode_job(job, "list")) == (job, "list")


def test_the_childs_start_takes_no_library_that_validates() -> None:
    told = "import sys, poolhand.agent.weights.fetcher as f; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, check=True)  # noqa: S603  # our own
    assert done.stdout.split() == [b"False"]
