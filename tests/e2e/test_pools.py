"""One machine and its pool, against a coordinator that knows nothing of pools."""

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from openai import RateLimitError
from world import OTHER, A, B, World, begun, text_of

from poolhand.agent.dev.checkpoint import expected_text
from poolhand.agent.dev.stage import at, each_of

pytestmark = pytest.mark.e2e

OUTSIDE = "model '{}' not in advertised model list: outside assigned pool '{}'"
FULL = "all 1 model slot(s) are active; cannot load '{}'"
DESIRED = {"model_name": "tiny", "desired_build": B, "previous_build": A}


def configured(world: World, **pools: str) -> Path:
    """An agent whose pool nobody has assigned; ``tiny-a`` and ``tiny-b`` share no alias."""
    path = world.configure()
    keys = "\n".join(f"{key} = {value}" for key, value in pools.items())
    text = path.read_text().replace('assigned = "tiny"\nallowed = ["tiny", "org/*"]', keys)
    text = text.replace(
        'aliases = ["tiny"]\nref = "s3://models/tiny-b"', 'ref = "s3://models/tiny-b"'
    )
    path.write_text(text)
    return path


def keep(world: World, *scope: str, epoch: int = 4, name: str = "agent") -> Path:
    """Leave an assignment in the state folder, as an earlier run would have."""
    folder = world.folder / f"{name}.state"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "assignment.json"
    record = {
        "pool": scope[0] if len(scope) == 1 else None,
        "scope": list(scope),
        "source": "hash",
        "epoch": epoch,
        "since_unix_s": 1.0,
        "moved_unix_s": None,
        "only": [],
        "topology_hash": "",
    }
    path.write_text(json.dumps(record))
    return path


def pool(world: World, *path: str) -> object:
    return at(world.agent.status(), "pool", *path)


def offered(world: World) -> list[object]:
    return [at(each, "id") for each in each_of(world.provider(), "register", "models")]


def answers(world: World, message: str) -> list[tuple[object, ...]]:
    """What the agent answered to commands, in order, as its log has it."""
    said = [line for line in world.log() if line.get("message") == message]
    sent = [line for line in said if line["what"] == "Send"]
    return [(line["status"], line.get("epoch"), line.get("error")) for line in sent]


def command(world: World, expected: int, message: str, **fields: object) -> tuple[object, ...]:
    """Send a command; its answer, once there are so many."""
    world.send(json.dumps(fields))
    world.heard(lambda: len(answers(world, message)) >= expected, f"answer {expected}")
    return answers(world, message)[expected - 1]


def test_the_desired_build_replaces_the_previous_one_of_its_alias(world: World) -> None:
    world.join(world.configure())
    assert world.load(A)["status"] == "succeeded"
    epoch = pool(world, "epoch")
    stream = world.stream("[loop]", most=3500)
    begun(stream)
    world.post("desired", {"models": [DESIRED]})
    world.heard(lambda: bool(at(world.stay(A), "state")) and here(world, B), "B is on disk")
    assert world.load(B)["error"] == FULL.format(B)
    assert text_of(next(stream)), "nobody is disturbed"
    stream.close()
    world.ended()
    assert world.load(B)["status"] == "succeeded"
    assert world.answer(model=B) == expected_text("beta")
    assert (pool(world, "epoch"), pool(world, "assigned")) == (epoch, "tiny")


def here(world: World, model: str) -> bool:
    stocks = each_of(world.agent.status(), "cache", "models")
    return any(at(s, "id") == model and at(s, "on_disk") == "here" for s in stocks)


def test_another_pool_is_refused_at_once_and_for_long(world: World) -> None:
    keep(world, "tiny")
    world.join(configured(world))
    assert world.load(A)["status"] == "succeeded"
    told = world.load(B)
    assert (told["status"], told["error"]) == ("failed", OUTSIDE.format(B, "tiny"))
    assert told["class"] == "model_not_found"
    took_s = told["took_s"]
    assert isinstance(took_s, float)
    assert took_s < 0.5, "50 ms, and what a loaded machine takes"
    assert world.answer() == expected_text("alpha")
    assert pool(world, "last_refusal", "count") == 1


def test_a_coordinator_that_is_followed_moves_an_idle_machine(world: World) -> None:
    keep(world, "tiny")
    world.join(configured(world, follow_coordinator="true"))
    assert offered(world) == [A]
    assert world.load(A)["status"] == "succeeded"
    stream = world.stream("[loop]", most=3500)
    begun(stream)
    assert world.load(B)["error"] == OUTSIDE.format(B, "tiny"), "it answers"
    assert text_of(next(stream))
    stream.close()
    world.ended()
    assert world.load(B)["status"] == "succeeded"
    assert (pool(world, "assigned"), pool(world, "epoch"), pool(world, "source")) == (B, 5, "load")
    world.heard(lambda: len(world.providers()) == 1 and offered(world) == [B], "A is unsaid")
    assert world.answer(model=B) == expected_text("beta")
    assert len(world.engines()) == 1
    assert "too recently" in str(pool(world, "stays_because"))


def test_a_restart_keeps_the_assignment_and_a_bad_file_is_kept_aside(world: World) -> None:
    file = keep(world, "tiny", epoch=41)
    config = configured(world)
    world.join(config)
    assert (pool(world, "assigned"), pool(world, "epoch")) == ("tiny", 41)
    assert world.agent.end() == 0
    assert json.loads(file.read_text())["epoch"] == 41
    file.write_text('{"pool": "tin')
    world.join(config)
    assert (pool(world, "source"), pool(world, "epoch")) == ("hash", 1)
    assert file.with_name("assignment.bad").read_text() == '{"pool": "tin'
    codes = [at(each, "code") for each in each_of(world.agent.status(), "failures")]
    assert "state_damaged" in codes


def test_a_pool_is_assigned_by_a_coordinator_that_knows_how(world: World) -> None:
    keep(world, "tiny")
    world.join(configured(world, allowed=f'["tiny", "{B}"]'))
    assert at(world.provider(), "register", "extensions", "pools") == 1
    assert world.load(A)["status"] == "succeeded"

    def assign(expected: int, wanted: str, epoch: int) -> tuple[object, ...]:
        asked = {"type": "assign_pool", "pool": wanted, "epoch": epoch}
        return command(world, expected, "AssignPoolStatus", **asked)

    assert assign(1, B, 3) == ("refused", 4, "stale epoch")
    assert assign(2, B, 4) == ("refused", 4, "epoch conflict")
    assert assign(3, OTHER, 5) == ("refused", 4, f"pool '{OTHER}' not allowed by local policy")
    stream = world.stream("[loop]", most=3500)
    begun(stream)
    assert assign(4, B, 5) == ("draining", 5, None)
    assert text_of(next(stream)), "what runs is finished"
    stream.close()
    world.heard(lambda: len(answers(world, "AssignPoolStatus")) == 5, "it is done")
    assert answers(world, "AssignPoolStatus")[-1] == ("applied", 5, None)
    world.heard(lambda: len(world.providers()) == 1 and offered(world) == [B], "A is unsaid")
    assert world.load(B)["status"] == "succeeded"
    assert assign(6, B, 5) == ("applied", 5, None), "a repetition"


def reread(world: World, config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    world.agent.process.send_signal(signal.SIGHUP)


def test_the_switch_and_the_owner_s_choice_are_taken_over_at_run_time(world: World) -> None:
    keep(world, "tiny")
    config = configured(world, enforce="true")
    world.join(config)
    assert world.load(A)["status"] == "succeeded"
    assert world.load(B)["error"] == OUTSIDE.format(B, "tiny")
    reread(world, config, "enforce = true", "enforce = false")
    world.heard(lambda: pool(world, "enforced") is False, "the switch is off")
    stream = world.stream("[loop]", most=3500)
    begun(stream)
    assert world.load(B)["error"] == FULL.format(B), "slots are slots"
    stream.close()
    world.ended()
    assert world.load(B)["status"] == "succeeded"
    assert (pool(world, "assigned"), pool(world, "epoch")) == ("tiny", 4)
    reread(world, config, "enforce = false", f'assigned = "{B}"')
    world.heard(lambda: pool(world, "assigned") == B, "the owner's choice")
    assert (pool(world, "source"), pool(world, "epoch")) == ("config", 5)
    assert at(world.stay(B), "state") == "ready"
    reread(world, config, "heartbeat_interval_s = 0.5", "heartbeat_interval_s = -1")
    world.heard(lambda: at(world.agent.status(), "config", "rejected") is not None, "rejected")


def test_a_coordinator_that_asks_for_nothing_new_hears_nothing_new(world: World) -> None:
    world.join(world.configure())
    assert world.load(A)["status"] == "succeeded"
    world.load(OTHER)
    assert world.answer() == expected_text("alpha")
    assert at(world.provider(), "dropped") == 0
    for message in ("AssignPoolStatus", "DrainStatus", "UnloadModelStatus", "CancelLoadStatus"):
        assert answers(world, message) == []


def test_an_empty_wish_stops_what_it_had_begun(world: World) -> None:
    world.join(world.configure(b="large"))
    world.throttle(200_000)
    world.post("desired", {"models": [DESIRED]})
    world.heard(lambda: at(world.stay(B), "state") == "downloading", "B comes")
    unknown = {"model_name": "tiny", "desired_build": "org/none", "previous_build": ""}
    for rows in ([DESIRED, unknown], [unknown, DESIRED], []):
        world.post("desired", {"models": rows})
    world.heard(lambda: world.stay(B) is None, "B comes no more")
    world.throttle(0)
    time.sleep(1.0)
    assert world.stay(B) is None
    assert not here(world, B)
    ignored = [one for one in world.log() if one["what"] == "desired build ignored"]
    assert [(one["model"], one["reason"]) for one in ignored] == [
        ("org/none", "it is not offered here")
    ], "told once"


def between(world: World, first: str, last: str) -> list[object]:
    """What the agent did after one message and before another."""
    lines = [*world.log()]
    (begin,) = (at for at, line in enumerate(lines) if line.get("message") == first)
    (end,) = (at for at, line in enumerate(lines) if line.get("message") == last)
    return [line["what"] for line in lines[begin + 1 : end]]


def test_a_cancelled_load_is_acknowledged_in_the_same_breath(world: World) -> None:
    world.join(world.configure(b="large"))
    assert world.load(A)["status"] == "succeeded"
    world.throttle(200_000)
    loading = threading.Thread(target=world.load, args=(B,))
    loading.start()
    world.until(lambda: at(world.stay(B), "bytes_done"), "B comes", 20)
    asked = {"type": "cancel_load", "model_id": B}
    assert command(world, 1, "CancelLoadStatus", **asked)[0] == "cancelled"
    # no clock: a machine may be slow, but an answer that waits for anything has it in between
    assert between(world, "CancelLoad", "CancelLoadStatus") == [], "whatever the fetch does"
    loading.join(10)
    world.throttle(0)
    assert world.answer() == expected_text("alpha"), "the resident model is kept"
    assert world.load(B)["status"] == "succeeded"
    assert int(str(at(world.stay(B), "bytes_resumed"))) > 0, "and so are the bytes"


def test_a_crowd_of_requests_and_loads_never_makes_two_residents(world: World) -> None:
    keep(world, "tiny")
    config = configured(world, follow_coordinator="true")
    config.write_text(config.read_text() + "\n[requests]\nmax_concurrent = 128\n")
    world.join(config)
    assert world.load(A)["status"] == "succeeded"
    outcomes: list[bool] = []
    client = world.client()

    def ask() -> None:
        try:
            outcomes.append(any(map(text_of, world.stream("Hello!", A, 8, client))))
        except RateLimitError as error:
            outcomes.append("queue full" in str(error))  # sent elsewhere, not killed

    def move() -> None:
        told = world.load(B)
        outcomes.append(told["error"] == OUTSIDE.format(B, "tiny"))

    stream = world.stream("[loop]", most=3500)
    begun(stream)
    steps: list[Callable[[], None]] = [*[ask] * 100, *[move] * 20]
    crowd = [threading.Thread(target=step) for step in steps]
    for each in crowd:
        each.start()
    while any(each.is_alive() for each in crowd):
        assert len(world.engines()) <= 1
        time.sleep(0.1)
    stream.close()
    assert outcomes == [True] * len(steps)


def test_an_alias_goes_while_its_build_answers_and_a_shared_build_narrows(world: World) -> None:
    """Only the coordinator knows the aliases: ``x`` is A and OTHER, ``y`` is B and OTHER."""
    config = configured(world, advertise='"all"')
    config.write_text(config.read_text().replace('aliases = ["tiny"]\n', ""))
    world.join(config)
    x = {"model_name": "x", "desired_build": OTHER, "previous_build": A}
    y = {"model_name": "y", "desired_build": OTHER, "previous_build": B}
    world.post("desired", {"models": [x, y]})
    assert world.load(OTHER)["status"] == "succeeded"
    assert pool(world, "scope") == ["x", "y"]
    assert world.load(A)["status"] == "succeeded"
    assert pool(world, "scope") == ["x"]
    assert world.load(B)["error"] == OUTSIDE.format(B, "x")
    stream = world.stream("[loop]", most=3500)
    begun(stream)
    world.post("desired", {"models": [y]})
    world.heard(lambda: pool(world, "scope") == [A], "the build's own key is left")
    assert text_of(next(stream)), "its request goes on"
    stream.close()
    world.ended()
    assert at(world.stay(A), "state") == "ready", "nothing is unloaded"
