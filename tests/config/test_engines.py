"""Settings of engines that are servers: what may be added, and where one may be attached to."""

import pytest

from poolhand.config.engines import Attach, Llamacpp, Serving, Sglang, Vllm
from poolhand.config.errors import RefInvalid
from poolhand.config.flags import LLAMACPP_FLAGS, SGLANG_FLAGS, VLLM_FLAGS, allowed
from poolhand.config.rules import Invalid
from poolhand.config.settings import Engines, ModelEntry

DANGEROUS = [
    *("--trust-remote-code", "--host", "--port", "--uds", "--api-key", "--model"),
    *("--model-path", "--tokenizer", "--chat-template", "--chat-template-file"),
    *("--enable-log-requests", "--log-requests", "--log-file", "--path", "--slots", "--props"),
    *("--lora", "--lora-modules", "--middleware", "--worker-cls", "--download-dir"),
    *("--hf-repo", "--rpc", "--slot-save-path", "--media-path", "--ssl-keyfile"),
    *("--kv-transfer-config", "--logits-processors", "--compilation-config"),
]


@pytest.mark.parametrize("known", [VLLM_FLAGS, SGLANG_FLAGS, LLAMACPP_FLAGS])
def test_no_list_has_a_flag_that_opens_reads_or_tells(known: frozenset[str]) -> None:
    assert known.isdisjoint(DANGEROUS)
    assert all(name.startswith("--") for name in known)


def test_a_flag_on_the_list_is_taken_with_its_value() -> None:
    flags = ["--enforce-eager", "--kv-cache-dtype=fp8"]
    assert Vllm.model_validate({"flags": flags}).flags == tuple(flags)
    assert Sglang.model_validate({"flags": ["--dtype=auto"]}).flags == ("--dtype=auto",)
    assert Llamacpp.model_validate({"flags": ["--threads=2"]}).flags == ("--threads=2",)


@pytest.mark.parametrize("table", [Vllm, Sglang, Llamacpp])
@pytest.mark.parametrize(
    "flags",
    [
        ["--trust-remote-code"],
        ["--api-key=x"],
        ["--dtype=a", "--dtype=b", "--threads=1", "--threads=2"],
        ["-ngl"],
        ["dtype=auto"],
        ["--seed=1\n--host=0.0.0.0"],
        ["--seed="],
        ["--dtype=--trust-remote-code", "--threads=--slots"],
        ["--seed=-h"],
        ["--", "--host=0.0.0.0"],
        ["--API-KEY=x"],
        ["--api-k=x"],
        ["--trust_remote_code"],
    ],
)
def test_any_other_flag_is_refused(table: type[Vllm | Sglang | Llamacpp], flags: list[str]) -> None:
    with pytest.raises(Invalid):
        table.model_validate({"flags": flags})


@pytest.mark.parametrize(
    "flag", ["--trust-remote-code", "--api-key=x", "--mlock=--slots", "--no-mmap=--log-file"]
)
def test_a_model_s_own_flags_are_on_a_list_as_well(flag: str) -> None:
    with pytest.raises(Invalid):
        Serving.model_validate({"flags": [flag]})
    flags = ("--threads=2", "--seed=-1")
    assert Serving.model_validate({"flags": [*flags]}).flags == flags
    assert Serving.model_validate({}).flags is None


def test_a_flag_counts_once() -> None:
    with pytest.raises(ValueError, match="--seed is there twice"):
        allowed(("--seed=1", "--seed=2"), VLLM_FLAGS)


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:1/", "http://localhost:1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://127.9.9.9:1", "http://127.9.9.9:1"),
    ],
)
def test_a_server_on_this_machine_can_be_attached_to(url: str, taken: str) -> None:
    assert Attach(url=url).url == taken


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:8080",
        "http://example.com:80",
        "https://127.0.0.1:1",
        "http://127.0.0.1",
        "http://u:p@127.0.0.1:1",
        "http://127.0.0.1:1/v1",
        "http://127.0.0.1:1?x=1",
        "http://localhost.example.com:1",
        "http://127.0.0.1:port",
        "/run/x.sock",
    ],
)
def test_no_other_place_can_be_attached_to(url: str) -> None:
    with pytest.raises(Invalid):
        Attach(url=url)


def test_a_server_is_in_one_place() -> None:
    with pytest.raises(Invalid, match="either url or socket"):
        Attach(url="http://127.0.0.1:1", socket="/run/x.sock")
    assert Attach(socket="/run/x.sock").is_named
    assert not Attach().is_named


def entry(**more: object) -> ModelEntry:
    return ModelEntry.model_validate({"id": "m", **more})


@pytest.mark.parametrize("words", [{}, {"ref": "file:///m"}, {"external": {"dialect": "openai"}}])
def test_who_attaches_says_where(words: dict[str, object]) -> None:
    with pytest.raises(Invalid, match=r"\[models.attach\] with url or socket go together"):
        _ = entry(engine="attach", **words)


def test_an_attached_model_has_its_weights_elsewhere() -> None:
    attached = entry(engine="attach", attach={"url": "http://127.0.0.1:1"})
    assert attached.is_elsewhere
    assert attached.where == "attached at http://127.0.0.1:1"
    with pytest.raises(RefInvalid, match="nothing to fetch"):
        _ = attached.place
    assert not entry(ref="file:///m").is_elsewhere


@pytest.mark.parametrize(
    "odd",
    [
        {"engine": "attach"},
        {"engine": "attach", "ref": "file:///m"},
        {"attach": {"url": "http://127.0.0.1:1"}},
        {"attach": {"url": "http://127.0.0.1:1"}, "engine": "mlx"},
        {"attach": {"url": "http://127.0.0.1:1"}, "engine": "attach", "ref": "file:///m"},
        {"attach": {"socket": "/s"}, "engine": "attach", "external": {"dialect": "openai"}},
    ],
)
def test_a_model_is_in_one_place_and_says_so(odd: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        entry(**odd)


@pytest.mark.parametrize("gpus", ["0", "0,1", "12,3"])
def test_boards_are_numbers(gpus: str) -> None:
    assert Serving(gpus=gpus).gpus == gpus
    assert Engines.model_validate({"gpus": [gpus]}).gpus == (gpus,)


@pytest.mark.parametrize("gpus", ["", "0,", "all", "-1", "0 1", "GPU-1", "100"])
def test_and_nothing_else(gpus: str) -> None:
    with pytest.raises(Invalid):
        Serving(gpus=gpus)


@pytest.mark.parametrize("line", ["qwen=vllm", "org/m=llamacpp"])
def test_a_pool_has_an_engine(line: str) -> None:
    assert Engines.model_validate({"by_pool": [line]}).by_pool == (line,)


@pytest.mark.parametrize("line", ["qwen", "=vllm", "qwen=echo", "qwen=attach", "qwen=auto"])
def test_that_is_a_real_one(line: str) -> None:
    with pytest.raises(Invalid):
        Engines.model_validate({"by_pool": [line]})


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_weights_may_stay_in_s3_for_a_server_that_reads_them_there(engine: str) -> None:
    told = {"id": "org/m", "ref": "s3://bucket/m", "serving": {"load_format": "stream"}}
    entry = ModelEntry.model_validate({**told, "engine": engine})
    assert entry.is_streamed
    assert entry.is_elsewhere
    assert (str(entry.place), entry.where) == ("s3://bucket/m", "s3://bucket/m")


@pytest.mark.parametrize(
    "how",
    [
        {"engine": "auto"},
        {"engine": "llamacpp"},
        {"ref": "gs://bucket/m"},
        {"ref": "file:///m"},
        {"serving": {"load_format": "stream", "adapters": ["a=s3://bucket/a"]}},
    ],
)
def test_nobody_else_reads_them_there(how: dict[str, object]) -> None:
    told = {"id": "org/m", "ref": "s3://bucket/m", "engine": "vllm"}
    with pytest.raises(Invalid, match=r"stream|adapters are for"):
        ModelEntry.model_validate({**told, "serving": {"load_format": "stream"}} | how)
