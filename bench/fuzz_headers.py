"""A million damaged headers: none may do anything but be refused, within 64 MiB.

``python bench/fuzz_headers.py [CASES] [SEED]`` prints one JSON line and ends with 1 if a
case broke a checker or the memory bound. A case that breaks one is printed in hex.
"""

import io
import json
import random
import resource
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from poolhand.agent.weights.gguf import check_gguf
from poolhand.agent.weights.headers import HeaderInvalid, check_header

MOST_BYTES = 64 * 2**20
Check = Callable[[BinaryIO, int], int]


def safetensors() -> bytes:
    """A small good file."""
    tensors = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "BF16", "shape": [8], "data_offsets": [16, 32]},
        "c": {"dtype": "U8", "shape": [0], "data_offsets": [32, 32]},
    }
    header = json.dumps(tensors).encode()
    return len(header).to_bytes(8, "little") + header + bytes(32)


def gguf() -> bytes:
    """A small good file of the other kind."""

    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    pairs = [
        text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"),
        text(b"a.words") + struct.pack("<IIQ", 9, 8, 2) + text(b"x") + text(b"yy"),
    ]
    tensor = text(b"t") + struct.pack("<IQQIQ", 2, 256, 2, 12, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
    return head + bytes(-len(head) % 32) + bytes(288)


def most_bytes() -> int:
    """Most memory that this program held at any time.

    What the kernel counts for a child includes the moment before it became this program, when
    it was as large as its parent; Linux knows better.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        words = status.read_text(encoding="ascii").split()
        return int(words[words.index("VmHWM:") + 1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def damaged(good: bytes, chance: random.Random) -> bytes:
    """The file with a few bytes changed, cut, repeated or moved."""
    data = bytearray(good)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 2:
                data[at : at + 8] = chance.choice([2**63, 2**64 - 1, 2**31, 0]).to_bytes(
                    8, "little"
                )
            case 3:
                data[at : at + 1] = chance.choice([b'"', b"{", b"[", b"}", b"-", b"9", b"\\", b","])
            case 4:
                start = chance.randrange(len(data) + 1)
                data[at:at] = data[start : start + chance.randrange(64)]
            case _:
                data[at : at + 1] = chance.randbytes(1)
    return bytes(data)


def main(argv: list[str]) -> int:
    """Run the cases; 1 if one broke something."""
    cases = int(argv[0]) if argv else 1_000_000
    seed = int(argv[1]) if len(argv) > 1 else random.randrange(2**32)  # noqa: S311  # cases, not secrets
    chance = random.Random(seed)  # noqa: S311  # likewise
    kinds: list[tuple[bytes, Check]] = [
        (safetensors(), lambda file, size: check_header(file, size_bytes=size)),
        (gguf(), lambda file, size: check_gguf(file, size_bytes=size)),
    ]
    passed, began_s = 0, time.monotonic()
    for number in range(cases):
        good, check = kinds[number % 2]
        data = damaged(good, chance)
        is_over = False
        try:
            found = check(io.BytesIO(data), len(data))
            passed += 1
            is_over = found > len(data)
        except HeaderInvalid:
            continue
        finally:
            if sys.exc_info()[0] not in {None, HeaderInvalid} or is_over:
                print(f"seed {seed}, case {number}: {data.hex()}", file=sys.stderr)
        if is_over:
            return 1
    peak_bytes = most_bytes()
    said = {
        "cases": cases,
        "seed": seed,
        "refused": cases - passed,
        "peak_bytes": peak_bytes,
        "seconds": round(time.monotonic() - began_s, 1),
    }
    print(json.dumps(said))
    return int(peak_bytes > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
