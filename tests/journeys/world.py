"""A node and all that is around it, without I/O: every effect is answered by hand.

A test tells what happens and reads what the node wants done. The laws are held after every
single event, so each story is a test of all of them too.
"""

from collections.abc import Callable
from typing import TypeVar

from pydantic import SecretStr

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.effects import Effect
from poolhand.agent.core.events import Event, RequestKey
from poolhand.agent.core.node import Node
from poolhand.agent.core.report import Identity
from poolhand.agent.core.slots import SlotState
from poolhand.agent.wire.inbound import (
    Cancel,
    Inbound,
    InferenceRequest,
    LoadModel,
)
from poolhand.agent.wire.outbound import Heartbeat, LoadModelStatus, Outbound
from poolhand.agent.wire.types import PrivacyCapabilities, Sealed
from poolhand.backends.engines.base import Loaded, Usage
from poolhand.backends.hosts.base import CpuCores, HostFacts, HostSample
from poolhand.backends.stores.base import Build, Stock
from poolhand.config.errors import LinkLost
from poolhand.config.settings import Settings
from tests.journeys.laws import Laws

GIB = 2**30
KEY = "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw="
TICK_S = 2.0

T = TypeVar("T")

FACTS = HostFacts(
    "generic",
    memory_total_bytes=64 * GIB,
    cpu_cores=CpuCores(total=8),
    gpu_cores=0,
    rdma_disabled=True,
)

SEALED = Sealed(ephemeral_public_key=KEY, ciphertext="AAEC")


def settings(**tables: object) -> Settings:
    """Three builds: ``org/a`` and ``org/b`` are the pool ``tiny``, ``org/c`` is another."""
    return Settings.model_validate(
        {
            "coordinator": {"url": "ws://127.0.0.1:8080"},
            "pools": {"assigned": "tiny"},
            "models": [
                {"id": "org/a", "aliases": ["tiny"], "ref": "s3://models/a"},
                {"id": "org/b", "aliases": ["tiny"], "ref": "s3://models/b"},
                {"id": "org/c", "aliases": ["other"], "ref": "s3://models/c"},
            ],
        }
        | tables
    )


def build(model: str, weights_bytes: int = 4 * GIB) -> Build:
    """What verification finds."""
    return Build(
        folder=f"/cache/{model}",
        size_bytes=weights_bytes + 1000,
        weights_bytes=weights_bytes,
        weight_hash=model.encode().hex().ljust(64, "0"),
        verified_by="manifest",
        config={"model_type": "llama", "quantization": {"bits": 4}},
    )


def sample(available_bytes: int | None = 60 * GIB) -> HostSample:
    """A machine of 64 GiB."""
    return HostSample(
        memory_total_bytes=64 * GIB,
        memory_available_bytes=available_bytes,
        memory_used_ratio=0.1,
        cpu_usage_ratio=0.2,
        thermal_state="nominal",
    )


def identity() -> Identity:
    """Who this process is."""
    privacy = PrivacyCapabilities(
        text_backend_inprocess=False,
        text_proxy_disabled=True,
        anti_debug_enabled=True,
        core_dumps_disabled=True,
        env_scrubbed=True,
    )
    return Identity(
        version="0.1.0",
        public_key=KEY,
        machine_id="machine-1",
        privacy=privacy,
        sign=lambda nonce, _: f"signed {len(nonce)}",
        token=SecretStr("secret"),
    )


class World:
    """Tells the node what happens, and remembers what it wanted.

    Args:
        chosen: The operator's settings.
        chance: Gives numbers in [0, 1).
    """

    def __init__(
        self, chosen: Settings | None = None, *, chance: Callable[[], float] = lambda: 0.5
    ) -> None:
        self.node = Node(chosen or settings(), identity(), chance=chance)
        self.laws = Laws()
        self.now_s = 1000.0
        self.wall_s: float | None = None
        self.effects: list[Effect] = []
        self.available_bytes: int | None = 60 * GIB

    # ── what happens ──────────────────────────────────────────────────────────────────

    def tell(self, event: Event) -> list[Effect]:
        """One event; what the node wants done about it."""
        self.laws.before(event)
        unix_s = None if self.wall_s is None else self.wall_s + self.now_s
        effects = self.node.handle(event, self.now_s, unix_s)
        self.laws.after(self.node, event, effects, self.now_s)
        self.effects += effects
        return effects

    def after(self, seconds: float) -> list[Effect]:
        """Time passes; the clock is looked at when the daemon would."""
        effects: list[Effect] = []
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s = min(end_s, self.now_s + TICK_S, max(self.node.deadline_s, self.now_s))
            effects += self.tell(happened.Due())
        return effects

    def hear(self, message: Inbound) -> list[Effect]:
        """The coordinator says something on the line that stands."""
        return self.tell(happened.Heard(self.line, message))

    # ── verbs that stories are made of ────────────────────────────────────────────────

    @property
    def line(self) -> int:
        """The newest line's number."""
        return self.node.session.line

    def start(self) -> list[Effect]:
        """Know the host, dial, be connected."""
        self.tell(happened.HostKnown(FACTS))
        return self.connect()

    def connect(self) -> list[Effect]:
        """The line that was dialled opens; the machine is read, as it is after a register."""
        effects = self.tell(happened.LinkOpened(self.line))
        return effects + self.read_host()

    def drop(self, close_code: int = 1006) -> list[Effect]:
        """The line is gone."""
        error = LinkLost(close_code=close_code, reason="")
        return self.tell(happened.LinkClosed(self.line, close_code, error))

    def redial(self) -> list[Effect]:
        """Wait for the next dial, and connect."""
        while self.laws.socket is None:
            self.after(0.5)
        return self.connect()

    def read_host(self) -> list[Effect]:
        """The machine is as :attr:`available_bytes` says."""
        return self.tell(happened.HostSampled(sample(self.available_bytes)))

    def load_model(self, model: str) -> list[Effect]:
        """The coordinator wants the model in memory."""
        return self.hear(LoadModel(model_id=model))

    def stage(self, model: str, weights_bytes: int = 4 * GIB) -> list[Effect]:
        """Its bytes come and are right; the machine is read."""
        self.tell(happened.WeightsFetched(model))
        effects = self.tell(happened.WeightsVerified(model, build(model, weights_bytes)))
        return effects + self.read_host()

    def loaded(self, model: str, memory_bytes: int | None = 5 * GIB) -> list[Effect]:
        """Its engine answers."""
        return self.tell(happened.EngineLoaded(model, Loaded(3.0, memory_bytes, 8192)))

    def stopped(self, model: str) -> list[Effect]:
        """Its engine is gone; the machine is read."""
        effects = self.tell(happened.EngineStopped(model))
        return effects + self.read_host()

    def resident(self, model: str) -> None:
        """Load it, from the coordinator's word to the engine's."""
        self.load_model(model)
        self.stage(model)
        self.loaded(model)
        assert self.state(model) == [SlotState.READY]

    def request(self, word: str, model: str, *, max_tokens: int | None = 64) -> list[Effect]:
        """A request comes and is opened."""
        effects = self.hear(InferenceRequest(request_id=word, encrypted_body=SEALED))
        key = RequestKey(self.line, word)
        return effects + self.tell(happened.RequestOpened(key, model, max_tokens))

    def cancel(self, word: str) -> list[Effect]:
        """The coordinator wants no answer any more."""
        return self.hear(Cancel(request_id=word))

    def answered(self, word: str, *, tokens: int = 10, line: int | None = None) -> list[Effect]:
        """A request's answer is whole."""
        key = RequestKey(line or self.line, word)
        usage = Usage(prompt_tokens=5, completion_tokens=tokens)
        return self.tell(happened.GenerationEnded(key, "complete", usage, has_output=bool(tokens)))

    def choose(self, chosen: Settings) -> list[Effect]:
        """The operator edits the file."""
        return self.tell(happened.SettingsChanged(chosen))

    def stock(self, *models: str) -> list[Effect]:
        """These builds are on disk."""
        found = [Stock(m, "here", 4 * GIB, 4 * GIB, build(m)) for m in models]
        return self.tell(happened.InventoryChanged(tuple(found)))

    # ── what can be seen ──────────────────────────────────────────────────────────────

    def state(self, model: str) -> list[SlotState]:
        """Where the model's stays are; empty if it has none."""
        return [stay.state for stay in self.node.loads.stays.all() if stay.model == model]

    def key(self, word: str) -> RequestKey:
        """A request of this line."""
        return RequestKey(self.line, word)


def said(effects: list[Effect]) -> list[Outbound]:
    """What was said, heartbeats apart."""
    words = [effect.message for effect in effects if isinstance(effect, do.Send)]
    return [message for message in words if not isinstance(message, Heartbeat)]


def beats(effects: list[Effect]) -> list[Heartbeat]:
    """The heartbeats among what was said."""
    words = [effect.message for effect in effects if isinstance(effect, do.Send)]
    return [message for message in words if isinstance(message, Heartbeat)]


def done(effects: list[Effect]) -> list[Effect]:
    """What was done, apart from saying something, writing it down and reading the machine."""
    quiet = (do.Send, do.SampleHost, do.RefreshInventory, do.PersistAssignment, do.PersistMeasured)
    return [effect for effect in effects if not isinstance(effect, quiet)]


def only(effects: list[Effect], kind: type[T]) -> list[T]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def status(model: str, word: str, error: str | None = None) -> LoadModelStatus:
    """A ``load_model_status``."""
    return LoadModelStatus.model_validate({"model_id": model, "status": word, "error": error})
