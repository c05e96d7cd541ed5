"""What this node refuses: to place a model, or to answer a request.

The rules of :mod:`poolhand.config.errors` hold here. A coordinator reads these more than any
other failure: it sorts them by the words of one text.

* PlacementError: a model cannot be placed in a slot
    * ModelNotInPool        ``model_not_in_pool``
    * SlotsBusy             ``slots_busy``
    * InsufficientMemory    ``insufficient_memory``
    * NodeDraining          ``node_draining``
    * NodeResting           ``node_resting``
* RequestError: one request cannot be answered
    * RequestUnreadable     ``request_unreadable``
    * RequestTooLarge       ``request_too_large``
    * RequestRefused        ``request_refused``
    * ModelNotReady         ``model_not_ready``
    * ModelCrashed          ``model_crashed``
    * Overloaded            ``overloaded``
    * ContextExceeded       ``context_exceeded``
    * RequestCancelled      ``request_cancelled``
"""

from .errors import GIB, AgentError, Retry
from .words import harmless, quoted


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
        name = quoted(model)
        self.told = f"model {name} not loaded: outside assigned pool"
        super().__init__(
            f"model {name} not in advertised model list: outside assigned pool {quoted(pool)}"
        )


class SlotsBusy(PlacementError):
    """Every slot holds a model that is loading, answering or pinned, or is kept from loads.

    Attributes:
        cause: For the owner's eyes, where it is not the slots; empty: it is.
    """

    code = "slots_busy"
    remedy = "Wait until a resident model is idle, or allow more with slots.max_model_slots."

    def __init__(self, *, model: str, slots: int, cause: str = "") -> None:
        self.model = model
        self.slots = slots
        self.cause = cause
        busy, name = f"all {slots} model slot(s) are active", quoted(model)
        self.told = f"model {name} not loaded: {busy}"
        super().__init__(f"{busy}; cannot load {name}")


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


class NodeResting(PlacementError):
    """This node takes nothing new now, by its owner's rules.

    Attributes:
        cause: For the owner's eyes; what a coordinator hears does not tell who sits where.
    """

    code = "node_resting"
    remedy = "Wait, or change [hours] or [owner]."
    told = "provider draining: resting"

    def __init__(self, *, cause: str) -> None:
        self.cause = cause
        super().__init__(f"the node rests: {cause}")

    @property
    def load_text(self) -> str:
        """Words that have the coordinator look elsewhere at once, and come back later."""
        return self.told


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


class ModelCrashed(RequestError):
    """The model's engine ended unasked, and is not back yet.

    Attributes:
        waits_s: Seconds until it is loaded again; ``None``: it was given up.
    """

    code = "model_crashed"
    remedy = "Look in the log for what it ended of; given up, it comes back by load_model."

    def __init__(self, *, model: str, times: int, waits_s: float | None) -> None:
        self.model = model
        self.waits_s = waits_s
        when = "not by itself" if waits_s is None else f"in {waits_s:.0f} s"
        ended = f"its engine ended {times} time(s)"
        told = ended if waits_s is None else "it is on its way back"
        self.told = f"model {quoted(model)} not loaded: {told}"
        super().__init__(f"model {quoted(model)} not loaded: {ended}, it comes back {when}")


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
