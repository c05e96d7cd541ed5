"""The processes of a small world: a store, a coordinator, agents; on loopback, in one folder.

Each is a process of its own with a log of its own, as on a real machine. Whoever opens a
stage closes it; afterwards none of its processes is left.
"""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast
from urllib.parse import urlsplit

from ...config.paths import control_socket
from ..control.client import AgentNotRunning, get

T = TypeVar("T")

LOOK_S = 0.02
"""From one look at another process to the next, in seconds."""

START_S = 20.0
"""How long a process may take until it answers, in seconds; usually it is half of one."""

DRAIN_S = 15.0
"""How long a process that was asked to leave may take, in seconds."""

_DROPPED = re.compile(r"(AWS|POOLHAND|BOTO)_.*|(.*_)?PROXY|PYTHONPATH", re.IGNORECASE)
"""Variables of ours that would change what the world does."""

KEY_ID, SECRET = "AKIADEVWORLD", "for-the-dev-world-only"


class NotAsExpected(Exception):
    """Something in the world went another way than it should."""

    def __init__(self, *, what: str) -> None:
        super().__init__(what)


@dataclass(slots=True)
class Actor:
    """One process of the world.

    Attributes:
        log: Where its output goes, both streams.
        url: Where it listens; empty for an agent.
        state_dir: An agent's own folder.
    """

    name: str
    process: "subprocess.Popen[bytes]" = field(repr=False)
    log: Path
    url: str = ""
    state_dir: Path = Path()

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def end(self, *, patience_s: float = DRAIN_S) -> int:
        """Ask it to leave, and make sure that it is gone.

        Returns:
            The exit status; negative if a signal ended it, ours among them.
        """
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(patience_s)
        self.process.kill()
        return self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def status(self) -> Mapping[str, object]:
        """What the agent says at its control socket; empty while it says nothing."""
        with contextlib.suppress(AgentNotRunning, ValueError):
            code, body = get(control_socket(self.state_dir), "/v1/status", 5.0)
            found: object = json.loads(body)
            if code == http.client.OK and isinstance(found, dict):
                return cast("dict[str, object]", found)
        return {}


class Stage:
    """All processes of one world.

    Args:
        folder: Logs and agents' folders lie here.
        environ: What the processes see of the environment, less what would lead them astray.
    """

    def __init__(self, folder: Path, *, environ: Mapping[str, str] = os.environ) -> None:
        self.folder = folder
        self.actors: dict[str, Actor] = {}
        kept = {name: value for name, value in environ.items() if not _DROPPED.fullmatch(name)}
        self.environ = {
            **kept,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def __enter__(self) -> Self:
        """It is empty at first."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    @property
    def store(self) -> Actor:
        """The store that was opened last."""
        return self.actors["store"]

    @property
    def coordinator(self) -> Actor:
        """The coordinator that was opened last."""
        return self.actors["coordinator"]

    @property
    def agent(self) -> Actor:
        """The agent that was opened last, if no other name was given to it."""
        return self.actors["agent"]

    def open_store(self, root: Path, *options: str) -> Actor:
        """Start a store over a folder; its signatures are checked against our keys."""
        keys = ("--access-key", KEY_ID, "--secret-key", SECRET)
        words = ("--root", str(root), *keys, *options)
        return self.spawn("store", ["poolhand.agent.dev.objectstore", *words])

    def open_coordinator(self, *options: str, port: int = 0) -> Actor:
        """Start a coordinator."""
        words = ("--port", str(port), *options)
        return self.spawn("coordinator", ["poolhand.agent.dev.coordinator", *words])

    def open_agent(
        self, config: Path, name: str = "agent", environ: Mapping[str, str] | None = None
    ) -> Actor:
        """Start an agent; its state lies beside its configuration, in ``NAME.state``."""
        state_dir = self.folder / f"{name}.state"
        words = ("run", "--config", str(config), "--state-dir", str(state_dir))
        actor = self.spawn(name, ["poolhand.agent", *words], environ=environ)
        actor.state_dir = state_dir
        return actor

    def spawn(
        self, name: str, module: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> Actor:
        """Start ``python -m MODULE ...``; it has a session of its own, so Ctrl-C is ours."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(  # noqa: S603  # our own words
                [sys.executable, "-P", "-m", *module],
                cwd=self.folder,
                env={**self.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        actor = self.actors[name] = Actor(name, process, log)
        return actor

    def url_of(self, actor: Actor) -> str:
        """Where a store or a coordinator listens, once it does.

        Raises:
            NotAsExpected: It ended, or takes too long.
        """

        def said() -> str | None:
            found = re.findall(r"ready on (http://\S+)", actor.log.read_text())
            return found[-1] if found else None

        actor.url = self.until(said, f"the {actor.name} listens", START_S, needs=actor)
        return actor.url

    def until(
        self,
        question: Callable[[], T | None],
        what: str,
        patience_s: float,
        *,
        needs: Actor | None = None,
    ) -> T:
        """Ask until there is an answer that is not empty, and give it back.

        Args:
            question: Asked again and again.
            what: The sentence that the answer would make true.
            patience_s: For how long, in seconds.
            needs: Whose end would make waiting vain; every actor's, if not said.

        Raises:
            NotAsExpected: There was none in time, or a process ended meanwhile.
        """
        give_up_s = time.monotonic() + patience_s
        while True:
            answer = question()
            if answer:
                return answer
            for actor in [needs] if needs else self.actors.values():
                if not actor.is_running:
                    raise NotAsExpected(
                        what=f"waiting until {what}: the {actor.name} ended "
                        f"with exit code {actor.process.returncode}"
                    )
            if time.monotonic() > give_up_s:
                raise NotAsExpected(what=f"not within {patience_s:g} s: {what}")
            time.sleep(LOOK_S)

    def state(self) -> Mapping[str, object]:
        """All that the coordinator knows."""
        code, answer = ask(f"{self.coordinator.url}/dev/state")
        if code != http.client.OK or not isinstance(answer, dict):
            raise NotAsExpected(what=f"the coordinator does not tell its state (HTTP {code})")
        return cast("dict[str, object]", answer)

    def close(self) -> None:
        """End everybody, agents first: they say goodbye to the coordinator."""
        for actor in sorted(self.actors.values(), key=lambda each: bool(each.url)):
            actor.end(patience_s=DRAIN_S)


def ask(url: str, body: object = None, *, timeout_s: float = 10.0) -> tuple[int, object]:
    """GET JSON, or POST it if there is a body; no proxy comes between.

    Returns:
        The HTTP status and the answer; ``None`` if that is no JSON.

    Raises:
        NotAsExpected: Nobody answers.
    """
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    line = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    try:
        if body is None:
            line.request("GET", target)
        else:
            line.request("POST", target, json.dumps(body))
        answer = line.getresponse()
        raw = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise NotAsExpected(what=f"no answer from {url}: {error}") from error
    finally:
        line.close()
    try:
        return answer.status, cast("object", json.loads(raw))
    except ValueError:
        return answer.status, None


def at(document: object, *path: str | int) -> object:
    """What lies in a JSON document at a path of keys and places; ``None`` if nothing does."""
    for step in path:
        if isinstance(document, dict):
            document = cast("dict[object, object]", document).get(step)
        elif isinstance(document, list) and isinstance(step, int):
            listed = cast("list[object]", document)
            document = listed[step] if -len(listed) <= step < len(listed) else None
        else:
            return None
    return document


def each_of(document: object, *path: str | int) -> list[object]:
    """The list at a path; empty if there is none."""
    found = at(document, *path)
    return cast("list[object]", found) if isinstance(found, list) else []


def stay_of(status: object, model: str) -> object:
    """A model's stay in an agent's status; the one that comes or is, before one that goes."""
    stays = [stay for stay in each_of(status, "slots") if at(stay, "model") == model]
    return stays[-1] if stays else None
