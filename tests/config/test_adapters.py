"""Adapters as lines of a configuration."""

import pytest

from poolhand.config.adapters import MOST, adapter, doubled
from poolhand.config.engines import Serving
from poolhand.config.rules import Invalid
from poolhand.config.settings import ModelEntry, Settings


def entry(name: str = "org/a", **more: object) -> dict[str, object]:
    return {"id": name, "ref": "s3://models/a", "engine": "vllm"} | more


def offering(*entries: dict[str, object]) -> Settings:
    told = {"coordinator": {"url": "ws://127.0.0.1:1"}, "models": list(entries)}
    return Settings.model_validate(told)


def test_a_line_is_a_name_and_a_place() -> None:
    one = adapter("org/a-legal=s3://bucket/lora/x=1")
    assert one.name == "org/a-legal"
    assert str(one.ref) == "s3://bucket/lora/x=1"


@pytest.mark.parametrize(
    "line",
    ["s3://bucket/x", "=s3://bucket/x", "a=", "a b=s3://bucket/x", "a=b", "a=s4://b/x", "a=s3://"],
)
def test_a_line_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(Invalid, match=r"NAME=REF|[a-z]"):
        Serving.model_validate({"adapters": [line]})


def test_the_first_double_is_named() -> None:
    assert doubled(["b", "a", "b", "a"]) == "a"
    assert doubled(["b", "a"]) is None
    assert doubled([]) is None


def test_a_model_has_so_many_and_each_name_once() -> None:
    many = [f"a{n}=s3://bucket/{n}" for n in range(MOST + 1)]
    assert len(ModelEntry.model_validate(entry(serving={"adapters": many[1:]})).adapters) == MOST
    with pytest.raises(Invalid, match="16 adapters at most"):
        Serving.model_validate({"adapters": many})
    with pytest.raises(Invalid, match="two adapters have the name 'a0'"):
        Serving.model_validate({"adapters": [many[0], many[0]]})


@pytest.mark.parametrize(
    "how",
    [
        {"ref": "s3://models/a", "engine": "mlx"},
        {"ref": "s3://models/a", "engine": "echo"},
        {"engine": "attach", "attach": {"url": "http://127.0.0.1:1"}},
        {"external": {"dialect": "openai", "model": "x"}},
    ],
)
def test_adapters_are_for_servers_of_ours(how: dict[str, object]) -> None:
    serving = {"adapters": ["x=s3://bucket/x"]}
    with pytest.raises(Invalid, match=r"vLLM, SGLang or llama\.cpp"):
        ModelEntry.model_validate({"id": "org/a", "serving": serving} | how)


@pytest.mark.parametrize("name", ["org/a", "org/b", "tiny", "x"])
def test_no_adapter_is_called_like_anything_else(name: str) -> None:
    one = entry(aliases=["tiny"], serving={"adapters": [f"{name}=s3://bucket/x"]})
    other = entry("org/b", serving={"adapters": ["x=s3://bucket/y"]})
    with pytest.raises(Invalid, match=f"adapter's name '{name}' is"):
        offering(one, other)
    assert offering(entry(aliases=["org/a"])), "an alias may be called like its model"
