"""The echo engine; what every engine keeps is in the contract suite."""

import asyncio

import pytest

from poolhand.backends.engines.base import Delta, Finished, Piece, Prompt, Usage
from poolhand.backends.engines.echo import EchoEngine
from poolhand.backends.engines.errors import EngineNotRunning
from poolhand.config.refusals import RequestRefused


async def heard(engine: EchoEngine, prompt: Prompt) -> list[Piece]:
    return [piece async for piece in engine.generate(prompt)]


async def test_it_repeats_the_last_message_word_by_word() -> None:
    engine = EchoEngine()
    await engine.start()
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": "one  two three"}]
    pieces = await heard(engine, Prompt("r", "chat", {"messages": messages}, 9))
    assert pieces[1:-1] == [
        Delta("one", tokens=1),
        Delta(" two", tokens=1),
        Delta(" three", tokens=1),
    ]
    assert pieces[-1] == Finished("stop", Usage(3, 3))
    pieces = await heard(engine, Prompt("r", "text", {"prompt": "one two"}, 1))
    assert pieces[-1] == Finished("length", Usage(2, 1))
    assert engine.load().generated_tokens == 4


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"messages": ["x"]}, {"messages": 7}])
async def test_what_has_no_text_is_refused(body: dict[str, object]) -> None:
    engine = EchoEngine()
    await engine.start()
    with pytest.raises(RequestRefused):
        await heard(engine, Prompt("r", "chat", body, 1))


async def test_a_stop_breaks_answers_off() -> None:
    engine = EchoEngine(pause_s=0.001)
    await engine.start()
    answer = engine.generate(Prompt("r", "text", {"prompt": "one two"}, 9))
    await anext(answer)
    assert engine.load().running == 1
    await engine.stop()
    with pytest.raises(EngineNotRunning):
        await anext(answer)
    assert engine.load().running == 0


async def test_it_never_dies() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await EchoEngine().died()
