"""A model in memory, asked as the loop asks it; with the real library, in this process."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from poolhand.agent.dev.checkpoint import expected_text, make_model
from poolhand.backends.engines.asked import BadRequest, Sampling, TooLong, read
from poolhand.backends.engines.manners import limits_kept
from poolhand.backends.engines.messages import LoadModel

pytestmark = pytest.mark.engine
with limits_kept():
    from poolhand.backends.engines import mlx_loading
    from poolhand.backends.engines.mlx_model import (
        OUTPUT_CHARS,
        SLICE_CHARS,
        Model,
    )

COLD = Sampling(temperature=0.0)


def nothing(_done_bytes: int, _total_bytes: int) -> None:
    pass


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("nano")
    make_model(folder, preset="nano", name="nano")
    made = mlx_loading.load(LoadModel(str(folder), None, 64, 4), progressed=nothing)
    yield made
    made.drop()
    mlx_loading.leave()


def chat(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


def say(model: Model, body: dict[str, object], most: int = 64) -> str:
    asked = read("text" if "prompt" in body else "chat", body, defaults=COLD)
    tokens = model.tokens(asked)
    text = model.answer(1, asked, tokens)
    row = model.insert(tokens, max_tokens=most, sampling=COLD).row
    said, ends = "", None
    while ends is None:
        for step in model.step():
            assert step.row == row
            said += text.take(step.token, ends=step.ends).text
            ends = step.ends
    return said


def test_it_says_what_the_checkpoint_says(model: Model) -> None:
    assert say(model, chat("hello")) == expected_text("nano", "<|say|>")
    assert say(model, {"prompt": "Once"}, 3) == "Hello from nano"


def test_it_was_tried_and_timed_when_it_was_made(model: Model) -> None:
    assert model.pace.prefill_tps is not None
    assert model.pace.decode_tps is not None
    assert min(model.pace.prefill_tps, model.pace.decode_tps) > 1


def test_what_a_token_keeps_is_measured(model: Model) -> None:
    # two layers, two heads of 32 for keys and values, two bytes each
    assert model.kv_bytes_per_token == 2 * 2 * 2 * 32 * 2


def test_a_row_that_is_removed_says_no_more(model: Model) -> None:
    tokens = model.tokens(read("chat", chat("[loop]"), defaults=COLD))
    kept, gone = (model.insert(tokens, max_tokens=6, sampling=COLD).row for _ in range(2))
    while not model.step():
        pass
    model.remove([gone])
    rows = {step.row for _ in range(5) for step in model.step()}
    assert rows == {kept}
    model.rest()


@pytest.mark.parametrize("body", [chat("\ud800"), {"prompt": "a\udfffb"}])
def test_half_a_surrogate_pair_is_told_to_the_sender(model: Model, body: dict[str, object]) -> None:
    asked = read("text" if "prompt" in body else "chat", body, defaults=COLD)
    with pytest.raises(BadRequest, match="all text must be valid Unicode"):
        model.tokens(asked)


def test_a_long_question_is_counted_not_refused_for_its_form(model: Model) -> None:
    text = "word " * (OUTPUT_CHARS // 4)
    with pytest.raises(TooLong) as caught:
        model.tokens(read("chat", chat(text), defaults=COLD))
    assert caught.value.tokens > (model.context_tokens or 0)


def test_what_is_far_too_long_is_not_read_to_its_end(model: Model) -> None:
    context = model.context_tokens or 0
    with pytest.raises(TooLong) as caught:
        model.tokens(read("text", {"prompt": "x" * 2**23}, defaults=COLD))
    assert context < caught.value.tokens <= context + SLICE_CHARS


def test_it_works_in_the_thread_that_made_it(tmp_path: Path) -> None:
    make_model(tmp_path, preset="nano", name="other")

    def work() -> str:
        made = mlx_loading.load(LoadModel(str(tmp_path), None, 64, 2), progressed=nothing)
        try:
            return say(made, chat("hello"))
        finally:
            made.drop()
            mlx_loading.leave()

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(work).result() == expected_text("other", "<|say|>")


def turns(said: str) -> dict[str, object]:
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "[unicode]"},
    ]
    return {"messages": messages}


def test_a_chat_that_goes_on_is_not_read_again_and_says_the_same(tmp_path: Path) -> None:
    make_model(tmp_path, preset="nano", name="nano")
    room = LoadModel(str(tmp_path), None, 64, 4, prompt_cache_bytes=2**20)
    model = mlx_loading.load(room, progressed=nothing)
    said = say(model, chat("hello"))
    asked = read("chat", turns(said), defaults=COLD)
    tokens = model.tokens(asked)
    first = len(model.tokens(read("chat", chat("hello"), defaults=COLD)))
    begun = model.insert(tokens, max_tokens=1, sampling=COLD)
    assert first - 1 <= begun.known_tokens < len(tokens)
    model.remove([begun.row])
    assert 0 < model.kept_bytes <= 2**20
    # side by side with one that knows nothing, both say what a fresh model says
    strange = model.insert(model.tokens(read("text", {"prompt": "x"}, defaults=COLD)),
                           max_tokens=3, sampling=COLD)  # fmt: skip
    assert strange.known_tokens == 0
    row = model.insert(tokens, max_tokens=64, sampling=COLD).row
    text = model.answer(1, asked, tokens)
    answer, ends = "", None
    while ends is None:
        for step in model.step():
            if step.row == row:
                answer += text.take(step.token, ends=step.ends).text
                ends = step.ends
    assert answer == expected_text("nano", "<|unicode|>")
    for number in range(40):
        say(model, chat(f"{number} " * 20), 2)
        assert model.kept_bytes <= 2**20
    model.drop()
    mlx_loading.leave()
