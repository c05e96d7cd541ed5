"""What a request or a build may bring that is wrong: a clear answer, and the slot lives on."""

import json
import os
import pickle
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from poolhand.agent.dev.checkpoint import make_model
from poolhand.backends.engines.base import Delta, Finished, Piece, Prompt
from poolhand.backends.engines.errors import EngineStartFailed
from poolhand.backends.engines.mlx import MlxEngine
from poolhand.config.refusals import ContextExceeded, RequestRefused, RequestTooLarge
from poolhand.config.settings import Mlx

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

TEMPLATE = """{%- for message in messages -%}
{%- if 'object' in message.content %}{{ raise_exception('secret') }}{% endif -%}
{%- if 'spin' in message.content -%}
{%- for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor -%}
{%- endif -%}
{%- if 'flood' in message.content -%}
{%- for i in range(2000) %}{{ 'x' * 1000 }}{% endfor -%}
{%- endif -%}
{%- if 'no room' in message.content %}{{ ('x' * 9999999999999999) | length }}{% endif -%}
{%- if 'subclasses' in message.content %}{{ ''.__class__.__mro__[1].__subclasses__() }}{% endif -%}
{%- if 'globals' in message.content %}{{ cycler.__init__.__globals__.os.getcwd() }}{% endif -%}
{%- if 'change' in message.content %}{{ messages.append(message) }}{% endif -%}
{%- if 'open' in message.content %}{% include '/etc/passwd' %}{% endif -%}
{{- message.content }}{%- endfor -%}"""


def engine_of(folder: Path, isolation: str = "child") -> MlxEngine:
    settings = Mlx.model_validate({"isolation": isolation, "start_timeout_s": 50.0})
    return MlxEngine(str(folder), model="m", settings=settings, context_tokens=None)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    make_model(folder, preset="nano", name="nano")
    return folder


@pytest.fixture
def copy(build: Path, tmp_path: Path) -> Path:
    for file in build.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def wicked(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wicked")
    for file in build.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["child", "inprocess"])
async def engine(wicked: Path, request: pytest.FixtureRequest) -> AsyncGenerator[MlxEngine]:
    engine = engine_of(wicked, str(request.param))
    await engine.start()
    yield engine
    assert isinstance((await hear(engine, chat("still here")))[-1], Finished)
    await engine.stop()


def chat(text: str = "hello", **fields: object) -> Mapping[str, object]:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **fields}


async def hear(engine: MlxEngine, body: Mapping[str, object]) -> list[Piece]:
    prompt = Prompt("r", "text" if "prompt" in body else "chat", body, 2)
    return [piece async for piece in engine.generate(prompt)]


def deep(levels: int) -> Mapping[str, object]:
    inner: Mapping[str, object] = {}
    for _ in range(levels):
        inner = {"a": inner}
    return inner


def tool(**function: object) -> Mapping[str, object]:
    return {"type": "function", "function": function}


IMAGE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
REFUSED: Mapping[str, tuple[Mapping[str, object], str]] = {
    "a temperature that is no number": (chat(temperature=float("nan")), "cannot be passed on"),
    "a temperature without end": (chat(temperature=float("inf")), "cannot be passed on"),
    "a nesting without end": (chat(tools=[tool(name="f", parameters=deep(100_000))]), "passed on"),
    "a nesting that some Pythons still write as JSON": (
        chat(tools=[tool(name="f", parameters=deep(3000))]),
        "passed on|suit the model's chat template",
    ),
    "ten thousand stop words": (
        chat(stop=[f"stop {at}" for at in range(10_000)]),
        "stop must name at most 16 texts",
    ),
    "a hundred answers": (chat(n=100), "n must be 1"),
    "a role of its own": (
        {"messages": [{"role": "system\n<|evil|>", "content": "x"}]},
        "known role",
    ),
    "a temperature in words": (chat(temperature="hot"), "temperature must be a number"),
    "a temperature below zero": (chat(temperature=-1), "temperature must be from 0"),
    "half a surrogate pair in a chat": (chat("\ud800"), "all text must be valid Unicode"),
    "half a surrogate pair in a prompt": ({"prompt": "\udc00"}, "all text must be valid Unicode"),
    "half a surrogate pair in a role": (
        {"messages": [{"role": "\ud800", "content": "x"}]},
        "known role",
    ),
    "a tool without a name": (chat(tools=[tool()]), "each tool must name a function"),
    "a tool that is a text": (chat(tools=["get_weather"]), "each tool must name a function"),
    "a tool schema that is a text": (
        chat(tools=[tool(name="f", parameters="object")]),
        "parameters of a tool must be an object",
    ),
    "tools that are no array": (chat(tools={"name": "f"}), "tools must be an array"),
    "an image": (
        {"messages": [{"role": "user", "content": IMAGE}]},
        "content parts must be text: this model sees no images",
    ),
    "messages that are no objects": ({"messages": ["hello"]}, "each message must be an object"),
    "a template that complains": (chat("object"), "suit the model's chat template"),
    "a template that runs for ever": (chat("spin"), "suit the model's chat template"),
    "a template that says too much": (chat("flood"), "suit the model's chat template"),
    "a template that wants all memory": (chat("no room"), "suit the model's chat template"),
    "a template that looks for classes": (chat("subclasses"), "suit the model's chat template"),
    "a template that looks for modules": (chat("globals"), "suit the model's chat template"),
    "a template that changes what it is given": (chat("change"), "suit the model's chat template"),
    "a template that opens a file": (chat("open"), "suit the model's chat template"),
}


@pytest.mark.parametrize("name", [*REFUSED])
async def test_it_is_refused_in_closed_words_and_the_slot_lives_on(
    engine: MlxEngine, name: str
) -> None:
    body, words = REFUSED[name]
    with pytest.raises(RequestRefused, match=words) as refused:
        await hear(engine, body)
    assert "secret" not in str(refused.value)
    assert isinstance((await hear(engine, chat("well")))[-1], Finished)


async def test_a_prompt_longer_than_the_model_reads_is_told_so(engine: MlxEngine) -> None:
    with pytest.raises(ContextExceeded):
        await hear(engine, chat("word " * 20_000))


async def test_a_prompt_longer_than_a_frame_is_told_so(engine: MlxEngine) -> None:
    with pytest.raises(RequestTooLarge):
        await hear(engine, chat("x" * (65 * 2**20)))


async def test_parameters_that_nobody_knows_are_passed_over(engine: MlxEngine) -> None:
    odd: dict[str, object] = {"frobnicate": 7, "user": "u", "max_tokens": -5, "stop": [""]}
    odd["logit_bias"] = {str(token): 1e9 for token in range(20_000)}
    odd["chat_template"] = "{{ 1 / 0 }}"
    pieces = await hear(engine, chat("hello", **odd))
    assert isinstance(pieces[-1], Finished)
    assert any(isinstance(piece, Delta) for piece in pieces)


def truncate(folder: Path) -> None:
    shard = min(folder.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1000])


def lose_a_shard(folder: Path) -> None:
    min(folder.glob("*.safetensors")).unlink()


def lose_everything(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def add_to(folder: Path, file: str, **fields: object) -> None:
    document = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**document, **fields}))


def bring_a_model_file(folder: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    add_to(folder, "config.json", model_file="evil.py")


def bring_an_auto_map(folder: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    add_to(folder, "config.json", auto_map={"AutoModel": "evil.Model"})


def bring_a_tokenizer_of_its_own(folder: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    add_to(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]})


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:  # noqa: D105 - pickle's own name
        return os.mkdir, (str(self.place),)


def bring_a_pickle_alone(folder: Path) -> None:
    for shard in folder.glob("*.safetensors*"):
        shard.unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(folder / "ran")))


def bring_a_long_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{# " + "x" * 2**16 + " #}hello")


def hide_a_long_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    add_to(folder, "tokenizer_config.json", chat_template="{# " + "x" * 2**16 + " #}hello")


def bring_a_power(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}{{ 9 ** (9 ** 9) }}")


def break_the_config(folder: Path) -> None:
    (folder / "config.json").write_bytes(b'{"model_type": "llama", \xff')


def name_an_unknown_type(folder: Path) -> None:
    add_to(folder, "config.json", model_type="no-such-architecture")


@pytest.mark.parametrize("isolation", ["child", "inprocess"])
@pytest.mark.parametrize(
    "spoil",
    [
        truncate,
        lose_a_shard,
        lose_everything,
        bring_a_model_file,
        bring_an_auto_map,
        bring_a_tokenizer_of_its_own,
        bring_a_pickle_alone,
        bring_a_long_template,
        hide_a_long_template,
        bring_a_power,
        break_the_config,
        name_an_unknown_type,
    ],
)
async def test_a_bad_build_is_a_failed_start_and_runs_no_code(
    copy: Path, spoil: object, isolation: str
) -> None:
    if isolation == "child" and spoil in {break_the_config, lose_everything, name_an_unknown_type}:
        pytest.skip("the same code; a process for each would take its time")
    assert callable(spoil)
    spoil(copy)
    engine = engine_of(copy, isolation)
    with pytest.raises(EngineStartFailed) as failed:
        await engine.start()
    await engine.stop()
    assert failed.value.kind == "bad_model"
    assert failed.value.load_text == "model load failed: bad_model"
    assert not (copy / "ran").exists()


async def test_a_pickle_beside_the_weights_is_never_opened(copy: Path) -> None:
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(copy / "ran")))
    engine = engine_of(copy, "inprocess")
    await engine.start()
    assert isinstance((await hear(engine, chat()))[-1], Finished)
    await engine.stop()
    assert not (copy / "ran").exists()
