"""Models that somebody else runs, through the whole house: an agent, a coordinator, a client."""

import asyncio
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import openai
import pytest
from world import World, number, text_of

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from providers import CANARY, KEY, Dialect, Provider, provided

from poolhand.agent.dev.stage import at, each_of

pytestmark = pytest.mark.e2e

DIALECTS: tuple[Dialect, ...] = ("openai", "anthropic", "azure")
PROMPT = "canary-prompt-51d2"

CONFIG = """\
[coordinator]
url = "{coordinator}"
heartbeat_interval_s = 0.5

[slots]
max_model_slots = 3

[pools]
assigned = "gap"

[log]
level = "debug"
"""
MODEL = """
[[models]]
id = "org/{dialect}"
aliases = ["gap"]

[models.external]
dialect = "{dialect}"
base_url = "https://127.0.0.1:{port}{path}"
model = "their-model"
key_file = "key"
ca_file = "{ca_file}"
trusted_hosts = ["127.0.0.1"]
requests_per_day = {requests}
"""


class Providers(threading.Thread):
    """All three, in a loop of their own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.here: dict[Dialect, Provider] = {}
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._is_up = threading.Event()
        self._is_over = asyncio.Event()

    def run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with AsyncExitStack() as held:
            for dialect in DIALECTS:
                folder = self._folder / dialect
                folder.mkdir()
                self.here[dialect] = await held.enter_async_context(provided(dialect, folder))
            self._is_up.set()
            await self._is_over.wait()

    def begin(self) -> Mapping[Dialect, Provider]:
        self.start()
        assert self._is_up.wait(20)
        return self.here

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._is_over.set)
        self.join(20)


@pytest.fixture
def providers(tmp_path: Path) -> Iterator[Mapping[Dialect, Provider]]:
    thread = Providers(tmp_path)
    yield thread.begin()
    thread.end()


def configured(world: World, providers: Mapping[Dialect, Provider], requests: int = 99) -> Path:
    key = world.folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    paths = {"openai": "/v1", "anthropic": "", "azure": ""}
    models = [
        MODEL.format(
            dialect=dialect,
            port=one.port,
            path=paths[dialect],
            ca_file=one.ca_file,
            requests=requests,
        )
        for dialect, one in providers.items()
    ]
    path = world.folder / "agent.toml"
    path.write_text(CONFIG.format(coordinator=world.coordinator.url) + "".join(models))
    return path


def test_three_providers_answer_as_one_kind_of_model_and_leave_no_trace(
    world: World, providers: Mapping[Dialect, Provider]
) -> None:
    world.join(configured(world, providers))
    for dialect, provider in providers.items():
        model = f"org/{dialect}"
        assert world.load(model)["status"] == "succeeded"
        chunks = list(world.stream(f"one two {PROMPT}", model))
        assert "".join(map(text_of, chunks)) == f"one two {PROMPT}"
        usage = chunks[-1].usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens) == (6, 3)
        assert chunks[-2].choices[0].finish_reason == "stop"
        provider.plans.append("401")
        with pytest.raises(openai.RateLimitError, match="provider not available"):
            world.answer(PROMPT, model)
        provider.plans.append("cut")
        with pytest.raises(openai.APIError):
            world.answer(f"{PROMPT} a b c", model)

    def slots() -> list[object]:
        return list(each_of(world.provider(), "heartbeat", "backend_capacity", "slots"))

    world.heard(lambda: [at(one, "max_concurrency") for one in slots()] == [8] * 3, "all looked at")
    for slot in slots():
        assert at(slot, "observed_decode_tps") is None, "nobody here has measured a speed"
    stay = world.stay("org/openai")
    assert [at(stay, name) for name in ("holds_bytes", "needs_bytes", "weight_hash")] == [None] * 3
    assert number(stay, "load_s") > 0
    status, pid = str(world.agent.status()), world.agent.process.pid
    argv = Path(f"/proc/{pid}/cmdline")
    told = [status, argv.read_text() if argv.exists() else ""]
    assert world.agent.end() == 0
    files = [path for path in world.folder.rglob("*") if path.is_file() and path.name != "key"]
    assert world.agent.log in files
    told += [path.read_bytes().decode(errors="replace") for path in files]
    for canary in (KEY, PROMPT, CANARY):
        assert not any(canary in text for text in told)


def test_a_daily_limit_outlives_the_agent(
    world: World, providers: Mapping[Dialect, Provider]
) -> None:
    config = configured(world, providers, requests=2)
    world.join(config)
    assert world.load("org/openai")["status"] == "succeeded"
    assert world.answer("a b", "org/openai") == "a b"
    world.agent.process.kill()
    world.agent.process.wait(20)
    world.join(config)
    assert world.load("org/openai")["status"] == "succeeded"
    assert world.answer("a b", "org/openai") == "a b"
    with pytest.raises(openai.RateLimitError, match="daily limit of 2 requests reached"):
        world.answer("a b", "org/openai")
    words = "daily limit of 2 requests reached"
    world.heard(lambda: at(world.stay("org/openai"), "trouble") == words, "it shows")
    assert len(providers["openai"].asked) == 2
