"""The owner's orders, typed on the command line while an agent answers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from world import A, B, World, begun, opened, text_of

from poolhand.agent.cli.exits import Exit
from poolhand.agent.dev.stage import at, each_of

pytestmark = pytest.mark.e2e

LONG = "word " * 3500
"""Repeated at fifty words a second."""


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[World]:
    """An agent that no file assigned a pool to; tiny-a and tiny-b are two pools."""
    with opened(tmp_path_factory.mktemp("orders") / "w", weights) as made:
        path = made.configure()
        text = path.read_text().replace('assigned = "tiny"\n', "")
        alias = 'aliases = ["tiny"]\nref = "s3://models/tiny-b"'
        text = text.replace(alias, 'ref = "s3://models/tiny-b"')
        # one that answers slowly and loads at once: orders are what is tried here
        path.write_text(text.replace("[[models]]", '[[models]]\nengine = "echo"'))
        made.join(path)
        assert typed(made, "pool", "set", "tiny")[0] == Exit.OK
        loaded(made, A)
        yield made


def typed(world: World, *words: str) -> tuple[int, str]:
    """Type it; the exit code and what was said."""
    command = [sys.executable, "-m", "poolhand.agent", *words]
    ended = subprocess.run(  # noqa: S603  # our own command
        [*command, "--state-dir", str(world.agent.state_dir)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    return ended.returncode, ended.stdout + ended.stderr


def told(world: World, *words: str) -> tuple[int, dict[str, object]]:
    code, text = typed(world, *words, "--json")
    return code, cast("dict[str, object]", json.loads(text))


def loaded(world: World, model: str) -> None:
    """A machine that has moved dials anew, and a load that was asked for before is lost."""
    ends: list[object] = []
    for _ in range(20):
        ends.append(world.load(model))
        if at(ends[-1], "status") == "succeeded":
            return
        world.heard(lambda: bool(world.providers()), "it is connected")
    raise AssertionError(ends)


def drains(world: World) -> list[object]:
    return [at(each, "reason") for each in each_of(world.agent.status(), "drains")]


def test_p20_set_drains_a_busy_machine_first_and_kills_only_with_now(free: World) -> None:
    stream = free.stream(LONG, most=150)
    begun(stream)
    with ThreadPoolExecutor(1) as beside:
        moved = beside.submit(typed, free, "pool", "set", B)
        free.heard(lambda: drains(free) == ["move"], "it drains")
        assert not moved.done()
        assert "draining" in str(free.load(A)["error"]), "nothing new is taken"
        assert sum(len(text_of(chunk)) > 0 for chunk in stream) > 10, "what runs is finished"
        code, said = moved.result(40)
    assert (code, said.splitlines()[-1]) == (Exit.OK, f"done: the pool is '{B}'")
    assert at(free.ended(), "terminals") == 1
    assert at(free.agent.status(), "pool", "source") == "operator"
    loaded(free, B)
    assert free.answer("say it again", model=B) == "say it again"

    stream = free.stream(LONG, model=B, most=3500)
    begun(stream)
    code, answer = told(free, "pool", "set", "tiny", "--now")
    assert (code, answer["status"]) == (Exit.OK, "done")
    assert free.stay(B) is None or at(free.stay(B), "state") != "ready"
    code, answer = told(free, "pool", "status")
    assert (answer["assigned"], answer["source"]) == ("tiny", "operator")
    stream.close()


def test_p20_an_order_that_cannot_be_obeyed_changes_nothing(free: World) -> None:
    before = at(free.agent.status(), "pool", "epoch")
    code, said = typed(free, "pool", "set", "nowhere")
    assert (code, said) == (
        Exit.REFUSED,
        "refused: no model that is offered and allowed belongs to pool 'nowhere'\n",
    )
    code, said = typed(free, "pin", "nowhere")
    assert (code, said) == (Exit.REFUSED, "refused: model 'nowhere' is not offered here\n")
    assert at(free.agent.status(), "pool", "epoch") == before


def test_p20_a_pin_holds_until_it_is_taken_back(free: World) -> None:
    assert typed(free, "pin", "tiny")[0] == Exit.OK, "an alias of one model alone"
    assert at(free.agent.status(), "pinned") == [A]
    assert typed(free, "models", "unpin", A)[0] == Exit.OK
    assert at(free.agent.status(), "pinned") == []


def test_a_drain_finishes_what_runs_and_is_taken_back(free: World) -> None:
    loaded(free, A)
    stream = free.stream(LONG, most=3500)
    begun(stream)
    code, answer = told(free, "drain", "--no-wait")
    assert (code, answer["status"]) == (Exit.OK, "under_way")
    assert text_of(next(stream)), "nobody is disturbed"
    assert typed(free, "status")[0] == Exit.NOT_SERVING
    assert "draining" in str(free.load(B)["error"])
    code, answer = told(free, "drain", "--deadline", "1s")
    assert (code, answer["status"]) == (Exit.OK, "done"), "what took longer was ended"
    stream.close()
    code, answer = told(free, "undrain")
    assert (code, answer["status"]) == (Exit.OK, "done")
    free.heard(lambda: typed(free, "status")[0] == Exit.OK, "it serves again", 30)


def test_a_reload_says_what_is_in_force_and_what_cannot_be(free: World) -> None:
    path = free.folder / "agent.toml"
    text = path.read_text()
    path.write_text(text.replace("[pools]\n", "[pools]\nmin_dwell_s = 7.0\n"))
    assert typed(free, "reload") == (Exit.OK, "done: in force: pools.min_dwell_s\n")
    path.write_text(text.replace("[pools]\n", "[pools]\nmin_dwel_s = 7.0\n"))
    code, said = typed(free, "reload")
    assert code == Exit.REFUSED
    assert "min_dwell_s" in said, "a suggestion"
    path.write_text(text)
    assert typed(free, "reload")[0] == Exit.OK
