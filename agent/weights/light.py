"""Settings as plain values: what the fetching child needs of tables checked elsewhere."""

from collections.abc import Mapping
from typing import Any, Self, cast


class Table:
    """A table's keys as attributes; a table in it is one likewise.

    Args:
        values: What a model of the settings said of itself.
    """

    def __init__(self, values: object) -> None:
        for name, value in cast("Mapping[str, object]", values).items():
            setattr(self, name, Table(cast("object", value)) if isinstance(value, dict) else value)

    def model_copy(self, *, update: Mapping[str, object]) -> Self:
        """The same with other values; called as with a model of the settings."""
        made = type(self)({})
        vars(made).update({**vars(self), **update})
        return made

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the key holds
        """A key that nobody gave is a bug; the method is here for the type checker."""
        raise AttributeError(name)
