"""Pictures for models in servers: passed on to one that sees, refused by all others."""

import json
from pathlib import Path

import pytest
from servers import PROFILES, build_of, scripted

from poolhand.backends.engines.base import Finished, Prompt
from poolhand.config.refusals import RequestRefused

PNG = "data:image/png;base64,iVBORw0KGgo="
PARTS = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": PNG}},
]
ASKED = Prompt("r", "chat", {"messages": [{"role": "user", "content": PARTS}]}, 2)


def sees(folder: Path, kind: str) -> None:
    """The files of a model that sees, as this kind of server has them."""
    build = build_of("steady", folder)
    if kind == "llamacpp":
        (build / "mmproj-model.gguf").touch()
    else:
        (build / "config.json").write_text(json.dumps({"vision_config": {"depth": 1}}))


@pytest.mark.parametrize("kind", PROFILES)
async def test_a_model_that_sees_gets_the_picture(kind: str, tmp_path: Path) -> None:
    sees(tmp_path, kind)
    engine = scripted("steady", tmp_path, kind)
    try:
        await engine.start()
        pieces = [piece async for piece in engine.generate(ASKED)]
        end = pieces[-1]
        assert isinstance(end, Finished)
        # the scripted server counts the words of all that it was sent
        assert end.usage.prompt_tokens == len(str(ASKED.body["messages"]).split())
        web = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}
        body = {"messages": [{"role": "user", "content": [web]}]}
        with pytest.raises(RequestRefused, match="nothing is fetched"):
            _ = [piece async for piece in engine.generate(Prompt("r", "chat", body, 2))]
    finally:
        await engine.stop()


async def test_a_model_that_does_not_see_refuses_it_and_lives_on(tmp_path: Path) -> None:
    engine = scripted("steady", tmp_path)
    try:
        await engine.start()
        with pytest.raises(RequestRefused, match="this model sees no images"):
            _ = [piece async for piece in engine.generate(ASKED)]
        text = Prompt("r", "chat", {"messages": [{"role": "user", "content": "hello"}]}, 2)
        assert [piece async for piece in engine.generate(text)]
    finally:
        await engine.stop()
