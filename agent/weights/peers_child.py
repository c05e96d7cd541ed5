"""The process that answers peers: ``python -m poolhand.agent.weights.peers_child``.

It hears one JSON line on its standard input, what to serve and where, and then lines that tell
which models to keep back. It tells what it counted, a line about each second in which anything
changed, and ends with the agent, which it notices by the end of its standard input.
"""

import contextlib
import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from ...config.errors import AgentError
from ...config.paths import StateUnusable
from ...config.peers import Peers
from .lines import EXIT_FAILED, MAX_LINE_BYTES, encode_error
from .peers_holdings import Holdings
from .peers_node import key_of, serving
from .peers_server import PeerServer, Served


def main() -> int:
    """Serve until standard input ends; the exit code."""
    said = cast("dict[str, object]", json.loads(sys.stdin.buffer.readline(MAX_LINE_BYTES)))
    peers = Peers.model_validate(said["peers"])
    models = Path(str(said["cache_dir"])) / "models"
    try:
        with serving(models) as node:
            _serve(peers, node, Holdings(models))
    except AgentError as error:
        _say(encode_error(error))
        return EXIT_FAILED
    except OSError as error:
        reason = f"peers.listen {peers.listen}: {error.strerror or error}"
        _say(encode_error(StateUnusable(path=str(models), reason=reason)))
        return EXIT_FAILED
    return 0


def _serve(peers: Peers, node: bytes, holdings: Holdings) -> None:
    server = PeerServer(peers, key_of(peers.key_file), node, holdings)
    hearing = threading.Thread(target=_hear, args=(server, holdings), daemon=True)
    hearing.start()
    _tell({"port": server.port})
    last: dict[str, int] = {}

    def look(served: Served) -> None:
        now = served.told()
        if now != last:
            last.update(now)
            _tell({"served": now})

    server.serve(look)


def _hear(server: PeerServer, holdings: Holdings) -> None:
    while line := sys.stdin.buffer.readline(MAX_LINE_BYTES):
        with contextlib.suppress(ValueError):
            match json.loads(line):
                case {"keep_back": list() as models}:  # pyright: ignore[reportUnknownVariableType]  # cast below
                    holdings.keep_back([str(model) for model in cast("list[object]", models)])
                case _:
                    pass
    server.stop()


def _tell(told: Mapping[str, object]) -> None:
    _say(json.dumps(told).encode() + b"\n")


def _say(line: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # the agent is gone, which our input tells, too
        _ = sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
