"""Command lines of servers, held against golden files for the versions that they name."""

from pathlib import Path

import pytest

from poolhand.backends.engines.profiles import CannotServe, Plan, Profile, Tuning, kind_of_failure
from poolhand.backends.engines.profiles_attach import AttachProfile
from poolhand.backends.engines.profiles_llamacpp import LlamacppProfile, gguf_file
from poolhand.backends.engines.profiles_sglang import SglangProfile
from poolhand.backends.engines.profiles_vllm import VllmProfile

GOLDEN = Path(__file__).parents[2] / "data" / "engines"

PLAIN = Plan(
    ("/opt/engine/bin/run",),
    "/cache/org/model",
    ("config.json", "model.gguf"),
    socket_path="/tmp/poolhand-x/s.sock",  # noqa: S108 - nothing is made there
    port=4711,
    folder="/tmp/poolhand-x",  # noqa: S108 - likewise
    key="KEY",
)
FULL = Plan(
    ("/opt/engine/bin/run",),
    "/cache/org/model",
    ("a-00001-of-00002.gguf", "a-00002-of-00002.gguf", "mmproj-a.gguf"),
    socket_path="/tmp/poolhand-x/s.sock",  # noqa: S108 - nothing is made there
    port=4711,
    folder="/tmp/poolhand-x",  # noqa: S108 - likewise
    key="KEY",
    context_tokens=8192,
    max_running=16,
    tensor_parallel=2,
    gpus="2,3",
    memory_ratio=0.85,
    load_format="runai_streamer",
    sleep_after_s=600,
    stop_timeout_s=20,
    adapters=(
        Tuning("adapter-1", "/cache/org/legal", ("legal.gguf",), rank=8),
        Tuning("adapter-2", "/cache/org/terse", ("terse.gguf",), rank=24),
    ),
    images=True,
    flags=("--seed=1",),
)
PROFILES: dict[str, Profile] = {
    "vllm-0.33.0": VllmProfile(),
    "sglang-0.5.23": SglangProfile(),
    "llamacpp-0.3.36": LlamacppProfile(),
}


def told(profile: Profile, plan: Plan) -> str:
    launch = profile.launch(plan)
    variables = [f"{name}={value}" for name, value in sorted(launch.environment.items())]
    files = [f"{name}: {text.rstrip()}" for name, text in launch.files.items()]
    words: list[str] = []
    for word in launch.argv:
        is_value = words and words[-1].startswith("--") and not word.startswith("--")
        words[-1:] = [f"{words[-1]} {word}"] if is_value else [*words[-1:], word]
    return "\n".join([*variables, *words, *files]) + "\n"


@pytest.mark.parametrize("plan", [PLAIN, FULL], ids=["plain", "full"])
@pytest.mark.parametrize("name", PROFILES)
def test_a_command_line_is_the_one_that_was_looked_at(name: str, plan: Plan) -> None:
    which = "plain" if plan is PLAIN else "full"
    assert told(PROFILES[name], plan) == (GOLDEN / f"{name}-{which}.txt").read_text()


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_no_repr_and_no_command_line_shows_a_key(profile: Profile) -> None:
    launch = profile.launch(PLAIN)
    assert "KEY" not in repr(launch) + repr(PLAIN) + " ".join(launch.argv)
    assert "KEY" in str(launch.environment) + str(launch.files)


@pytest.mark.parametrize("profile", [VllmProfile(), SglangProfile()], ids=["vllm", "sglang"])
def test_a_model_is_spread_over_no_more_boards_than_it_has(profile: Profile) -> None:
    with pytest.raises(CannotServe, match=r"tensor_parallel is 2, and 1 board\(s\) are given"):
        profile.launch(Plan(("x",), "/m", port=1, gpus="0", tensor_parallel=2))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["m.gguf"], "m.gguf"),
        (["README.md", "m-00002-of-00002.gguf", "m-00001-of-00002.gguf"], "m-00001-of-00002.gguf"),
        (["mmproj-m.gguf", "m.gguf"], "m.gguf"),
        (["M-MMPROJ.gguf", "m.gguf"], "m.gguf"),
    ],
)
def test_the_gguf_file_is_found(files: list[str], found: str) -> None:
    assert gguf_file(files) == found


def test_a_shard_that_is_missing_is_told_before_the_server_starts() -> None:
    there = ["m-00001-of-00003.gguf", "m-00003-of-00003.gguf", "n-00002-of-00003.gguf"]
    with pytest.raises(CannotServe, match="1 of 3 shards missing"):
        gguf_file(there)


@pytest.mark.parametrize(
    "files", [[], ["model.safetensors"], ["a.gguf", "b.gguf"], ["m-00002-of-00002.gguf"]]
)
def test_without_one_there_is_nothing_to_serve(files: list[str]) -> None:
    with pytest.raises(CannotServe, match="takes one GGUF model"):
        gguf_file(files)


def test_what_runs_already_is_not_started() -> None:
    with pytest.raises(CannotServe):
        AttachProfile().launch(PLAIN)


@pytest.mark.parametrize(
    ("tail", "kind"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "out_of_memory"),
        ("ValueError: No available memory for the cache blocks.", "out_of_memory"),
        ("RuntimeError: Not enough memory. Please try to increase", "out_of_memory"),
        ("ggml_backend_cuda_buffer_type_alloc_buffer: failed to allocate", "out_of_memory"),
        ("std::bad_alloc", "out_of_memory"),
        ("E llama_model_load_from_file_impl: failed to load model", "bad_model"),
        ("ValueError: Model architectures ['X'] is not supported", "bad_model"),
        ("Segmentation fault", "exited"),
        ("", "exited"),
    ],
)
def test_the_end_of_a_log_gives_the_reason_away(tail: str, kind: str) -> None:
    assert kind_of_failure(tail) == kind


def test_an_adapter_is_asked_for_as_each_server_has_it() -> None:
    assert VllmProfile().adapted(1) == {"model": "adapter-2"}
    assert SglangProfile().adapted(1) == {"lora_path": "adapter-2"}
    assert LlamacppProfile().adapted(1) == {"lora": [{"id": 1, "scale": 1.0}]}
    assert AttachProfile().adapted(1) == {}
    for profile in (VllmProfile(), SglangProfile(), AttachProfile()):
        assert profile.adapted(None) == {}
    assert LlamacppProfile().adapted(None) == {"lora": [{"id": 0, "scale": 0.0}]}


def plan_with(*adapters: Tuning) -> Plan:
    return Plan(("x",), "/m", ("m.gguf",), port=1, adapters=adapters)


def test_an_adapter_too_wide_for_its_server_is_refused() -> None:
    argv = VllmProfile().launch(plan_with(Tuning("adapter-1", "/a", rank=None))).argv
    assert "--max-lora-rank" not in argv
    with pytest.raises(CannotServe, match="rank 513, and 512 is the most"):
        VllmProfile().launch(plan_with(Tuning("adapter-1", "/a", rank=513)))


@pytest.mark.parametrize("folder", ["/a,b", '/a"b'])
def test_llamacpp_takes_no_adapter_whose_path_it_would_take_apart(folder: str) -> None:
    with pytest.raises(CannotServe, match="comma"):
        LlamacppProfile().launch(plan_with(Tuning("adapter-1", folder, ("a.gguf",))))


def test_llamacpp_takes_adapters_as_gguf_alone() -> None:
    with pytest.raises(CannotServe, match="takes one GGUF"):
        LlamacppProfile().launch(plan_with(Tuning("adapter-1", "/a", ("a.safetensors",))))
