"""Any order of events, the implausible ones too: the laws hold, and everything ends."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.effects import Effect
from poolhand.agent.core.events import Event
from poolhand.agent.core.request_key import LOCAL, RequestKey
from poolhand.agent.wire.inbound import (
    AttestationChallenge,
    Cancel,
    DesiredModels,
    Inbound,
    InferenceRequest,
    LoadModel,
    PrefetchModel,
    RuntimeStatus,
    TrustStatus,
    Unknown,
)
from poolhand.agent.wire.types import DesiredModel
from poolhand.backends.engines.base import Load, Loaded, Usage
from poolhand.backends.engines.errors import EngineDied
from poolhand.backends.stores.base import Progress, Stock
from poolhand.backends.stores.errors import StoreUnreachable
from poolhand.config.errors import ConfigInvalid, LinkLost
from poolhand.config.refusals import RequestUnreadable
from poolhand.config.settings import Settings
from tests.journeys.world import FACTS, GIB, SEALED, World, build, sample, settings

MODELS = ("org/a", "org/b", "org/c", "org/nowhere")
WORDS = ("r1", "r2", "r3")
BROKEN = StoreUnreachable(store="s3", reason="silence")
DEAD = EngineDied(engine="mlx", exit_code=9)
USAGE = Usage(prompt_tokens=3, completion_tokens=4)

EDITS: tuple[Settings, ...] = (
    settings(),
    settings(pools={"assigned": "other"}),
    settings(pools={"assigned": "tiny", "allowed": ["org/a"]}),
    settings(slots={"max_model_slots": 2}, requests={"drain_s": 0.0}),
    settings(slots={"max_model_slots": 3}, pools={}, requests={"max_concurrent": 1}),
    settings(coordinator={"url": "ws://127.0.0.1:8080", "heartbeat_interval_s": 0.7}),
    settings(models=[]),
)

LOST = LinkLost(close_code=1006, reason="")


def answers(effect: Effect, model: str, word: int) -> list[Event]:  # noqa: C901  # one row for each effect
    """What may become of an effect; the first is what a good day brings."""
    match effect:
        case do.Dial(line):
            return [happened.LinkOpened(line), happened.LinkClosed(line, 1006, LOST)]
        case do.HangUp(line):
            return [happened.LinkClosed(line, 1000, LOST)]
        case do.FetchWeights(mine):
            return [
                happened.WeightsFetched(mine),
                happened.WeightsFailed(mine, BROKEN),
                happened.WeightsProgressed(mine, Progress(word, 7)),
            ]
        case do.VerifyWeights(mine):
            return [
                happened.WeightsVerified(mine, build(mine)),
                happened.WeightsFailed(mine, BROKEN),
                happened.WeightsVerified(mine, build(mine, 62 * GIB)),
            ]
        case do.RefreshInventory():
            here = Stock("org/a", "here", 4, 4, build("org/a"))
            return [happened.InventoryChanged(()), happened.InventoryChanged((here,))]
        case do.SampleHost():
            loads = {model: Load(running=word, max_running=8, decode_tps=1.5)}
            return [
                happened.HostSampled(sample()),
                happened.HostSampled(sample(None)),
                happened.HostSampled(sample(5 * GIB), loads),
            ]
        case do.LoadEngine(mine):
            loaded = Loaded(1.0, 5 * GIB, 4096)
            return [happened.EngineLoaded(mine, loaded), happened.EngineFailed(mine, DEAD)]
        case do.StopEngine(mine):
            return [happened.EngineStopped(mine)]
        case do.OpenRequest(key):
            unreadable = happened.RequestUnreadable(key, RequestUnreadable(reason="no JSON"))
            return [happened.RequestOpened(key, model, word), unreadable]
        case do.StartGeneration(key) | do.CancelGeneration(key):
            return [
                happened.GenerationEnded(key, "complete", USAGE, has_output=True),
                happened.GenerationEnded(key, "cancelled", USAGE, has_output=bool(word % 2)),
                happened.GenerationEnded(key, "failed", error=DEAD),
                happened.GenerationEnded(key, "cancelled"),
                happened.GenerationEnded(key, "failed", USAGE, has_output=True),
            ]
        case _:
            return []


def words(model: str, word: str, which: int) -> Inbound:
    """What a coordinator may say."""
    wanted = DesiredModel(model_name="tiny", desired_build=model)
    choices: list[Inbound] = [
        LoadModel(model_id=model),
        InferenceRequest(request_id=word, encrypted_body=SEALED),
        Cancel(request_id=word),
        PrefetchModel(model_id=model),
        DesiredModels(models=(wanted,)),
        DesiredModels(),
        AttestationChallenge(nonce="nonce-of-some-length"),
        InferenceRequest(request_id=word, has_plain_body=True),
        InferenceRequest(request_id=word),
        TrustStatus(status="untrusted"),
        RuntimeStatus(),
        Unknown(type="new", reason="unknown type"),
    ]
    return choices[which % len(choices)]


def wild(model: str, key: RequestKey, which: int) -> Event:
    """What no room should ever tell just now."""
    choices: list[Effect] = [
        do.Dial(key.line),
        do.HangUp(key.line),
        do.FetchWeights(model),
        do.VerifyWeights(model),
        do.SampleHost(),
        do.LoadEngine(model, build(model)),
        do.StopEngine(model),
        do.OpenRequest(key, InferenceRequest(request_id=key.id)),
        do.StartGeneration(key, model, 1),
    ]
    options = answers(choices[which % len(choices)], model, which)
    return options[which // len(choices) % len(options)]


@dataclass
class Storm:
    """A world in which anything may happen; what the node wanted is answered some day."""

    world: World
    open: list[Effect] = field(default_factory=list[Effect])
    local: list[RequestKey] = field(default_factory=list[RequestKey])

    def tell(self, event: Event) -> None:
        effects = self.world.tell(event)
        self.open += [effect for effect in effects if answers(effect, "org/a", 0)]

    def act(self, verb: int, a: int, b: int) -> None:
        """Let one thing happen, chosen by three numbers."""
        world, model, word = self.world, MODELS[a % len(MODELS)], WORDS[b % len(WORDS)]
        key = RequestKey(max(1, world.line - b % 2), word)
        if verb <= 5 and self.open:
            effect = self.open[a % len(self.open)]
            options = answers(effect, MODELS[b % 2], b)
            answer = options[0 if verb <= 2 else b % len(options)]
            if verb != 5 and not isinstance(answer, happened.WeightsProgressed):
                self.open.remove(effect)  # else it is answered again another time
            self.tell(answer)
        elif verb <= 9:
            self.tell(happened.Heard(key.line, words(model, word, b)))
        elif verb == 10:
            self.pause((0.1, 1.0, 2.0, 9.0, 11.0, 70.0)[a % 6], is_gap=b % 4 == 0)
        elif verb == 11:
            self.tell(wild(model, key, b))
        elif verb == 12:
            rejected = happened.SettingsRejected(ConfigInvalid(path="p", line=1, problem="odd"))
            chosen = happened.SettingsChanged(EDITS[b % len(EDITS)])
            self.tell(chosen if a % 8 else rejected)
        elif verb == 13:
            code = (1000, 1001, 1006, 1008, 1012)[b % 5]
            self.tell(happened.LinkClosed(world.line, code, LOST))
        elif verb == 14 and a % 16 == 0:
            self.tell(happened.StopAsked(now=bool(b % 2)))
        elif verb == 15:
            self.ask_here(model, a, b)

    def ask_here(self, model: str, a: int, b: int) -> None:
        """A program on this machine asks, or hangs up."""
        if self.local and a % 3 == 0:
            self.tell(happened.RequestWithdrawn(self.local[b % len(self.local)]))
        else:
            self.local.append(RequestKey(LOCAL, f"l{len(self.local)}"))
            self.tell(happened.RequestOpened(self.local[-1], model, b or None))

    def pause(self, seconds: float, *, is_gap: bool = False) -> None:
        """Time passes, or the machine sleeps."""
        if is_gap:
            self.world.now_s += seconds
            self.tell(happened.Due())
            return
        effects = self.world.after(seconds)
        self.open += [effect for effect in effects if answers(effect, "org/a", 0)]

    def calm(self) -> bool:
        """Everyone keeps his promises; whether all who waited were answered in time."""
        for _ in range(400):
            if self.open:
                self.tell(answers(self.open.pop(0), "org/a", 1)[0])
                continue
            node = self.world.node
            if node.is_done or (node.session.is_online and self.world.laws.is_square):
                return True
            self.pause(1.0)
        return False


numbers = st.integers(0, 200)
acts = st.lists(st.tuples(st.integers(0, 15), numbers, numbers), min_size=5, max_size=120)
edits = st.sampled_from(EDITS[:5])


def storm(first: Settings, chances: list[float]) -> Storm:
    def chance() -> float:
        chances.append(chances.pop(0))
        return chances[0]

    here = Storm(World(first, chance=chance))
    here.tell(happened.HostKnown(FACTS))
    here.tell(happened.LinkOpened(1))
    return here


MANY = knobs(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(first=edits, story=acts)
def test_whatever_happens_everyone_is_answered_once(
    first: Settings, story: list[tuple[int, int, int]]
) -> None:
    here = storm(first, [0.3, 0.9, 0.0])
    for verb, a, b in story:
        here.act(verb, a, b)
    assert here.calm(), "everyone who was heard is answered once things are well"


@MANY
@given(first=edits, story=acts, is_urgent=st.booleans())
def test_leaving_ends_whatever_the_rooms_do_not_answer(
    first: Settings, story: list[tuple[int, int, int]], *, is_urgent: bool
) -> None:
    here = storm(first, [0.5, 0.99])
    for verb, a, b in story:
        here.act(verb, a, b)
    node = here.world.node
    here.world.tell(happened.StopAsked(now=is_urgent))
    drain_s = 0.0 if is_urgent else node.settings.requests.drain_s
    here.world.after(drain_s + 5.0 + node.session.patience_s + 0.01)
    assert node.is_done, "a node that was asked to leave is gone in bounded time"


@MANY
@given(first=edits, story=acts, model=st.sampled_from(MODELS))
def test_a_load_outside_the_pool_changes_nothing(
    first: Settings, story: list[tuple[int, int, int]], model: str
) -> None:
    here = storm(first, [0.1])
    for verb, a, b in story:
        here.act(verb, a, b)
    world, node = here.world, here.world.node
    world.tell(happened.Due())
    if node.loads.pool.serves(model) or not node.session.is_online:
        return
    before, refusals = node.snapshot(world.now_s), node.loads.refusals.total
    effects = world.load_model(model)
    assert node.snapshot(world.now_s) == before
    assert node.loads.refusals.total == refusals + 1
    assert [type(effect) for effect in effects] == [do.Send]
