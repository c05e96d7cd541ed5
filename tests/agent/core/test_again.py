"""A node that is asked the same in one moment answers as one that decides each time."""

from collections.abc import Callable, Sequence
from itertools import cycle

from hypothesis import HealthCheck, given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.core import events as happened
from poolhand.agent.core.again import Again
from poolhand.agent.core.effects import Effect, Send
from poolhand.agent.core.events import Event
from poolhand.agent.wire.inbound import LoadModel
from poolhand.agent.wire.outbound import LoadModelStatus
from poolhand.config.settings import Settings
from tests.journeys.test_laws import MODELS, Storm, edits, numbers
from tests.journeys.world import FACTS, World, settings

LOADS = 16
"""A verb beyond those of the storm: a load and nothing else."""

STORY = st.lists(
    st.tuples(st.integers(0, 15) | st.just(LOADS) | st.just(LOADS), numbers, numbers), max_size=80
)


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
            model = LoadModel(model_id=MODELS[a % len(MODELS)])
            here.tell(happened.Heard(here.world.line, model))


@knobs(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=edits, story=STORY)
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
    world.now_s += 0.001
    assert world.load_model("org/b") == [*known]
    assert world.answer is not known


def test_whatever_else_happens_ends_it() -> None:
    world, known = asked_thrice()
    world.tell(happened.UnpinAsked(1, "org/a"))
    world.tell(happened.PinAsked(2, "org/a"))
    assert world.load_model("org/b") == [*known]
    assert world.answer is not known


def test_another_line_is_not_answered_with_the_words_of_this_one() -> None:
    world, _ = asked_thrice()
    heard = happened.Heard(world.line - 1, LoadModel(model_id="org/b"))
    assert world.tell(heard) == []
