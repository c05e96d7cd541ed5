"""A store, a coordinator and agents as processes, and the questions that tests ask of them."""

import json
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import psutil
from canaries import PROMPT, TOKEN, found_in, told, written
from openai import DefaultHttpxClient, OpenAI, Stream
from openai.types.chat import ChatCompletionChunk

from poolhand.agent.dev.checkpoint import make_model
from poolhand.agent.dev.stage import Actor, Stage, ask, at, each_of, stay_of
from poolhand.config.secrets import DEFAULT_VARIABLE

A, B, OTHER = "org/tiny-a", "org/tiny-b", "org/other"
MIB = 2**20

CONFIG = """\
[coordinator]
url = "{coordinator}"
heartbeat_interval_s = {heartbeat_s}

[pools]
assigned = "tiny"
allowed = ["tiny", "org/*"]

[[models]]
id = "org/tiny-a"
aliases = ["tiny"]
ref = "s3://models/{a}"

[[models]]
id = "org/tiny-b"
aliases = ["tiny"]
ref = "s3://models/{b}"

[[models]]
id = "org/other"
ref = "s3://models/tiny-a"

[stores.s3]
endpoint = "{store}"
region = "us-east-1"
addressing = "path"

[weights]
chunk_bytes = {chunk_bytes}
connections = 4

[cache]
dir = "{name}.cache"

[log]
level = "debug"
"""


class World(Stage):
    """A stage with what tests need: checkpoints, a configuration, a client."""

    def __init__(self, folder: Path, weights: Path) -> None:
        super().__init__(folder)
        self.weights = weights
        self._held = ExitStack()
        self._children: list[psutil.Process] = []

    def begin(self, *coordinator: str) -> None:
        """Start the store and the coordinator."""
        both = self.open_store(self.weights), self.open_coordinator(*coordinator)
        for actor in both:
            self.url_of(actor)

    def configure(
        self,
        name: str = "agent",
        *,
        a: str = "tiny-a",
        b: str = "tiny-b",
        heartbeat_s: float = 0.5,
        chunk_bytes: int = MIB,
        store: str = "",
    ) -> Path:
        """Write an agent's configuration."""
        path = self.folder / f"{name}.toml"
        text = CONFIG.format(
            coordinator=self.coordinator.url,
            store=store or self.store.url,
            heartbeat_s=heartbeat_s,
            chunk_bytes=chunk_bytes,
            name=name,
            a=a,
            b=b,
        )
        path.write_text(text)
        return path

    def join(self, config: Path, name: str = "agent", **environ: str) -> str:
        """Start an agent; the coordinator's name for it once it is registered."""
        before = set(self.providers())
        _ = self.open_agent(config, name, {DEFAULT_VARIABLE: TOKEN, **environ})

        def registered() -> str | None:
            here = self.providers()
            new = [each for each in here if each not in before and at(here[each], "registered_s")]
            return new[0] if new else None

        return self.until(registered, f"{name} is registered", 20)

    # ── the coordinator ───────────────────────────────────────────────────────────────

    def providers(self) -> dict[str, object]:
        """Every connected agent, by the coordinator's name for its line."""
        return {str(at(each, "id")): each for each in each_of(self.state(), "providers")}

    def provider(self) -> object:
        """The only one; a line that is dialled anew is gone for a moment."""

        def only() -> object | None:
            here = [*self.providers().values()]
            assert len(here) < 2, "there is one"
            return here[0] if here else None

        return self.until(only, "an agent is connected", 20)

    def load(self, model: str, *, provider: str = "") -> Mapping[str, object]:
        """Have a model loaded; how that ended."""
        query = f"?provider={provider}" if provider else ""
        url = f"{self.coordinator.url}/dev/load{query}"
        _, answer = ask(url, {"model_id": model}, timeout_s=50)
        assert isinstance(answer, dict)
        return cast("dict[str, object]", answer)

    def post(self, verb: str, body: object = None, *, timeout_s: float = 20) -> object:
        """Use one of the coordinator's levers."""
        code, answer = ask(f"{self.coordinator.url}/dev/{verb}", body or {}, timeout_s=timeout_s)
        assert code == 200, answer
        return answer

    def send(self, frame: str) -> None:
        """Have the coordinator send a frame as it is."""
        self.post("send", {"frame": frame})

    def requests(self) -> list[object]:
        """Every request that was ever sent, in order."""
        return each_of(self.state(), "requests")

    def ended(self, number: int = -1) -> object:
        """A request's record, once its terminal frame is here."""

        def found() -> object:
            record = at(self.requests(), number)
            return record if at(record, "terminals") else None

        return self.until(found, "the request has ended", 20)

    def statuses(self, model: str) -> list[object]:
        """What the only line told of loads of a model, in order."""
        told = each_of(self.provider(), "statuses")
        return [at(each, "status") for each in told if at(each, "model_id") == model]

    def slot(self) -> object:
        """The only slot of the latest heartbeat; ``None`` while there is not exactly one."""
        slots = each_of(self.provider(), "heartbeat", "backend_capacity", "slots")
        return slots[0] if len(slots) == 1 else None

    def heard(self, question: Callable[[], bool], what: str, patience_s: float = 10) -> None:
        """Wait until something is so."""
        self.until(lambda: question() or None, what, patience_s)

    # ── the store ─────────────────────────────────────────────────────────────────────

    def throttle(self, bytes_per_s: int) -> None:
        """Let every connection to the store be so slow; 0 for no limit."""
        code, _ = ask(f"{self.store.url}/_faults", {"bytes_per_s": bytes_per_s})
        assert code == 200

    def served_bytes(self, prefix: str) -> int:
        """How many bytes of a model's files the store has sent."""
        _, stats = ask(f"{self.store.url}/_stats")
        sent = at(stats, "bytes_sent")
        assert isinstance(sent, dict)
        counts = cast("dict[str, int]", sent)
        return sum(count for name, count in counts.items() if name.startswith(f"models/{prefix}/"))

    # ── the agent ─────────────────────────────────────────────────────────────────────

    def stay(self, model: str) -> object:
        """A model's stay, as the agent's status tells it."""
        return stay_of(self.agent.status(), model)

    def log(self, name: str = "agent") -> Iterator[Mapping[str, object]]:
        """The lines of an agent's log."""
        for line in self.actors[name].log.read_text().splitlines():
            if line.startswith("{"):
                yield cast("dict[str, object]", json.loads(line))

    def children(self, actor: Actor) -> list[psutil.Process]:
        """Every process below an actor's."""
        found = psutil.Process(actor.process.pid).children(recursive=True)
        self._children += found
        return found

    def engines(self) -> list[psutil.Process]:
        """The agent's engine children."""
        return [each for each in self.children(self.agent) if "mlx_child" in str(each.cmdline())]

    def has_orphans(self) -> bool:
        """Whether a child that was seen outlived its parent."""
        return any(each.is_running() and each.status() != "zombie" for each in self._children)

    # ── the client ────────────────────────────────────────────────────────────────────

    def client(self) -> OpenAI:
        """The official client; no second try hides the first."""
        line = self._held.enter_context(DefaultHttpxClient(trust_env=False))
        base = f"{self.coordinator.url}/v1"
        return OpenAI(base_url=base, api_key="x", max_retries=0, timeout=40, http_client=line)

    def stream(
        self, said: str, model: str = A, most: int = 200, client: OpenAI | None = None
    ) -> Stream[ChatCompletionChunk]:
        """Ask for a stream."""
        return (client or self.client()).chat.completions.create(
            model=model,
            messages=[{"role": "system", "content": PROMPT}, {"role": "user", "content": said}],
            max_tokens=most,
            stream=True,
            stream_options={"include_usage": True},
        )

    def answer(self, said: str = "Hello!", model: str = A, most: int = 200) -> str:
        """Ask, and wait for the whole text."""
        return "".join(map(text_of, self.stream(said, model, most)))

    def close(self) -> None:
        """End everybody; nobody is left."""
        for actor in self.actors.values():
            if actor.is_running:
                self.children(actor)
        super().close()
        self._held.close()
        give_up_s = time.monotonic() + 10
        while self.has_orphans():
            assert time.monotonic() < give_up_s, self._children
            time.sleep(0.02)


def text_of(chunk: ChatCompletionChunk) -> str:
    """A chunk's text."""
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def begun(stream: Stream[ChatCompletionChunk], chunks: int = 3) -> None:
    """Read until a few chunks with text have come."""
    while chunks:
        chunks -= bool(text_of(next(stream)))


def number(document: object, *path: str | int) -> float:
    """A number that has to be there."""
    found = at(document, *path)
    assert isinstance(found, int | float), (path, document)
    return found


def make_weights(root: Path) -> Path:
    """The checkpoints of every world: two tiny ones, and one that takes a while to come."""
    models = root / "models"
    make_model(models / "tiny-a", preset="nano", name="alpha")
    make_model(models / "tiny-b", preset="nano", name="beta", seed=1)
    make_model(models / "large", preset="small", name="gamma", shards=4)
    return root


def size_bytes(folder: Path) -> int:
    """All bytes of a model's files."""
    return sum(path.stat().st_size for path in folder.iterdir())


@contextmanager
def opened(folder: Path, weights: Path, *coordinator: str) -> Generator[World]:
    """A world that has begun; gone at the end."""
    folder.mkdir(parents=True)
    with World(folder, weights) as world:
        world.begin(*coordinator)
        yield world
        for actor in world.actors.values():
            if actor.is_running and actor.state_dir != Path():
                assert not found_in(told(actor.state_dir))
    assert not found_in(written(folder)), "a canary is where none belongs"
    shutil.rmtree(folder, ignore_errors=True)
