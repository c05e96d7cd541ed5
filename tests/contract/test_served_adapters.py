"""Adapters beside a model, each asked for by its name: scripted servers, and llama.cpp's own."""

import json
from pathlib import Path

import pytest
from servers import PROFILES, llama, scripted

from poolhand.agent.dev.checkpoint import expected_text
from poolhand.backends.engines.base import Delta, Prompt
from poolhand.backends.engines.served import ServedEngine


def adapter(folder: Path, rank: int = 8) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, "peft_type": "LORA"}))
    (folder / "adapter.gguf").touch()
    return folder


def asked(model: str | None, most: int = 2) -> Prompt:
    said = [{"role": "user", "content": "hello"}]
    body: dict[str, object] = {"messages": said, "temperature": 0}
    return Prompt("r", "chat", body if model is None else {**body, "model": model}, most)


async def text_of(engine: ServedEngine, model: str | None) -> str:
    pieces = [piece async for piece in engine.generate(asked(model))]
    return "".join(piece.text for piece in pieces if isinstance(piece, Delta))


@pytest.mark.parametrize("kind", PROFILES)
async def test_each_name_is_answered_by_its_own_adapter(kind: str, tmp_path: Path) -> None:
    legal, terse = adapter(tmp_path / "legal"), adapter(tmp_path / "terse", rank=24)
    names = {"org/model-legal": legal, "org/model-terse": terse}
    engine = scripted("steady", tmp_path, kind, adapters=names)
    try:
        loaded = await engine.start()
        assert loaded.context_tokens == 1000
        assert await text_of(engine, "org/model") == "w0 w1"
        assert await text_of(engine, None) == "w0 w1"
        assert await text_of(engine, "org/model-legal") == "adapter-1:w0 adapter-1:w1"
        assert await text_of(engine, "org/model-terse") == "adapter-2:w0 adapter-2:w1"
    finally:
        await engine.stop()


async def test_a_request_can_reach_for_no_adapter_in_another_way(tmp_path: Path) -> None:
    names = {"org/model-legal": adapter(tmp_path / "legal")}
    engine = scripted("steady", tmp_path, "llamacpp", adapters=names)
    try:
        await engine.start()
        reaching = Prompt(
            "r",
            "chat",
            {
                "model": "org/model",
                "messages": [{"role": "user", "content": "hello"}],
                "lora": [{"id": 0, "scale": 1.0}],
                "lora_path": "adapter-1",
            },
            2,
        )
        pieces = [piece async for piece in engine.generate(reaching)]
        said = "".join(piece.text for piece in pieces if isinstance(piece, Delta))
        assert said == "w0 w1"
    finally:
        await engine.stop()


@pytest.mark.engine
async def test_llamacpp_itself_says_other_words_for_an_adapter_and_its_own_without(
    tmp_path: Path,
) -> None:
    engine = llama(tmp_path, adapter="org/model-other")
    try:
        await engine.start()
        own = expected_text("nano")
        assert own.startswith(await text_of(engine, "org/model"))
        other = await text_of(engine, "org/model-other")
        assert other
        assert not own.startswith(other)
        assert own.startswith(await text_of(engine, "org/model")), "one request's, and no other's"
    finally:
        await engine.stop()
