"""What can go wrong with an engine.

Raised by the engines and their child processes; see ``config/errors.py`` for the rules.

* EngineError: an engine did not do its work
    * EngineMissing         ``engine_missing``
    * EngineNotRunning      ``engine_not_running``
    * EngineStartFailed     ``engine_start_failed``
    * EngineUnreachable     ``engine_unreachable``
    * EngineTimeout         ``engine_timeout``
    * EngineDied            ``engine_died``
    * EngineBrokeOff        ``engine_broke_off``
"""

from ...config.errors import AgentError, Retry


class EngineError(AgentError):
    """An engine did not do its work."""

    retry = Retry.LATER
    status = 503
    wire_status = 500


class EngineMissing(EngineError):
    """No engine on this machine can run the model."""

    code = "engine_missing"
    retry = Retry.OPERATOR
    status = 501
    remedy = "Install the extra that is named, or choose another engine in the config."

    def __init__(self, *, engine: str, needs: str) -> None:
        self.engine = engine
        super().__init__(f"engine '{engine}' cannot run here: {needs}")


class EngineNotRunning(EngineError):
    """A generation was asked of an engine that was never started, or has stopped."""

    code = "engine_not_running"
    wire_status = 503
    remedy = "Nothing: the model is loaded again when it is next asked for."

    def __init__(self, *, engine: str) -> None:
        super().__init__(f"engine '{engine}' is not running")

    @property
    def request_text(self) -> str:
        """A 503 with the words that make a request fail over without cost."""
        return "model not loaded: engine is not running"


class EngineStartFailed(EngineError):
    """The engine could not load the model.

    Attributes:
        kind: What went wrong, in one closed vocabulary: ``bad_model``, ``out_of_memory``,
            ``exited``, ``protocol``.
        tail: Last lines of the engine's log, for the node's own log only.
    """

    code = "engine_start_failed"
    remedy = "Look at the engine's log tail; check that the build is whole and of a known type."

    def __init__(self, *, engine: str, kind: str, reason: str, tail: str = "") -> None:
        self.kind = kind
        self.tail = tail
        super().__init__(f"engine '{engine}' could not load the model ({kind}): {reason}")

    @property
    def load_text(self) -> str:
        """A reason out of the closed vocabulary; the engine's own words stay here."""
        if self.kind == "out_of_memory":
            return "model load failed: out of memory"
        return f"model load failed: {self.kind}"


class EngineUnreachable(EngineError):
    """A server that runs already, by the configuration, does not: nobody here would start it."""

    code = "engine_unreachable"
    remedy = "Start the server that the model's `attach` names, or mend its url or socket there."

    def __init__(self, *, engine: str, reason: str) -> None:
        super().__init__(f"the server of engine '{engine}' is not there: {reason}")


class EngineTimeout(EngineError):
    """The engine did not answer in time."""

    code = "engine_timeout"
    remedy = "Nothing, once: the engine is restarted. If it recurs, raise engines.*_timeout_s."

    def __init__(self, *, engine: str, waited_s: float) -> None:
        super().__init__(f"engine '{engine}' gave no sign for {waited_s:.0f} s")

    @property
    def request_text(self) -> str:
        """Closed words; a fault."""
        return "engine timed out"


class EngineDied(EngineError):
    """The engine's process ended while it should have been serving."""

    code = "engine_died"
    remedy = "Nothing, once: the engine is restarted. If it recurs, look at the log's tail."

    def __init__(self, *, engine: str, exit_code: int | None, tail: str = "") -> None:
        self.exit_code = exit_code
        self.tail = tail
        super().__init__(f"engine '{engine}' ended with exit code {exit_code}")

    @property
    def request_text(self) -> str:
        """Closed words; a fault."""
        return "engine died"


class EngineBrokeOff(EngineError):
    """The engine lives on, but one of its answers came to no proper end."""

    code = "engine_broke_off"
    remedy = "Nothing, once. If it recurs, look at the engine's log."

    def __init__(self, *, engine: str, reason: str) -> None:
        super().__init__(f"engine '{engine}' broke off an answer: {reason}")

    @property
    def request_text(self) -> str:
        """Closed words; a fault."""
        return "engine broke off its answer"
