"""``poolhand dev demo``: from nothing to a served answer, with everything real but the size.

A store, a coordinator and an agent run as processes of their own, in a folder that goes away
again. Whatever is told was looked at first: an answer is held against what its checkpoint is
known to say, a refusal against the texts of the wire. Ctrl-C drains and leaves at any time.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType, MappingProxyType

from .checkpoint import expected_text, make_model
from .narration import Narrator
from .stage import LOOK_S, NotAsExpected, Stage, ask, at, each_of, stay_of

FIRST, SECOND, OUTSIDE = "org/tiny-a", "org/tiny-b", "org/other"
NEEDED = ("openai", "mlx_lm", "aiobotocore", "aiohttp")
"""Modules that the agent does without, or imports late; the demonstration needs all."""

STORE_BYTES_PER_S = 1_500_000
"""The store's pace for one connection: a tiny checkpoint should be seen coming."""

LOAD_S = 60.0
"""How long a load may take, in seconds; usually it is three or four."""

EXIT_FAILURE, EXIT_USAGE = 1, 2

WAY_IN: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("FetchWeights", SECOND): "downloading",
        ("VerifyWeights", SECOND): "verifying",
        ("WeightsVerified", SECOND): "staged",
        ("StopEngine", FIRST): "the first unloading",
        ("EngineStopped", FIRST): "the first gone",
        ("LoadEngine", SECOND): "loading",
        ("EngineLoaded", SECOND): "ready",
    }
)
"""Lines of the agent's log, by what and model, and what they mean for the second model."""

CONFIG = """\
[coordinator]
url = "{coordinator}"
heartbeat_interval_s = 1

[pools]
assigned = "tiny"                     # an alias: every model that bears it is in the pool
allowed = ["tiny", "org/*"]

[slots]
max_model_slots = 1

[[models]]
id = "org/tiny-a"
aliases = ["tiny"]
ref = "s3://models/tiny-a"

[[models]]
id = "org/tiny-b"
aliases = ["tiny"]
ref = "s3://models/tiny-b"

[[models]]                            # offered and allowed, but of no alias: another pool
id = "org/other"
ref = "s3://models/other"

[stores.s3]
endpoint = "{store}"
region = "us-east-1"
addressing = "path"

[cache]
dir = "cache"
"""


@dataclass(slots=True)
class Scene:
    """What every step works with."""

    stage: Stage
    voice: Narrator


Step = Callable[[Scene], str]
"""Does one step; gives back what happened, in a few words."""


# ── the steps ─────────────────────────────────────────────────────────────────────────


def set_up(scene: Scene) -> str:
    """Make three checkpoints, and start the store and the coordinator."""
    stage, models = scene.stage, scene.stage.folder / "store" / "models"
    for folder, name in (("tiny-a", "alpha"), ("tiny-b", "beta"), ("other", "other")):
        make_model(models / folder, name=name)
    store, coordinator = stage.open_store(models.parent), stage.open_coordinator()
    scene.voice.good(f"store on {stage.url_of(store)}, with three tiny checkpoints")
    scene.voice.good(f"coordinator on {stage.url_of(coordinator)}")
    ask(f"{store.url}/_faults", {"bytes_per_s": STORE_BYTES_PER_S})
    return "store and coordinator listen"


def start_agent(scene: Scene) -> str:
    """Start the agent, which finds the coordinator and registers."""
    stage = scene.stage
    config = stage.folder / "agent.toml"
    config.write_text(
        CONFIG.format(coordinator=stage.coordinator.url, store=stage.store.url), encoding="utf-8"
    )
    agent = stage.open_agent(config)

    def registered() -> object:
        return at(stage.state(), "providers", 0, "registered_s")

    _ = stage.until(registered, "the agent is registered", 20.0)
    offered = at(stage.state(), "providers", 0, "models")
    _expect(offered == [FIRST, SECOND], f"the agent offers {offered}, and not its pool")
    pool = at(stage.until(agent.status, "the agent tells its status", 5.0), "pool", "assigned")
    scene.voice.good(f"registered; its pool '{pool}' holds {FIRST} and {SECOND}")
    return f"registered, serves pool '{pool}'"


def load_first(scene: Scene) -> str:
    """Have a model of the pool loaded."""
    _have_loaded(scene, FIRST)
    return f"{FIRST} fetched, verified, ready"


def chat(scene: Scene) -> str:
    """Ask the model something, as any client of OpenAI would."""
    tokens = _ask_model(scene, FIRST, "alpha")
    return f"{tokens} tokens, exactly the known answer"


def refuse(scene: Scene) -> str:
    """Ask for a model outside the pool."""
    stage, voice = scene.stage, scene.voice
    _, told = ask(f"{stage.coordinator.url}/dev/load", {"model_id": OUTSIDE})
    text = f"model '{OUTSIDE}' not in advertised model list: outside assigned pool 'tiny'"
    _expect(at(told, "error") == text, f"the refusal says: {at(told, 'error')}")
    voice.good(f"the agent refused: {text}")
    status = stage.agent.status()
    last = at(status, "pool", "last_refusal")
    _expect(at(last, "code") == "model_not_in_pool", "the status does not show the refusal")
    voice.say(f"its status says: {at(last, 'code')}; {at(last, 'remedy')}")
    _expect(at(stay_of(status, FIRST), "state") == "ready", "the resident model was disturbed")
    return "refused by the pool, for good; resident untouched"


def replace(scene: Scene) -> str:
    """Have the pool's second model loaded into the only slot."""
    asked: list[int] = []

    def meanwhile(state: str) -> None:
        if state == "downloading" and not asked:
            asked.append(_ask_model(scene, FIRST, "alpha"))
            scene.voice.good(f"{FIRST} goes on answering while {SECOND} comes")

    _have_loaded(scene, SECOND, meanwhile)
    _expect(bool(asked), f"nothing was seen of the download of {SECOND}")
    gone = stay_of(scene.stage.agent.status(), FIRST)
    _expect(gone is None, f"{FIRST} still holds the slot")
    way = _way_in(scene.stage.agent.log)
    _expect(way == list(WAY_IN.values()), f"it went another way: {', '.join(way)}")
    scene.voice.good(f"its way in, by the agent's log: {', '.join(way)}")
    _ = _ask_model(scene, SECOND, "beta")
    return "came in through STAGED; the first answered till then"


def leave(scene: Scene) -> str:
    """Send the agent SIGTERM."""
    code = scene.stage.agent.end()
    _expect(code == 0, f"the agent left with exit code {code}")
    scene.voice.good("drained, said goodbye, exit code 0")
    return "drained, exit code 0"


STEPS: Sequence[tuple[str, str, Step]] = (
    ("set up", "A store with weights, and a coordinator", set_up),
    ("start", "The agent starts and registers", start_agent),
    ("load", f"The coordinator wants {FIRST} loaded", load_first),
    ("chat", "A client of OpenAI's API asks it something", chat),
    ("refuse", f"The coordinator wants {OUTSIDE}, which is outside the pool", refuse),
    ("replace", f"The coordinator wants {SECOND}; there is one slot", replace),
    ("drain", "The agent is asked to leave", leave),
)


# ── what several of them need ─────────────────────────────────────────────────────────


def _expect(is_so: bool, otherwise: str) -> None:  # noqa: FBT001  # it is what is asked
    if not is_so:
        raise NotAsExpected(what=otherwise)


def _have_loaded(
    scene: Scene, model: str, meanwhile: Callable[[str], None] = lambda _: None
) -> None:
    """Have the coordinator send a load, and watch it in the agent's status.

    Args:
        scene: Where.
        model: Which.
        meanwhile: Called with the state, whenever it was looked at.

    Raises:
        NotAsExpected: It failed, or takes too long.
    """
    stage, voice = scene.stage, scene.voice
    code, _ = ask(f"{stage.coordinator.url}/dev/load?wait=0", {"model_id": model})
    _expect(code == 200, f"the coordinator sends no load (HTTP {code})")  # noqa: PLR2004  # OK
    states: list[str] = []
    give_up_s = time.monotonic() + LOAD_S
    while states[-1:] != ["ready"]:
        _expect(time.monotonic() < give_up_s, f"{model} is not loaded within {LOAD_S:g} s")
        _expect(stage.agent.is_running, "the agent ended")
        stay = stay_of(stage.agent.status(), model)
        state, done, total = (at(stay, name) for name in ("state", "bytes_done", "bytes_total"))
        if state == "downloading" and isinstance(done, int) and isinstance(total, int) and total:
            rate = at(stay, "rate_bytes_s")
            voice.progress(done, total, rate if isinstance(rate, float) else None)
        if isinstance(state, str):
            if state not in states:
                states.append(state)
                voice.say(f"{model}: {state}")
            meanwhile(state)
        _refuse_failure(stage, model)
        time.sleep(LOOK_S)
    took_s = at(stay_of(stage.agent.status(), model), "load_s")
    took = f"; its engine took {took_s:.1f} s" if isinstance(took_s, float) else ""
    voice.good(f"{model} is ready{took}")


def _way_in(log: Path) -> list[str]:
    """How the second model came and the first one went, in the order of the agent's log."""
    way: list[str] = []
    for line in log.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            said: object = json.loads(line)
            word = WAY_IN.get((f"{at(said, 'what')}", f"{at(said, 'model')}"))
            way += [word] if word else []
    return way


def _refuse_failure(stage: Stage, model: str) -> None:
    """Raise what the agent told the coordinator of a load that failed."""
    for told in each_of(stage.state(), "providers", 0, "statuses"):
        if (at(told, "model_id"), at(told, "status")) == (model, "failed"):
            raise NotAsExpected(what=f"{at(told, 'error')}")


def _ask_model(scene: Scene, model: str, name: str) -> int:
    """Stream an answer to the terminal and hold it against the known one.

    Returns:
        The tokens of the answer, as they would be billed.
    """
    # heavy, and nothing but this needs it
    from openai import DefaultHttpxClient, OpenAI, OpenAIError  # noqa: PLC0415  # see above

    said, tokens = "", 0
    with DefaultHttpxClient(trust_env=False) as line:
        client = OpenAI(
            base_url=f"{scene.stage.coordinator.url}/v1",
            api_key="none",
            max_retries=0,
            timeout=30.0,
            http_client=line,
        )
        try:
            stream = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": "Hello! Who are you?"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            for chunk in stream:
                tokens = chunk.usage.completion_tokens if chunk.usage else tokens
                piece = (chunk.choices[0].delta.content if chunk.choices else "") or ""
                scene.voice.speak(piece)
                said += piece
        except OpenAIError as error:
            raise NotAsExpected(what=f"the client got no answer: {error}") from error
    _expect(said == expected_text(name), f"{model} should have said: {expected_text(name)}")
    scene.voice.good(f"{tokens} tokens, exactly what the checkpoint is known to say")
    return tokens


# ── the command ───────────────────────────────────────────────────────────────────────


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``poolhand dev demo``."""
    parser.add_argument(
        "--dir",
        type=Path,
        metavar="DIR",
        help="an empty or new folder to play in; it is kept (default: one that is removed)",
    )


def main(args: argparse.Namespace) -> int:
    """Play it all; the exit status is 0, also after Ctrl-C, and 1 if anything went wrong."""
    voice = Narrator(sys.stdout, os.environ)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        voice.bad(f"not installed: {', '.join(missing)}; run: pip install 'poolhand[dev]'")
        return EXIT_FAILURE
    kept: Path | None = args.dir
    if kept is not None and kept.exists() and (not kept.is_dir() or any(kept.iterdir())):
        voice.bad(f"{kept} is not an empty folder")
        return EXIT_USAGE
    folder = Path(kept or tempfile.mkdtemp(prefix="poolhand-demo-")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    stage = Stage(folder)
    try:
        return _until_interrupted(Scene(stage, voice))
    finally:
        stage.close()
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            voice.say(f"logs, configuration and cache are in {folder}")


def _until_interrupted(scene: Scene) -> int:
    """Play; from the first signal on, only what ends it is left to do."""

    def interrupted(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupted)
    try:
        return play(scene)
    except KeyboardInterrupt:
        scene.voice.say("interrupted: draining")
        return 0


def play(scene: Scene, steps: Sequence[tuple[str, str, Step]] = STEPS) -> int:
    """Take one step after the other; the first that goes wrong is the last.

    Args:
        scene: Where.
        steps: Each with its name, a sentence about it, and what it does.

    Returns:
        0 if all went as expected, else 1.
    """
    rows: list[tuple[str, str, float]] = []
    code = 0
    for name, words, step in steps:
        scene.voice.step(words)
        began_s = time.monotonic()
        try:
            came = step(scene)
        except NotAsExpected as error:
            came, code = "FAILED", EXIT_FAILURE
            _explain(scene, error)
        rows.append((name, came, time.monotonic() - began_s))
        if code:
            break
    scene.voice.table(rows)
    return code


def _explain(scene: Scene, error: NotAsExpected) -> None:
    scene.voice.bad(str(error))
    for actor in scene.stage.actors.values():
        scene.voice.say(f"the end of the {actor.name}'s log:")
        for line in actor.tail().splitlines():
            scene.voice.say(f"    {line}")
