"""What the tables say that nobody wrote, for programs that have nothing to check.

Importing the settings takes longer than fetching a small model. The schema that lies beside this
file is made from them and held to them, and every default stands in it.
"""

import json
from typing import cast

from .paths import SCHEMA_FILE

_HERE = "#/$defs/"


def defaults(*tables: str) -> list[dict[str, object]]:
    """The values of whole tables, tables in them included.

    Args:
        tables: Names of the schema's definitions, such as ``Weights``.

    Raises:
        KeyError: There is no such table, or a key of it has no default.
    """
    schema = cast("dict[str, object]", json.loads(SCHEMA_FILE.read_bytes()))
    known = cast("dict[str, dict[str, dict[str, dict[str, object]]]]", schema["$defs"])

    def table(name: str) -> dict[str, object]:
        return {key: value(said) for key, said in known[name]["properties"].items()}

    def value(said: dict[str, object]) -> object:
        if "default" in said:
            return said["default"]
        return table(cast("str", said["$ref"]).removeprefix(_HERE))

    return [table(name) for name in tables]
