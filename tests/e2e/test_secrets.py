"""What was asked, what was answered and the token: nowhere but where they belong."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import openai
import pytest
from canaries import PROMPT, TOKEN, found_in, told, written
from world import A, World, begun, text_of

from poolhand.agent.cli.exits import Exit
from poolhand.agent.cli.main import VERBS
from poolhand.agent.dev.checkpoint import expected_text
from poolhand.agent.dev.stage import ask, at

pytestmark = pytest.mark.e2e

ANSWERS = ("Hello from alpha", "Counting: one two", "tock tick", "costs \N{EURO SIGN}5")
"""Pieces of answers that are longer than any token of the checkpoint."""


def run_through(world: World) -> None:
    """Answers, refusals and failures, all of which could be told of too freely."""
    assert world.load(A)["status"] == "succeeded"
    hello = expected_text("alpha")
    assert world.answer(f"Hello! {PROMPT}") == hello
    assert "costs" in world.answer(f"{PROMPT} [unicode]")
    stream = world.stream(f"{PROMPT} [loop]", most=3000)
    begun(stream)
    stream.close()
    world.ended()
    client = world.client()
    for wrong in (
        {"messages": PROMPT},
        {"messages": [{"role": "user", "content": {"text": PROMPT}}]},
        {"messages": [{"role": PROMPT, "content": PROMPT}]},
        {"messages": [{"role": "user", "content": PROMPT}], "tools": PROMPT},
        {"messages": [{"role": "user", "content": f"{PROMPT} " * 20_000}]},
        {"messages": [{"role": "user", "content": PROMPT}], "temperature": PROMPT},
    ):
        with contextlib.suppress(openai.APIError):
            client.chat.completions.create(model=A, max_tokens=9, extra_body=wrong, messages=[])
    stream = world.stream(f"{PROMPT} [loop]", most=3000)
    begun(stream)
    world.engines()[0].kill()
    with pytest.raises(openai.APIError):
        list(map(text_of, stream))


ASKED: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("config", "show", "--effective", "--json"),
    ("config", "diff"),
    ("doctor", "--json"),
)
"""Verbs that only look; those that are not there yet are left out."""


def shown(world: World, config: Path) -> Iterator[tuple[str, bytes]]:
    """What the owner's own tools show."""
    state = str(world.agent.state_dir)
    for verb, *words in ASKED:
        if verb not in VERBS:
            continue
        where = [] if words[:1] == ["show"] else ["--state-dir", state]
        ended = subprocess.run(  # noqa: S603  # our own words
            [sys.executable, "-m", "poolhand.agent", verb, *words, "--config", str(config), *where],
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert ended.returncode != Exit.USAGE, ended.stderr
        yield " ".join((verb, *words)), ended.stdout + ended.stderr
    yield from told(world.agent.state_dir)


def mistaken(world: World, config: Path) -> None:
    """A token and a prompt where no key is: the edit is refused without a word of them."""
    good = config.read_text()
    for wrong in (f'token = "{TOKEN}"', f"token = {TOKEN}", f'[log]\nlevel = "{PROMPT}"'):
        config.write_text(f"{good}\n{wrong}\n")
        world.agent.process.send_signal(signal.SIGHUP)
        world.heard(
            lambda: at(world.agent.status(), "config", "rejected") is not None, "it is refused", 20
        )
        config.write_text(good)
        world.agent.process.send_signal(signal.SIGHUP)
        world.heard(
            lambda: at(world.agent.status(), "config", "rejected") is None, "it is mended", 20
        )


def with_token(world: World) -> Path:
    """A configuration whose token lies in a file."""
    config = world.configure()
    token = world.folder / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    config.write_text(config.read_text().replace("[pools]", 'token_file = "token"\n\n[pools]', 1))
    return config


def has_no_canary(found: Iterable[tuple[object, bytes]]) -> None:
    assert not found_in(found, *ANSWERS)


def test_canaries_are_found_nowhere(world: World) -> None:
    world.join(with_token(world))
    assert at(world.provider(), "register", "auth_token") == "present"
    run_through(world)
    status = world.agent.status()
    _, told = ask(f"{world.coordinator.url}/dev/state")
    texts = [("status", str(status).encode()), ("coordinator's state", str(told).encode())]
    assert world.agent.end() == 0
    found = [*texts, *written(world.folder)]
    names = {str(name).rpartition("/")[2] for name, _ in found}
    assert {"agent.log", "coordinator.log", "store.log", "tokenizer.json"} <= names
    assert world.agent.log.read_text().count('"level": "debug"') > 5
    has_no_canary(found)


def test_nor_where_the_owner_looks_or_errs_nor_after_a_crash(world: World) -> None:
    config = with_token(world)
    config.write_text(config.read_text().replace("\nref = ", '\nengine = "echo"\nref = '))
    world.join(config)
    assert world.load(A)["status"] == "succeeded"
    assert world.answer(f"{PROMPT} and no more") == f"{PROMPT} and no more"
    mistaken(world, config)
    texts = list(shown(world, config))
    assert len(texts) > 6
    world.agent.process.kill()
    _ = world.agent.process.wait(20)
    world.agent.log.rename(world.folder / "killed.log")
    world.join(config)
    assert world.agent.end() == 0
    found = [*texts, *written(world.folder)]
    names = {str(name).rpartition("/")[2] for name, _ in found}
    assert {"agent.log", "killed.log", "machine.json", "tokenizer.json"} <= names
    assert (world.folder / "killed.log").read_text().count("SettingsRejected") == 3
    has_no_canary(found)


def test_the_search_would_find_one(tmp_path: Path) -> None:
    """Each world is searched at its end: see ``opened``."""
    assert found_in(written(tmp_path)) == []
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "agent.log").write_text(f"x{PROMPT}y")
    (tmp_path / "events").write_text(f"{TOKEN}")
    (tmp_path / "token").write_text(TOKEN)
    assert found_in(written(tmp_path)) == [
        (str(tmp_path / "a" / "b" / "agent.log"), PROMPT),
        (str(tmp_path / "events"), TOKEN),
    ]
