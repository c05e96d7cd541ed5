"""Files of the state folder: strict JSON, replaced in one step, set aside if they make no sense."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ...config.atomic import write_atomically
from ...config.errors import StateDamaged
from ..core.events import Event, StateUnsaved

MOST_BYTES = 2**20


class Strict(BaseModel):
    """A file's content, read as strictly as it is written."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)


Found = TypeVar("Found", bound=Strict)


def read_file(path: Path, shape: type[Found]) -> Found | None:
    """A file's content; ``None`` if there is no such file.

    Args:
        path: Of the file.
        shape: What it has to hold.

    Raises:
        StateDamaged: It cannot be read, or understood: then it was set aside.
    """
    try:
        with path.open("rb") as file:
            return shape.model_validate_json(file.read(MOST_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, error.strerror or "unreadable") from error
    except ValidationError as error:
        raise _damaged(path, _set_aside(path)) from error


class Pen:
    """Replaces files in a thread of its own, one after the other.

    A disk that takes gigabytes of weights at the same time needs seconds to sync one line, and
    whoever is being answered shall not notice.

    Args:
        tell: Puts an event into the inbox.
    """

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        # no threads of the loop's: they may all be reading weights
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")

    async def write(self, path: Path, record: BaseModel) -> None:
        """Replace a file in one step; it is on the disk when this returns.

        If it could not be written, ``StateUnsaved`` is told, and what was there still is.
        """
        text = json.dumps(record.model_dump(), indent=1) + "\n"
        loop = asyncio.get_running_loop()
        try:
            write = partial(write_atomically, path, text.encode(), mode=0o600)
            await loop.run_in_executor(self._thread, write)
        except OSError as error:
            self._tell(StateUnsaved(_damaged(path, error.strerror or "not written")))


def _set_aside(path: Path) -> str:
    """Keep the file for whoever wants to know, out of the way."""
    aside = path.with_suffix(".bad")
    try:
        path.replace(aside)
    except OSError as error:
        return f"cannot be understood, and cannot be set aside: {error.strerror or error}"
    return f"cannot be understood; kept as {aside.name}"


def _damaged(path: Path, reason: str) -> StateDamaged:
    return StateDamaged(path=str(path), reason=reason)
