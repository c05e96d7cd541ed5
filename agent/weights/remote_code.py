"""Whether a build asks its reader to run code that came with it (pure).

``auto_map`` in a configuration tells transformers to import a file of the build, and
``model_file`` tells mlx-lm the same. This node never does, and never downloads such files;
the owner should know that the build was made for a reader that would.

Source:
    transformers, "Custom models" (``auto_map``); mlx-lm, utils.py ``load_model``
    (``model_file``).
"""

from collections.abc import Iterator, Mapping
from typing import cast

_MOST_DEPTH = 8
FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
)
"""Configurations that transformers reads, of which each may name code."""

KEYS = ("auto_map", "model_file", "custom_pipelines")


def asks_for_code(name: str, config: Mapping[str, object]) -> tuple[str, ...]:
    """Which keys of a configuration name code to be run.

    Args:
        name: The file's name, for the answer.
        config: The parsed JSON object.

    Returns:
        One sentence a key, wherever in the configuration it stands; empty if there is none.
    """
    named = set(_named(config, _MOST_DEPTH))
    return tuple(
        f"{name} asks for code of its own by {key!r}: it is not run" for key in KEYS if key in named
    )


def _named(table: Mapping[str, object], depth: int) -> Iterator[str]:
    for key, value in table.items():
        if key in KEYS and value:
            yield key
        elif isinstance(value, dict) and depth:
            yield from _named(cast("dict[str, object]", value), depth - 1)
