"""The control socket from the command line's side: one question or order, one answer."""

import json
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from ...config.errors import AgentError, Retry

MOST_BYTES = 16 * 2**20
"""An answer that is longer is not ours."""


_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r]")
_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_PIECE_BYTES = 64 * 2**10


class AgentNotRunning(AgentError):
    """Nobody answers at the control socket: ``agent_not_running``."""

    code = "agent_not_running"
    retry = Retry.OPERATOR
    status = 503
    remedy = "Start it with `poolhand run`, or name its --state-dir."

    def __init__(self, *, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"agent is not running (no answer at {path}: {reason})")


def get(socket_path: Path, target: str, timeout_s: float) -> tuple[int, bytes]:
    """Ask the agent that listens on this socket.

    Args:
        socket_path: See :func:`~poolhand.config.paths.control_socket`.
        target: Path and query, such as ``/v1/status``.
        timeout_s: Seconds that each step of the answer may take.

    Returns:
        The HTTP status and the body.

    Raises:
        AgentNotRunning: Nobody listens, or no whole HTTP answer came in time.
    """
    return _asked("GET", socket_path, target, timeout_s, None)


def post(
    socket_path: Path, target: str, body: Mapping[str, object], timeout_s: float
) -> tuple[int, bytes]:
    """Give an order to the agent that listens on this socket.

    Args:
        socket_path: See :func:`~poolhand.config.paths.control_socket`.
        target: Path, such as ``/v1/drain``.
        body: What goes with it, as JSON.
        timeout_s: Seconds that each step of the answer may take.

    Returns:
        The HTTP status and the body.

    Raises:
        AgentNotRunning: Nobody listens, or no whole HTTP answer came in time.
    """
    return _asked("POST", socket_path, target, timeout_s, json.dumps(body).encode())


def _asked(
    method: str, socket_path: Path, target: str, timeout_s: float, body: bytes | None
) -> tuple[int, bytes]:
    # the library's client takes longer to import than the agent takes to answer; by HTTP/1.0 a body
    # is what comes until the end, whatever the answer is made of
    head = [f"{method} {target} HTTP/1.0", "Host: localhost"]
    if body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout_s)
            line.connect(str(socket_path))
            line.sendall("\r\n".join([*head, "", ""]).encode() + (body or b""))
            told, content = _answer(line)
    except OSError as error:
        late = f"nothing within {timeout_s:g} s" if isinstance(error, TimeoutError) else ""
        reason = late or error.strerror or str(error)
        raise AgentNotRunning(path=str(socket_path), reason=reason) from error
    found = _STATUS.match(told)
    if found is None:
        raise AgentNotRunning(path=str(socket_path), reason="the answer was no HTTP")
    return int(found[1]), content


def _answer(line: socket.socket) -> tuple[bytes, bytes]:
    """The head and the body of what comes, as far as it comes.

    Source: RFC 9112, 6.3.
    """
    got = bytearray()
    ends = MOST_BYTES
    while len(got) < ends and (piece := line.recv(_PIECE_BYTES)):
        before = max(len(got) - len(_HEAD_END), 0)
        got += piece
        at = got.find(_HEAD_END, before) if ends == MOST_BYTES else -1
        length = _LENGTH.search(got, 0, at + len(_HEAD_END)) if at >= 0 else None
        if length is not None:
            ends = min(at + len(_HEAD_END) + int(length[1]), MOST_BYTES)
    head, _, body = bytes(got[:ends]).partition(_HEAD_END)
    return head + _HEAD_END, body
