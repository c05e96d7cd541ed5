"""Every failure the agent can name, each under a code that never changes.

People read the sentence; programs, dashboards and the control API read ``code``. A code is
never renamed and never reused. A coordinator reads neither: it sorts failures by the words
in one text, so the texts it gets are written here too, in :attr:`AgentError.load_text` and
:attr:`AgentError.request_text`, and a test holds them against its table of words.

* AgentError
    * ConfigError: what the operator wrote cannot be used
        * ConfigUnreadable      ``config_unreadable``
        * ConfigUnwritable      ``config_unwritable``
        * ConfigInvalid         ``config_invalid``
        * SecretUnusable        ``secret_unusable``
        * ExtraMissing          ``extra_missing``
        * RefInvalid            ``ref_invalid``
        * StateDamaged          ``state_damaged``
    * LinkError: the line to the coordinator
        * LinkRefused           ``link_refused``
        * LinkLost              ``link_lost``
        * AuthRejected          ``auth_rejected``
    * PlacementError, RequestError: what the node refuses; config/refusals.py
    * WeightsError: bytes did not become a verified folder; backends/stores/errors.py
    * EngineError: an engine did not do its work; backends/engines/errors.py
"""

from enum import StrEnum
from typing import ClassVar

GIB = 2**30


class Retry(StrEnum):
    """What has to happen before the same thing can succeed."""

    LATER = "later"
    """Nothing: time alone may mend it."""

    OPERATOR = "operator"
    """A person has to change a setting, a key or a disk."""

    NEVER = "never"
    """The request itself is wrong."""


class AgentError(Exception):
    """Base of every failure the agent expects.

    Attributes:
        code: Stable identifier, ``snake_case``.
        retry: What must happen before the same thing can succeed.
        status: Nearest HTTP status; for the control API and the log, not for the wire.
        remedy: One sentence that tells a person what to do.
        wire_status: ``inference_error.status_code`` when a request ends this way. A refusal
            before the first token is 503, which costs the node no reputation.
        is_public: Whether the sentence may travel to clients: closed words and counts only.
        told: What clients are told where the sentence may not travel; empty: the code.
    """

    code: ClassVar[str]
    retry: ClassVar[Retry]
    status: ClassVar[int]
    remedy: ClassVar[str]
    wire_status: ClassVar[int] = 503
    is_public: ClassVar[bool] = False
    told: str = ""

    @property
    def load_text(self) -> str:
        """The text of a failed ``load_model_status``; the coordinator sorts it by its words."""
        return f"model load failed: {self.code}"

    @property
    def request_text(self) -> str:
        """The text of an ``inference_error``; it travels to clients, so it names no detail."""
        return str(self) if self.is_public else self.told or f"request rejected: {self.code}"


class ConfigError(AgentError):
    """What the operator wrote cannot be used."""

    retry = Retry.OPERATOR
    status = 500


class ConfigUnreadable(ConfigError):
    """The configuration file is not there, or cannot be read."""

    code = "config_unreadable"
    remedy = "`poolhand config init` writes one; or name another with --config, or mend its mode."

    def __init__(self, *, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"{path}: cannot read it: {reason}")


class ConfigUnwritable(ConfigError):
    """A file of the configuration cannot be written."""

    code = "config_unwritable"
    remedy = "Check the permissions of the folder and its disk; a mounted file is edited elsewhere."

    def __init__(self, *, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"{path}: cannot write it: {reason}")


class ConfigInvalid(ConfigError):
    """The configuration says something that cannot be.

    Attributes:
        line: 1 for the first line; ``None`` where no line is to blame.
        suggestion: What may have been meant; empty if nothing comes near.
        others: Further problems of the same file, each a sentence with its place.
    """

    code = "config_invalid"
    remedy = "Mend the line that is named; `poolhand config check` reads the file again."
    # those of an error that another process told: it says strings and numbers only
    line: int | None = None
    others: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        path: str,
        line: int | None,
        problem: str,
        suggestion: str = "",
        column: int = 0,
        others: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self.line = line
        self.column = column
        self.suggestion = suggestion
        self.others = others
        place = path if line is None else f"{path}:{line}" + (f":{column}" if column else "")
        super().__init__(f"{place}: {problem}" + (f" ({suggestion})" if suggestion else ""))


class SecretUnusable(ConfigError):
    """A token cannot be read, is empty, or lies open to other users."""

    code = "secret_unusable"
    remedy = "Put the token into a file of mode 0600, an environment variable or a credential."

    def __init__(self, *, source: str, reason: str) -> None:
        self.source = source
        super().__init__(f"token from {source}: {reason}")


class ExtraMissing(ConfigError):
    """The configuration wants what this installation has not."""

    code = "extra_missing"
    remedy = "Install the extra that is named, or switch the key off that wants it."

    def __init__(self, *, key: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{key} needs an extra: pip install 'poolhand[{extra}]'")


class RefInvalid(ConfigError):
    """A model reference is no URI that any store understands."""

    code = "ref_invalid"
    status = 400
    remedy = "Write it as s3://bucket/prefix, gs://, ngc://, hf://org/name or file:///path."

    def __init__(self, *, ref: str, reason: str) -> None:
        self.ref = ref
        self.reason = reason
        super().__init__(f"model reference {ref!r}: {reason}")


class StateDamaged(ConfigError):
    """A file of the state folder cannot be read, understood or written."""

    code = "state_damaged"
    remedy = "Check the state folder's disk and permissions; the agent goes on without the file."

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


class LinkError(AgentError):
    """The line to the coordinator."""

    retry = Retry.LATER
    status = 503


class LinkRefused(LinkError):
    """No line could be opened."""

    code = "link_refused"
    remedy = "Check coordinator.url, the network and the coordinator; dialling goes on by itself."

    def __init__(self, *, url: str, reason: str) -> None:
        self.url = url
        super().__init__(f"no line to {url}: {reason}")


class LinkLost(LinkError):
    """A line that stood is gone; with close code 1006 if the peer vanished without one."""

    code = "link_lost"
    remedy = "Nothing: the agent dials again by itself."

    def __init__(self, *, close_code: int, reason: str) -> None:
        self.close_code = close_code
        super().__init__(f"the line closed with {close_code}: {reason or 'no reason given'}")


class AuthRejected(LinkError):
    """The coordinator closed the line because it does not accept this node."""

    code = "auth_rejected"
    retry = Retry.OPERATOR
    status = 401
    remedy = "Check the coordinator token and the coordinator's words; dialling goes on slowly."

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"the coordinator refused this node: {reason}")
