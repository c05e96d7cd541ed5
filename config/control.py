"""How the owner's programs look in: the table ``[control]``."""

from typing import Annotated

from pydantic import Field

from .stores import Section


class Control(Section):
    """``[control]``: a port for the owner's own programs, such as Prometheus; off by default.

    Attributes:
        port: A TCP port on 127.0.0.1, behind a key and closed to web pages; unset: the Unix
            socket alone.
        key_file: A file of mode 0600 that holds the key; unset: ``control.key`` in the state
            folder, which is made.
    """

    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    key_file: str | None = None
