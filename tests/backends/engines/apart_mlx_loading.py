"""From a folder to a model: what is refused before it is read, and what is told on the way."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from poolhand.agent.dev.checkpoint import make_model
from poolhand.backends.engines.asked import BadRequest, Sampling, read
from poolhand.backends.engines.manners import limits_kept
from poolhand.backends.engines.messages import LoadModel

pytestmark = pytest.mark.engine
with limits_kept():
    from poolhand.backends.engines import mlx_loading

T = TypeVar("T")


def aside(work: Callable[[], T]) -> T:
    """In a thread that puts away what the library made for it, as the agent does it."""

    def run() -> T:
        try:
            return work()
        finally:
            mlx_loading.leave()

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(run).result()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_model(tmp_path, preset="nano", name="nano")
    return tmp_path


def message(folder: Path, context_tokens: int | None = None) -> LoadModel:
    return LoadModel(str(folder), context_tokens, 64, 2)


def nothing(_done_bytes: int, _total_bytes: int) -> None:
    pass


def context_of(folder: Path, bound: int | None = None) -> int | None:
    def work() -> int | None:
        model = mlx_loading.load(message(folder, bound), progressed=nothing)
        try:
            return model.context_tokens
        finally:
            model.drop()

    return aside(work)


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_progress_is_told_to_the_last_byte(folder: Path) -> None:
    told: list[tuple[int, int]] = []

    def work() -> None:
        mlx_loading.load(
            message(folder), progressed=lambda done, whole: told.append((done, whole))
        ).drop()

    aside(work)
    done_bytes, total_bytes = told[-1]
    assert done_bytes == total_bytes
    stored_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert 0.9 * stored_bytes < total_bytes <= stored_bytes


def test_whoever_hears_of_progress_can_end_the_load(folder: Path) -> None:
    class NotWanted(Exception):
        pass

    def progressed(_done_bytes: int, _total_bytes: int) -> None:
        raise NotWanted

    with pytest.raises(NotWanted):
        aside(lambda: mlx_loading.load(message(folder), progressed=progressed))


@pytest.mark.parametrize(
    ("own", "inner", "bound", "expected"),
    [
        (4096, None, None, 4096),
        (4096, None, 100, 100),
        (64, None, 100, 64),
        (4096, 128, None, 128),
        ("many", None, None, None),
    ],
)
def test_the_context_is_the_least_that_anybody_says(
    folder: Path, own: object, inner: int | None, bound: int | None, expected: int | None
) -> None:
    if own == "many":
        document = json.loads((folder / "config.json").read_text())
        del document["max_position_embeddings"]
        (folder / "config.json").write_text(json.dumps(document))
    else:
        change(folder / "config.json", max_position_embeddings=own)
    if inner is not None:
        change(folder / "config.json", text_config={"max_position_embeddings": inner})
    assert context_of(folder, bound) == expected


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("key", ["auto_map", "model_file"])
def test_code_of_its_own_is_refused_before_anything_is_read(
    folder: Path, name: str, key: str
) -> None:
    change(folder / name, **{key: None})
    with pytest.raises(ValueError, match=rf"{name} names code of its own \({key}\)"):
        mlx_loading.load(message(folder), progressed=nothing)


@pytest.mark.parametrize(("chars", "is_refused"), [(2**16, False), (2**16 + 1, True)])
def test_a_template_has_a_greatest_length(folder: Path, chars: int, *, is_refused: bool) -> None:
    comment = "{#" + "x" * (chars - 4) + "#}"
    (folder / "chat_template.jinja").write_text(comment)
    if is_refused:
        with pytest.raises(ValueError, match="chat template of more than 65536 characters"):
            context_of(folder)
    else:
        assert context_of(folder)


@pytest.mark.parametrize(
    ("template", "is_refused"),
    [
        ("{{ 9 ** (9 ** 9) }}", True),
        ("{% set a = b**c %}", True),
        ("{{ dict(messages[0], **{'a': 1}) }}", False),
        ("{{ dict( ** messages[0]) }} ** {# 2 ** 3 #}", False),
        ("{% generation %}", False),
    ],
)
def test_a_template_computes_no_powers(folder: Path, template: str, *, is_refused: bool) -> None:
    (folder / "chat_template.jinja").write_text(template)
    if is_refused:
        with pytest.raises(ValueError, match="computes powers"):
            context_of(folder)
    else:
        assert context_of(folder)


def test_a_step_of_a_template_that_would_take_for_ever_is_not_taken(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ 1.5|round(1000000000, 'ceil') }}")
    chat = read("chat", {"messages": [{"role": "user", "content": "Hi"}]}, defaults=Sampling())

    def work() -> None:
        model = mlx_loading.load(message(folder), progressed=nothing)
        try:
            with pytest.raises(BadRequest, match="suit the model's chat template"):
                _ = model.tokens(chat)
        finally:
            model.drop()

    aside(work)


def test_what_is_told_of_the_library_is_measured() -> None:
    held = mlx_loading.memory()
    assert held.peak_bytes >= held.active_bytes >= 0
    assert mlx_loading.version().startswith("0.32.")
    assert mlx_loading.device()
    assert threading.current_thread() is threading.main_thread()
