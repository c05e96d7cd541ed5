"""A token and a prompt that every world of these tests holds, and that no file of it may hold.

Each agent has the token, each question carries the prompt; when a world ends, whatever its
processes have written is read, and what a living agent says of itself.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from poolhand.agent.control.client import AgentNotRunning, get
from poolhand.config.paths import control_socket

PROMPT = "canary-prompt-9f27"
TOKEN = "canary-token-41ce"  # noqa: S105  # a made-up one

TOLD = ("/v1/status", "/v1/models", "/v1/config", "/metrics")
"""What an agent tells its owner."""

_MOST_BYTES = 2**20
"""Weights are larger, and no process writes words into them."""


def written(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file that a process of this world has written, but the token's own."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "token":
            is_weights = path.suffix == ".safetensors" and path.stat().st_size > _MOST_BYTES
            yield path, b"" if is_weights else path.read_bytes()


def told(state_dir: Path) -> Iterator[tuple[str, bytes]]:
    """What the agent with this state folder says; nothing if none runs."""
    for target in TOLD:
        try:
            yield target, get(control_socket(state_dir), target, 10.0)[1]
        except AgentNotRunning:
            return


def found_in(texts: Iterable[tuple[object, bytes]], *more: str) -> list[tuple[str, str]]:
    """Where one of the canaries is, or any of these words: place and word."""
    words = (PROMPT, TOKEN, *more)
    return [(str(name), word) for name, text in texts for word in words if word.encode() in text]
