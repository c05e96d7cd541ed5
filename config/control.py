"""How the owner's programs look in: the table ``[control]``."""

from typing import Annotated

from .rules import Bound
from .section import Section


class Control(Section):
    """``[control]``: what the owner's own programs may do, such as Prometheus or a chat client.

    Attributes:
        openai_api: Say ``true`` to answer them in OpenAI's form: ``/v1/chat/completions`` and
            ``/v1/completions``, in the same queue and slots as a coordinator's requests.
        port: A TCP port on 127.0.0.1, behind a key and closed to web pages; unset: the Unix
            socket alone.
        key_file: A file of mode 0600 that holds the key; unset: ``control.key`` in the state
            folder, which is made.
    """

    openai_api: bool = False
    port: Annotated[int, Bound(ge=1, le=65535)] | None = None
    key_file: str | None = None
