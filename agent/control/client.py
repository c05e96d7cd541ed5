"""The control socket from the command line's side: one question or order, one answer."""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path

from ...config.errors import AgentError, Retry

MOST_BYTES = 16 * 2**20
"""An answer that is longer is not ours."""


_CLOSE: Mapping[str, str] = {"Connection": "close"}


class AgentNotRunning(AgentError):
    """Nobody answers at the control socket: ``agent_not_running``."""

    code = "agent_not_running"
    retry = Retry.OPERATOR
    status = 503
    remedy = "Start it with `poolhand run`, or name its --state-dir."

    def __init__(self, *, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"agent is not running (no answer at {path}: {reason})")


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket that has a path for a name."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


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
    connection = _Connection(socket_path, timeout_s)
    try:
        headers = {"Connection": "close", "Content-Type": "application/json"}
        connection.request(method, target, body, headers if body is not None else _CLOSE)
        answer = connection.getresponse()
        return answer.status, answer.read(MOST_BYTES)
    except OSError as error:
        late = f"nothing within {timeout_s:g} s" if isinstance(error, TimeoutError) else ""
        reason = late or error.strerror or str(error)
        raise AgentNotRunning(path=str(socket_path), reason=reason) from error
    except http.client.HTTPException as error:
        reason = "the answer was no HTTP"
        raise AgentNotRunning(path=str(socket_path), reason=reason) from error
    finally:
        connection.close()
