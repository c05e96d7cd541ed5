"""A node that is asked the same in one moment answers as one that decides each time."""

from collections.abc import Callable, Sequence
from itertools import cycle

from hypothesis import HealthCheck, given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core.again import MOMENT_S, Again
from poolhand.agent.core.effects import Effect, Send
from poolhand.agent.core.events import Event
from poolhand.agent.wire.extensions import AssignPool, CancelLoad, Drain, Undrain, UnloadModel
from poolhand.agent.wire.inbound import Inbound, LoadModel
from poolhand.agent.wire.outbound import LoadModelStatus
from poolhand.config.settings import Settings
from tests.journeys.test_laws import MODELS, Storm, edits, numbers
from tests.journeys.world import FACTS, World, settings

LOADS, COMMANDS = 16, 17
"""Verbs beyond those of the storm: a load and nothing else, and what goes beyond the protocol."""

STORY = st.lists(
    st.tuples(st.integers(0, 15) | st.sampled_from([LOADS] * 3 + [COMMANDS]), numbers, numbers),
    max_size=80,
)

CHOSEN = st.one_of(
    edits,
    st.sampled_from(
        [
            settings(slots={"max_loads_per_h": 1}),
            settings(slots={"max_loads_per_h": 1, "min_residency_s": 600.0}),
            settings(pools={"follow_coordinator": True}),
            settings(pools={"enforce": False}, slots={"max_model_slots": 2}),
            settings(
                models=[
                    {
                        "id": name,
                        "aliases": ["tiny"],
                        "ref": f"s3://models/{name}",
                        "engine": "vllm",
                        "serving": {"adapters": [f"{name}-fine=s3://models/fine"]},
                    }
                    for name in MODELS[:2]
                ]
            ),
        ]
    ),
)


def command(which: int, model: str, epoch: int) -> Inbound:
    """Whatever moves a model, or keeps it from coming."""
    choices: list[Inbound] = [
        CancelLoad(model_id=model),
        UnloadModel(model_id=model),
        AssignPool(pool=model, epoch=epoch, preload=model),
        AssignPool(epoch=epoch),
        Drain(),
        Undrain(),
        LoadModel(model_id=f"{model}-fine"),
    ]
    return choices[which % len(choices)]


class Echoing(World):
    """The same world around a node that is asked through :class:`Again`."""

    def __init__(
        self, chosen: Settings | None = None, *, chance: Callable[[], float] = lambda: 0.5
    ) -> None:
        super().__init__(chosen, chance=chance)
        self.again = Again(self.node)
        self.answer: Sequence[Effect] = ()

    def tell(self, event: Event) -> list[Effect]:
        """One event, at a wall clock that stands with the other."""
        self.laws.before(event)
        self.answer = self.again.handle(event, self.now_s)
        effects = [*self.answer]
        self.laws.after(self.node, event, effects, self.now_s)
        self.effects += effects
        return effects


def tell(here: Storm, story: list[tuple[int, int, int]]) -> None:
    for verb, a, b in story:
        if verb < LOADS:
            here.act(verb, a, b)
        else:
            model = MODELS[a % len(MODELS)]
            said = LoadModel(model_id=model) if verb == LOADS else command(b, model, a + b)
            here.tell(happened.Heard(here.world.line, said))


@knobs(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=CHOSEN, story=STORY)
def test_whatever_happens_it_says_what_the_node_would_say(
    first: Settings, story: list[tuple[int, int, int]]
) -> None:
    plain, again = Storm(World(first, chance=drawn())), Storm(Echoing(first, chance=drawn()))
    for here in (plain, again):
        here.tell(happened.HostKnown(FACTS))
        here.tell(happened.LinkOpened(1))
    tell(plain, story)
    tell(again, story)
    ours, theirs = again.world.node, plain.world.node
    # errors are equal only to themselves; what was said of them is compared
    assert list(map(str, again.world.effects)) == list(map(str, plain.world.effects))
    assert dict(ours.loads.refusals.by_reason) == dict(theirs.loads.refusals.by_reason)
    assert ours.loads.refusals.total == theirs.loads.refusals.total
    assert str(ours.snapshot(again.world.now_s).stays) == str(
        theirs.snapshot(plain.world.now_s).stays
    )


def drawn() -> Callable[[], float]:
    """Chance, the same for both."""
    return cycle([0.3, 0.9]).__next__


def busy() -> Echoing:
    """One slot, taken by a model that is pinned; ``org/b`` and ``org/d`` are of the pool too."""
    models = [
        {
            "id": f"org/{name}",
            "aliases": ["tiny"],
            "ref": f"s3://models/{name}",
            "pinned": name == "a",
        }
        for name in "abd"
    ]
    world = Echoing(settings(models=models))
    world.start()
    world.load_model("org/a")
    world.stage("org/a")
    world.loaded("org/a")
    return world


def test_of_a_storm_each_name_is_decided_once_and_each_asking_answered() -> None:
    world = busy()
    total = world.node.loads.refusals.total
    said: list[Effect] = []
    decided: list[int] = []
    for at in range(1000):
        said += world.load_model(f"org/{'bd'[at % 2]}")
        decided.append(id(world.answer))
    told = [one.message for one in said if isinstance(one, Send)]
    names = [one.model_id for one in told if isinstance(one, LoadModelStatus)]
    assert names == ["org/b", "org/d"] * 500
    assert {one.error for one in told if isinstance(one, LoadModelStatus)} == {
        "all 1 model slot(s) are active; cannot load 'org/b'",
        "all 1 model slot(s) are active; cannot load 'org/d'",
    }
    assert world.node.loads.refusals.total == total + 1000
    assert len({*decided[4:]}) == 2, "each name's answer is one and the same"


def asked_thrice() -> tuple[Echoing, Sequence[Effect]]:
    """A busy world in which the answer to one name is known."""
    world = busy()
    for _ in range(3):
        world.load_model("org/b")
    known = world.answer
    world.load_model("org/b")
    assert world.answer is known
    return world, known


def test_a_moment_later_it_is_decided_anew() -> None:
    world, known = asked_thrice()
    world.now_s += MOMENT_S / 2.0
    world.load_model("org/b")
    assert world.answer is known
    world.now_s += MOMENT_S / 2.0
    assert world.load_model("org/b") == [*known]
    assert world.answer is not known


def test_whatever_else_happens_ends_it() -> None:
    world, known = asked_thrice()
    world.tell(ordered.UnpinAsked(1, "org/a"))
    world.tell(ordered.PinAsked(2, "org/a"))
    assert world.load_model("org/b") == [*known]
    assert world.answer is not known


def test_another_line_is_not_answered_with_the_words_of_this_one() -> None:
    world, _ = asked_thrice()
    heard = happened.Heard(world.line - 1, LoadModel(model_id="org/b"))
    assert world.tell(heard) == []


def test_names_that_nobody_asked_for_before_are_refused_at_the_door() -> None:
    world = busy()
    for name in ("b", "d", "b", "d"):
        world.load_model(f"org/{name}")
    total, rows = world.node.loads.refusals.total, world.node.loads.refusals.by_reason
    said = [one for at in range(100) for one in world.load_model(f"far/{at}")]
    errors = [one.message for one in said if isinstance(one, Send)]
    assert [one.model_id for one in errors if isinstance(one, LoadModelStatus)] == [
        f"far/{at}" for at in range(100)
    ]
    assert world.node.loads.refusals.total == total + 100
    assert rows["model_not_in_pool"] == 100


def test_of_a_model_that_answers_it_is_said_again() -> None:
    world = busy()
    said = [world.load_model("org/a") for _ in range(4)]
    assert said[1:] == said[:3]
    known = world.answer
    world.load_model("org/a")
    assert world.answer is known
    assert world.node.loads.refusals.total == 0


def test_a_load_that_begins_is_counted_each_time() -> None:
    world = Echoing(settings())
    world.start()
    for _ in range(3):
        world.load_model("org/a")
    world.stage("org/a")
    said = world.loaded("org/a")
    told = [one.message for one in said if isinstance(one, Send)]
    assert sum(isinstance(one, LoadModelStatus) for one in told) == 3


def test_a_wall_clock_that_is_set_ends_it() -> None:
    world = busy()
    heard = happened.Heard(world.line, LoadModel(model_id="org/b"), 0.0)
    said = [world.again.handle(heard, world.now_s, unix_s) for unix_s in (9e8, 9e8, 9e8)]
    assert said[1] is said[2]
    for unix_s in (9e8 - 1.0, 9e8 - 1.0, 9e8):
        assert world.again.handle(heard, world.now_s, unix_s) is not said[1]
