"""Where the time of a relayed chunk goes: the steps that only a relay has, each by itself and warm.

It is the agent's own code over a chunk of ordinary length. What is left of a chunk's time is waking
up, reading what the engine said, and the loop, most of which the direct driver has, too.
"""

import os
import time
from collections.abc import Callable, Mapping

from nacl.public import Box, PrivateKey
from websockets.frames import Frame, Opcode

from poolhand.agent.runtime.chunks import Chunks
from poolhand.agent.wire.codec import chunk_head, encode_chunk
from poolhand.agent.wire.sealing import NONCE_BYTES, NodeKey, RequestBox

TURNS, TIMES = 5, 2000
WORDS = " and so on"


def steps_us() -> tuple[int, Mapping[str, float]]:
    """A chunk's bytes, and microseconds of processor time by step; the best of a few turns."""
    secret = PrivateKey.generate()
    box = RequestBox(Box(secret, PrivateKey.generate().public_key))
    chunks = Chunks("r1", "tiny", "chat", 0)
    head = chunk_head("r1", NodeKey(bytes(secret)).public_key)
    nonce = os.urandom(NONCE_BYTES)
    line = chunks.words(WORDS)
    sealed = box.seal(line, nonce)
    return len(encode_chunk(head, sealed)), {
        "JSON": _us(lambda: chunks.words(WORDS)),
        "nonce": _us(lambda: os.urandom(NONCE_BYTES)),
        "sealing": _us(lambda: box.seal(line, nonce)),
        "frame": _us(lambda: Frame(Opcode.TEXT, encode_chunk(head, sealed)).serialize(mask=True)),
    }


def told(whole_us: float, direct_us: float, idle_us: float, request_us: float) -> str:
    """One line: a chunk's whole time, and what it is made of.

    Args:
        whole_us: Of the agent's processor time, for each chunk.
        direct_us: Of the direct driver's, for the same.
        idle_us: What an idle agent takes meanwhile.
        request_us: What opening and ending requests come to.
    """
    size_bytes, steps = steps_us()
    rest_us = whole_us - idle_us - request_us - sum(steps.values())
    parts = {"requests": request_us, "idle": idle_us, **steps, "waking up, the loop": rest_us}
    said = ", ".join(f"{name} {us:.1f}" for name, us in parts.items())
    return (
        f"  where the time goes, us of a chunk ({size_bytes} bytes): {whole_us:.1f} in all: {said};"
        f" the direct driver's: {direct_us:.1f}"
    )


def _us(step: Callable[[], object]) -> float:
    best_s = float("inf")
    for _ in range(TURNS):
        begun_s = time.thread_time()
        for _ in range(TIMES):
            _ = step()
        best_s = min(best_s, time.thread_time() - begun_s)
    return best_s * 1e6 / TIMES
