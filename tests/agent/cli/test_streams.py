"""Streams side by side against an engine that makes a token whenever it is asked."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from poolhand.agent.cli.streams import Level, measure
from poolhand.backends.engines.base import Delta, Finished, Piece, Prompt, Started, Usage
from poolhand.backends.engines.echo import EchoEngine
from poolhand.backends.engines.errors import EngineDied


class Steady(EchoEngine):
    """Answers of three tokens, each after a pause; counts who was asked and who was let go."""

    def __init__(self, *, dies: bool = False) -> None:
        super().__init__()
        self.prompts: list[Prompt] = []
        self.most_at_once = self.at_once = 0
        self._dies = dies

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        self.prompts.append(prompt)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield Started(5)
            for nth in range(3):
                await asyncio.sleep(0.002)
                if self._dies and nth == 2:
                    raise EngineDied(engine="steady", exit_code=1)
                yield Delta("x ", tokens=1)
            yield Finished("stop", Usage(5, 3))
        finally:
            self.at_once -= 1


async def test_streams_run_all_the_time_and_every_token_counts() -> None:
    engine = Steady()
    level = await measure(engine, 4, 0.2)
    assert (level.streams, engine.most_at_once, engine.at_once) == (4, 4, 0)
    assert 0.15 < level.duration_s < 5
    assert level.answers > 4
    assert 3 * level.answers <= level.tokens <= 3 * len(engine.prompts)
    assert len(level.first_token_s) == len(engine.prompts)
    assert min(level.first_token_s) >= 0.001
    assert len({prompt.request_id for prompt in engine.prompts}) == len(engine.prompts)


async def test_each_stream_has_a_token_at_least_however_short_the_time() -> None:
    level = await measure(Steady(), 3, 1e-9)
    assert level.tokens == len(level.first_token_s) == 3
    assert level.answers == 0


async def test_the_form_is_the_models() -> None:
    engine = Steady()
    await measure(engine, 1, 1e-9, endpoint="text")
    assert engine.prompts[0].endpoint == "text"
    assert isinstance(engine.prompts[0].body["prompt"], str)


async def test_an_engine_that_dies_ends_it_with_its_own_error() -> None:
    with pytest.raises(EngineDied):
        await measure(Steady(dies=True), 3, 20)


def test_a_level_in_figures() -> None:
    level = Level(2, 4.0, 100, 3, (0.1, 0.5, 0.2))
    assert level.told() == {
        "streams": 2,
        "tokens_per_s": 25.0,
        "tokens_per_s_per_stream": 12.5,
        "first_token_median_s": 0.2,
        "first_token_worst_s": 0.5,
        "answers": 3,
        "tokens": 100,
        "duration_s": 4.0,
    }
    assert Level(1, 1.0, 0, 0, ()).told()["first_token_median_s"] is None
