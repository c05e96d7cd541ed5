"""What the agent says to the process that answers peers: one JSON object a line."""

import json
import sys
from collections.abc import Sequence

from ...config.peers import Peers

CHILD = (sys.executable, "-m", "poolhand.agent.weights.peers_child")


def encode_place(peers: Peers, cache_dir: str) -> bytes:
    """The first line: what to serve, and where. The key is read by whoever reads this."""
    return json.dumps({"peers": peers.model_dump(), "cache_dir": cache_dir}).encode() + b"\n"


def encode_kept_back(models: Sequence[str]) -> bytes:
    """A later line: models of which nothing is to be given away."""
    return json.dumps({"keep_back": [*models]}).encode() + b"\n"
