"""Every failure the agent can name, each under a code that never changes.

People read the sentence; programs, dashboards and the control API read ``code``. A code is
never renamed and never reused. A coordinator reads neither: it sorts failures by the words
in one text, so the texts it gets are written here too, in :attr:`AgentError.load_text` and
:attr:`AgentError.request_text`, and a test holds them against its table of words.

* AgentError
    * ConfigError: what the operator wrote cannot be used
        * ConfigUnreadable      ``config_unreadable``
        * ConfigInvalid         ``config_invalid``
        * SecretUnusable        ``secret_unusable``
        * RefInvalid            ``ref_invalid``
        * StateDamaged          ``state_damaged``
    * LinkError: the line to the coordinator
        * LinkRefused           ``link_refused``
        * LinkLost              ``link_lost``
        * AuthRejected          ``auth_rejected``
    * PlacementError: a model cannot be placed in a slot
        * ModelNotInPool        ``model_not_in_pool``
        * SlotsBusy             ``slots_busy``
        * InsufficientMemory    ``insufficient_memory``
        * NodeDraining          ``node_draining``
        * NodeStopping          ``node_stopping``
    * WeightsError: bytes did not become a verified folder; backends/stores/errors.py
    * EngineError: an engine did not do its work; backends/engines/errors.py
    * RequestError: one request cannot be answered
        * RequestUnreadable     ``request_unreadable``
        * RequestTooLarge       ``request_too_large``
        * RequestRefused        ``request_refused``
        * ModelNotReady         ``model_not_ready``
        * Overloaded            ``overloaded``
        * ContextExceeded       ``context_exceeded``
        * RequestCancelled      ``request_cancelled``
"""

from enum import StrEnum
from typing import ClassVar

from .words import harmless, quoted

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
    remedy = "Create the file, or name another with --config; check its permissions."

    def __init__(self, *, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"{path}: cannot read it: {reason}")


class ConfigInvalid(ConfigError):
    """The configuration says something that cannot be.

    Attributes:
        line: 1 for the first line; ``None`` where no line is to blame.
        suggestion: What may have been meant; empty if nothing comes near.
        others: Further problems of the same file, each a sentence with its place.
    """

    code = "config_invalid"
    remedy = "Mend the line that is named; `poolhand config check` reads the file again."

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


class PlacementError(AgentError):
    """A model cannot be placed in a slot."""

    retry = Retry.LATER
    status = 503

    @property
    def load_text(self) -> str:
        """The sentence itself: its words choose the coordinator's retry class."""
        return str(self)


class ModelNotInPool(PlacementError):
    """The coordinator asked for a model that this node does not serve."""

    code = "model_not_in_pool"
    retry = Retry.OPERATOR
    status = 404
    remedy = "Add the model to [[models]] and to pools.assigned or pools.allowed, if wanted."

    def __init__(self, *, model: str, pool: str) -> None:
        self.model = model
        self.pool = pool
        self.told = f"model {quoted(model)} not loaded: outside assigned pool"
        super().__init__(
            f"model {quoted(model)} not in advertised model list: "
            f"outside assigned pool {quoted(pool)}"
        )


class SlotsBusy(PlacementError):
    """Every slot holds a model that is loading, answering or pinned."""

    code = "slots_busy"
    remedy = "Wait until a resident model is idle, or allow more with slots.max_model_slots."

    def __init__(self, *, model: str, slots: int) -> None:
        self.model = model
        self.slots = slots
        busy = f"all {slots} model slot(s) are active"
        self.told = f"model {quoted(model)} not loaded: {busy}"
        super().__init__(f"{busy}; cannot load {quoted(model)}")


class InsufficientMemory(PlacementError):
    """The model does not fit into this node's memory, even alone."""

    code = "insufficient_memory"
    is_public = True
    remedy = "Serve a smaller build, or free memory on this machine."

    def __init__(self, *, model: str, needs_bytes: int, free_bytes: int) -> None:
        self.model = model
        self.needs_bytes = needs_bytes
        self.free_bytes = free_bytes
        super().__init__(
            f"insufficient memory to load model {quoted(model)} "
            f"({free_bytes / GIB:.1f} GiB free, needs {needs_bytes / GIB:.1f} GiB)"
        )


class NodeDraining(PlacementError):
    """This node finishes what runs and takes nothing new."""

    code = "node_draining"
    is_public = True
    remedy = "Nothing: the node was asked to drain; undrain or restart it to serve again."

    def __init__(self) -> None:
        # exactly these words: a coordinator compares the whole text
        super().__init__("provider draining for update")


class NodeStopping(PlacementError):
    """This node is on its way out."""

    code = "node_stopping"
    remedy = "Nothing: the node was asked to stop."
    told = "provider draining for update"  # what every coordinator takes for a drain

    def __init__(self) -> None:
        super().__init__("provider is shutting down")


class RequestError(AgentError):
    """One request cannot be answered."""

    retry = Retry.LATER
    status = 503


class RequestUnreadable(RequestError):
    """A request's body cannot be opened or is no request; the reason names nothing of it."""

    code = "request_unreadable"
    is_public = True
    retry = Retry.NEVER
    status = 400
    wire_status = 400
    remedy = "Nothing here: the sender has to seal a valid request for this node's key."

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        super().__init__(f"bad request: {harmless(reason)}")


class RequestTooLarge(RequestError):
    """A request is larger than this node takes."""

    code = "request_too_large"
    is_public = True
    retry = Retry.NEVER
    status = 413
    remedy = "Nothing here: the sender has to shorten the request."

    def __init__(self) -> None:
        super().__init__("request rejected: body exceeds the context window of this node")


class ContextExceeded(RequestError):
    """Prompt and answer together are longer than the model can hold."""

    code = "context_exceeded"
    is_public = True
    retry = Retry.NEVER
    status = 400
    remedy = "Nothing here: the sender has to shorten the prompt or max_tokens."

    def __init__(self, *, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(
            f"prompt of {prompt_tokens} tokens exceeds the context length of {context_tokens}"
        )


class RequestRefused(RequestError):
    """The engine takes the request for wrong."""

    code = "request_refused"
    is_public = True
    retry = Retry.NEVER
    status = 400
    wire_status = 400
    remedy = "Nothing here: the sender has to mend the request."

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"bad request: {harmless(reason)}")


class ModelNotReady(RequestError):
    """The model is not in memory and is not coming in time."""

    code = "model_not_ready"
    is_public = True
    remedy = "Nothing: the coordinator sends the request elsewhere, or loads the model first."

    def __init__(self, *, model: str, reason: str) -> None:
        super().__init__(f"model {quoted(model)} not loaded: {harmless(reason)}")


class Overloaded(RequestError):
    """This node answers as many requests as it can."""

    code = "overloaded"
    status = 429
    remedy = "Nothing: the coordinator sends the request elsewhere."
    told = "request rejected: queue full"  # the canonical words

    def __init__(self, *, running: int, most: int) -> None:
        super().__init__(f"request rejected: queue full ({running} of {most} running)")


class RequestCancelled(RequestError):
    """The coordinator, or a lost line, ended the request."""

    code = "request_cancelled"
    is_public = True
    retry = Retry.NEVER
    status = 499
    wire_status = 499
    remedy = "Nothing."

    def __init__(self) -> None:
        super().__init__("request cancelled")
