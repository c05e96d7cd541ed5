"""From settings to a plan: a model's own wishes win, and a slot has its boards."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from poolhand.backends.engines.errors import EngineMissing
from poolhand.backends.engines.profiles import Plan
from poolhand.backends.engines.profiles_vllm import VllmProfile
from poolhand.backends.engines.served_choice import attached_engine, own_engine, plan_of
from poolhand.backends.engines.served_programs import OwnName, program_of
from poolhand.config.settings import Engines, ModelEntry, Settings


def settings(**engines: object) -> Settings:
    return Settings.model_validate({"coordinator": {"url": "ws://127.0.0.1:1"}, "engines": engines})


def entry(**more: object) -> ModelEntry:
    return ModelEntry.model_validate({"id": "org/m", "ref": "file:///m", **more})


def plan(name: OwnName, model: ModelEntry, chosen: Settings, slot: int = 0) -> Plan:
    return plan_of(name, model, "/m", chosen, slot, ("x",))


def test_an_engines_table_holds_for_all_its_models() -> None:
    table = {"tensor_parallel": 2, "memory_ratio": 0.5, "flags": ["--seed=1"]}
    told = plan("vllm", entry(context_tokens=99), settings(vllm=table, server={"max_running": 3}))
    assert (told.tensor_parallel, told.memory_ratio) == (2, 0.5)
    assert (told.flags, told.max_running, told.context_tokens) == (("--seed=1",), 3, 99)


@pytest.mark.parametrize("name", ["vllm", "llamacpp"])
def test_it_sleeps_where_it_would_be_unloaded_for_being_idle(name: OwnName) -> None:
    told = {"coordinator": {"url": "ws://127.0.0.1:1"}, "engines": {name: {"sleep": True}}}
    never = Settings.model_validate(told)
    chosen = Settings.model_validate({**told, "slots": {"idle_unload_s": 60.0}})
    assert plan(name, entry(), chosen).sleep_after_s == 60.0
    assert plan(name, entry(pinned=True), chosen).sleep_after_s == 0.0
    assert plan(name, entry(), never).sleep_after_s == 0.0
    assert plan("sglang", entry(), chosen).sleep_after_s == 0.0


def test_a_models_own_table_wins() -> None:
    none: list[str] = []
    own: dict[str, object] = {"max_running": 5, "tensor_parallel": 4, "gpus": "4,5,6,7"}
    own |= {"memory_ratio": 0.25, "load_format": "safetensors", "flags": none}
    chosen = settings(gpus=["0", "1"], sglang={"flags": ["--dtype=auto"], "memory_ratio": 0.9})
    told = plan("sglang", entry(serving=own), chosen)
    assert (told.max_running, told.tensor_parallel, told.gpus) == (5, 4, "4,5,6,7")
    assert (told.memory_ratio, told.load_format, told.flags) == (0.25, "safetensors", ())


def test_each_slot_has_boards_of_its_own() -> None:
    chosen = settings(gpus=["0,1", "2,3"])
    told = [plan("vllm", entry(), chosen, slot).gpus for slot in range(3)]
    assert told == ["0,1", "2,3", ""]


def test_llama_cpp_has_no_use_for_what_it_does_not_know() -> None:
    own = {"tensor_parallel": 4, "memory_ratio": 0.25, "load_format": "fastsafetensors"}
    told = plan("llamacpp", entry(serving=own), settings())
    assert (told.tensor_parallel, told.memory_ratio, told.load_format) == (1, None, "auto")


@pytest.mark.parametrize("name", ["vllm", "sglang", "llamacpp"])
def test_a_named_program_is_taken_if_it_can_be_run(name: OwnName, tmp_path: Path) -> None:
    def named(program: str) -> Engines:
        return settings(**{name: {"program": program}}).engines

    assert program_of(name, named(sys.executable)) == (sys.executable,)
    (tmp_path / "text").touch(0o600)
    engine = settings(**{name: {"program": str(tmp_path / "text")}})
    if program_of(name, engine.engines) is None:  # none is installed beside us either
        with pytest.raises(EngineMissing, match=f"engines.{name}.program"):
            own_engine(name, entry(), "/m", engine, 0, {})


def test_the_path_is_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("vllm", "llama-server"):
        (tmp_path / name).touch(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program_of("llamacpp", Engines()) == (str(tmp_path / "llama-server"),)
    monkeypatch.setenv("PATH", "/nowhere")
    assert program_of("llamacpp", Engines()) is None


def test_an_engine_is_named_after_its_server() -> None:
    chosen = settings(vllm={"program": sys.executable})
    assert own_engine("vllm", entry(), "/m", chosen, 0, {}).name == "vllm"
    attached = ModelEntry.model_validate(
        {"id": "org/m", "engine": "attach", "attach": {"url": "http://127.0.0.1:1"}}
    )
    assert attached_engine(attached, chosen).name == "attach"


def test_weights_that_stay_in_their_store_are_served_from_there() -> None:
    told = {"ref": "s3://bucket/m", "engine": "vllm", "serving": {"load_format": "stream"}}
    streamed = ModelEntry.model_validate({"id": "org/m", **told})
    plan = plan_of("vllm", streamed, "", settings(), 0, ("/bin/vllm",))
    assert plan.model == "s3://bucket/m"
    assert plan.load_format == "runai_streamer"
    launch = VllmProfile().launch(replace(plan, port=1, store={"AWS_PROFILE": "p"}))
    assert launch.argv[:3] == ("/bin/vllm", "serve", "s3://bucket/m")
    assert launch.environment["AWS_PROFILE"] == "p"
    assert "AWS_PROFILE" not in repr(plan) + repr(launch)
