"""What becomes of an edit: taken over, pending, or refused as a whole."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from poolhand.agent.core.events import Event, SettingsChanged, SettingsRejected
from poolhand.agent.runtime.settings_file import SettingsFile
from poolhand.config.errors import AgentError
from poolhand.config.load import load
from poolhand.config.settings import ModelEntry, Settings
from poolhand.config.told import flat

BASE = '[coordinator]\nurl = "ws://127.0.0.1:1"\n'
MODEL = '[[models]]\nid = "m"\nref = "file:///m"\n'


class Room:
    """A file, what was told of it, and what was logged."""

    def __init__(self, path: Path, promises: Callable[[Settings], object] = lambda _: None) -> None:
        self.path = path
        path.write_text(BASE)
        self.told: list[Event] = []
        self.lines: list[tuple[str, dict[str, object]]] = []
        self.news = asyncio.Event()
        self.file = SettingsFile(
            load(path, {}), {}, tell=self.tell, note=self.note, promises=promises
        )

    def tell(self, event: Event) -> None:
        self.told.append(event)
        self.news.set()

    def note(self, words: str, *, level: int = 0, **facts: object) -> None:
        self.lines.append((words, facts))

    def edit(self, more: str) -> AgentError | str:
        self.path.write_text(BASE + more)
        return self.file.reread()

    @property
    def settings(self) -> Settings:
        changed = self.told[-1]
        assert isinstance(changed, SettingsChanged)
        return changed.settings


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "agent.toml")


def test_a_good_edit_is_taken_over_with_a_line_that_says_what_it_touched(room: Room) -> None:
    said = room.edit(
        '[slots]\nmax_model_slots = 2\n[pools]\nallowed = ["a"]\n[weights]\nconnections = 2\n'
    )
    assert said == "in force: pools.allowed, slots.max_model_slots, weights.connections (fetch)"
    assert room.settings.slots.max_model_slots == 2
    assert room.settings is room.file.settings
    words, facts = room.lines[-1]
    assert words == "configuration taken over"
    assert facts["touched"] == "pool, slots, weights"
    assert facts["pending"] == "nothing"
    facts = room.file.facts()
    assert (facts["pending"], facts["last_good_in_force"]) == ([], False)
    assert isinstance(facts["changed_s"], float)


def test_what_needs_a_restart_is_pending_and_the_rest_is_not_held_up(room: Room) -> None:
    said = room.edit('[slots]\nmax_model_slots = 2\n[cache]\ndir = "/x"\n[log]\nformat = "json"\n')
    assert said == "in force: slots.max_model_slots; needs a restart: cache.dir, log.format"
    assert room.settings.cache.dir is None
    assert room.file.facts()["pending"] == ["cache.dir", "log.format"]
    assert (
        room.edit('[cache]\ndir = "/x"\n')
        == "in force: slots.max_model_slots; needs a restart: cache.dir"
    )
    assert room.edit("") == "nothing changed"
    assert room.file.facts()["pending"] == []


def test_an_edit_that_does_not_hold_changes_nothing(room: Room) -> None:
    room.edit("[slots]\nmax_model_slots = 2\n")
    error = room.edit("[slots]\nmax_model_slots = 3\n[pools]\nassignd = 1\n")
    assert isinstance(error, AgentError)
    assert "agent.toml:6:1" in str(error)
    assert isinstance(room.told[-1], SettingsRejected)
    assert room.file.settings.slots.max_model_slots == 2
    assert room.file.facts()["last_good_in_force"] is True
    assert room.lines[-1][0] == "the last good configuration stays in force"
    room.path.unlink()
    assert isinstance(room.file.reread(), AgentError), "gone is no reason to go without"
    assert room.edit("[slots]\nmax_model_slots = 2\n") == "nothing changed"
    assert room.settings.slots.max_model_slots == 2, "told, so that nobody thinks it is refused"
    assert room.file.facts()["last_good_in_force"] is False


def test_a_claim_to_the_coordinator_is_not_broken_by_an_edit(tmp_path: Path) -> None:
    room = Room(tmp_path / "agent.toml", lambda chosen: chosen.engines.mlx.isolation)
    inprocess = '[engines.mlx]\nisolation = "inprocess"\n'
    told = room.edit(f"{MODEL}{inprocess}[slots]\nmax_model_slots = 2\n")
    assert told == "in force: slots.max_model_slots; needs a restart: models, engines.mlx.isolation"
    assert room.settings.models == ()
    assert room.edit(MODEL) == "in force: slots.max_model_slots, models"
    assert room.settings.models[0].id == "m"


def test_everything_in_force_is_told_and_no_secret(room: Room) -> None:
    room.edit('[stores.s3]\nendpoint = "https://u:tok-canary@h"\n[cache]\ndir = "/x"\n')
    told = room.file.told()
    chosen, origins = told["settings"], told["origins"]
    assert isinstance(chosen, dict)
    assert isinstance(origins, dict)
    assert chosen["stores.s3.endpoint"] == "https://***@h"
    assert chosen["cache.dir"] is None, "pending, and not in force"
    assert origins["cache.dir"] == f"{room.path}:6"
    assert told["pending"] == ["cache.dir"]
    assert "tok-canary" not in str(told)


async def test_an_edit_is_noticed_by_itself(room: Room) -> None:
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(room.file.keep())
        room.path.write_text(f"{BASE}[slots]\nmax_model_slots = 5\n")
        await room.news.wait()
        assert room.settings.slots.max_model_slots == 5
        task.cancel()
    assert len(room.told) == 1


NEW = ModelEntry(id="org/new", ref="s3://bucket/new")


def test_a_catalog_s_models_stand_beside_those_of_the_files(room: Room) -> None:
    _ = room.edit(MODEL)
    room.file.offer([NEW, ModelEntry(id="m", ref="s3://bucket/not-ours")])
    assert [(e.id, e.ref) for e in room.settings.models] == [
        ("m", "file:///m"),
        ("org/new", "s3://bucket/new"),
    ], "what the operator described stays as he described it"
    assert room.file.told()["settings"] == flat(room.file.settings), "no file says so"
    _ = room.edit(MODEL + "[slots]\nmax_model_slots = 2\n")
    assert [entry.id for entry in room.settings.models] == ["m", "org/new"]
    told = len(room.told)
    room.file.offer([NEW, ModelEntry(id="m", ref="s3://bucket/not-ours")])
    assert len(room.told) == told, "the same again is no news"
    room.file.offer([])
    assert [entry.id for entry in room.settings.models] == ["m"]


def test_a_catalog_s_model_that_would_break_a_claim_is_left_out(tmp_path: Path) -> None:
    room = Room(tmp_path / "agent.toml", lambda chosen: any("bad" in m.id for m in chosen.models))
    room.file.offer([ModelEntry(id="bad", ref="s3://bucket/bad"), NEW])
    assert [entry.id for entry in room.settings.models] == ["org/new"]
    assert [facts for _, facts in room.lines] == [{"model": "bad"}]
