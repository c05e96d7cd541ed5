"""A configuration that is edited in every way while answers stream."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from world import A, World, text_of

from poolhand.agent.dev.stage import at

pytestmark = pytest.mark.e2e

Way = Callable[[Path, str], None]


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def in_two_halves(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        file.write(text[len(text) // 2 :])


def by_rename(path: Path, text: str) -> None:
    beside = path.with_name(".agent.toml.swp")
    beside.write_text(text)
    beside.replace(path)


def by_backup(path: Path, text: str) -> None:
    path.replace(path.with_name("agent.toml~"))
    path.write_text(text)


def gone_and_back(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def with_its_old_times(path: Path, text: str) -> None:
    facts = path.stat()
    path.write_text(text)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def by_sed(path: Path, text: str) -> None:
    number = text.rpartition("= ")[2].strip()
    rule = f"s/^max_model_slots = .*/max_model_slots = {number}/"
    subprocess.run(["sed", "-i.bak", rule, str(path)], check=True)  # noqa: S603, S607  # our own words


def by_link(path: Path, text: str) -> None:
    target = path.with_name("linked.toml")
    target.write_text(text)
    beside = path.with_name("link")
    beside.symlink_to(target.name)
    beside.replace(path)


def as_a_mounted_folder(path: Path, text: str) -> None:
    """As Kubernetes mounts a ConfigMap: ``agent.toml`` -> ``..data/agent.toml``."""
    number = text.rpartition("= ")[2].strip()
    inside = path.with_name(f"..{number}")
    inside.mkdir()
    (inside / path.name).write_text(text)
    for name, target in (("..data", inside.name), (path.name, f"..data/{path.name}")):
        beside = path.with_name("..tmp")
        beside.symlink_to(target)
        beside.replace(path.with_name(name))


def beside_it(path: Path, text: str) -> None:
    folder = path.with_suffix(".d")
    folder.mkdir()
    (folder / "slots.toml").write_text("[slots]\n" + text.splitlines()[-1] + "\n")


WAYS: tuple[Way, ...] = (
    in_place,
    in_two_halves,
    by_rename,
    by_backup,
    gone_and_back,
    with_its_old_times,
    by_sed,
    by_link,
    as_a_mounted_folder,
    beside_it,
)


SAID = " ".join(f"word{nth}" for nth in range(50))
"""Takes a second or so: the relay sends some twenty pieces a second at least, one a word."""


def repeating(world: World, folder: Path | None = None) -> tuple[Path, str]:
    """A configuration whose models only repeat what they are told, and its text."""
    config = world.configure()
    text = config.read_text().replace("\nref = ", '\nengine = "echo"\nref = ')
    text = text.replace('dir = "', f'dir = "{world.folder}/')
    path = (folder or world.folder) / "agent.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path, text


@contextmanager
def streaming(world: World) -> Generator[list[str]]:
    """Somebody who asks all the time; gives what was answered."""
    answers: list[str] = []
    is_over = threading.Event()

    def ask() -> None:
        client = world.client()
        while not is_over.is_set():
            stream = world.stream(SAID, most=3000, client=client)
            answers.append("".join(map(text_of, stream)))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield answers
    finally:
        is_over.set()
        asking.join(60)


def test_ten_ways_of_saving_while_answers_stream(world: World) -> None:
    path, base = repeating(world, world.folder / "etc")
    world.join(path)
    assert world.load(A)["status"] == "succeeded"
    line = at(world.agent.status(), "line", "lines")
    with streaming(world) as answers:
        for number, way in enumerate(WAYS, 2):
            way(path, base + f"[slots]\nmax_model_slots = {number}\n")
            world.heard(
                lambda number=number: at(world.agent.status(), "max_model_slots") == number,
                f"{way.__name__} is seen",
                20,
            )
    assert len(answers) > 3, "somebody was answered all the while"
    assert set(answers) == {SAID}, "each answer is whole"
    assert {at(one, "terminals") for one in world.requests()} == {1}, "and each ended once"
    assert at(world.agent.status(), "line", "lines") == line, "on the very same line"
    taken = [one for one in world.log() if one["what"] == "configuration taken over"]
    assert [one["changed"] for one in taken] == ["slots.max_model_slots"] * len(WAYS)
    assert not [one for one in world.log() if one["what"] == "SettingsRejected"]


def test_a_bad_edit_leaves_the_last_good_one_in_force(world: World) -> None:
    path, good = repeating(world)
    world.join(path)
    assert world.load(A)["status"] == "succeeded"
    path.write_text(good + "[slot]\nmax_model_slots = 3\n")

    def told() -> object:
        return at(world.agent.status(), "config", "rejected", "words")

    world.heard(lambda: "agent.toml:" in str(told()), "it says so", 20)
    assert "unknown key slot (did you mean slots?)" in str(told())
    assert at(world.agent.status(), "config", "last_good_in_force") is True
    assert world.answer() == "Hello!", "and it serves"
    asked = ("status", "--state-dir", str(world.agent.state_dir))
    drawn = subprocess.run(  # noqa: S603  # our own words
        [sys.executable, "-m", "poolhand.agent", *asked],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert drawn.returncode == 0
    assert "the last edit is not in force" in drawn.stdout
    assert len([one for one in world.log() if "last good" in str(one["what"])]) == 1
    path.write_text(good)
    world.heard(lambda: told() is None, "it is mended", 20)


def test_what_needs_a_restart_is_named_and_the_rest_holds_at_once(world: World) -> None:
    """A new model, another place, a level and traces at once; a folder not."""
    path, text = repeating(world)
    world.join(path)
    assert world.load(A)["status"] == "succeeded"
    assert world.served_bytes("tiny-b") == 0
    new = '[[models]]\nid = "org/new"\naliases = ["tiny"]\nengine = "echo"\nref = "s3://models/tiny-b"\n'
    text = text.replace("agent.cache", "other.cache").replace('"debug"', '"info"')
    path.write_text(f"{text}{new}")
    world.agent.process.send_signal(signal.SIGHUP)
    world.heard(
        lambda: at(world.agent.status(), "config", "pending") == ["cache.dir"], "it is pending", 20
    )
    assert world.load("org/new")["status"] == "succeeded", "a model that came by the edit"
    assert world.answer(model="org/new") == "Hello!"
    assert world.served_bytes("tiny-b") > 0
    assert (world.folder / "agent.cache").is_dir()
    assert not (world.folder / "other.cache").exists()
    assert list(world.log())[-1]["level"] != "debug"
    path.write_text(f'{text}{new}[telemetry]\ntraces = true\nendpoint = "http://127.0.0.1:1"\n')
    world.heard(lambda: "telemetry" in world.agent.status(), "traces are wanted", 20)
    path.write_text(f"{text}{new}")
    world.heard(lambda: "telemetry" not in world.agent.status(), "and no more", 20)
