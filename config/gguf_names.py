"""How the files of GGUF models are named: shards, and what turns pictures into tokens (pure)."""

import re

from .patterns import pattern

SHARD = pattern(r"-([0-9]{5})-of-([0-9]{5})\.gguf$", re.IGNORECASE)
"""What the name of a shard ends with: which it is, of how many. Source: llama.cpp's gguf-split."""


def is_projector(path: str) -> bool:
    """Whether it turns pictures into tokens, for whatever model lies beside it."""
    folded = path.lower()
    return folded.endswith(".gguf") and "mmproj" in folded
