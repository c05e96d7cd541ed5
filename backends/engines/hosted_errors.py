"""What can go wrong with an engine that somebody else runs.

No sentence here quotes a provider: its words may repeat a prompt, a key or an account.

* EngineError
    * ProviderUnsafe        ``provider_unsafe``
    * ProviderUnreachable   ``provider_unreachable``
    * ProviderRefused       ``provider_refused``
    * ProviderBusy          ``provider_busy``
    * ProviderPaused        ``provider_paused``
    * ProviderBroke         ``provider_broke``
    * DailyLimitReached     ``daily_limit_reached``
"""

from ...config.errors import Retry
from .errors import EngineError


class ProviderUnsafe(EngineError):
    """A provider's host has an address that this node must not talk to."""

    code = "provider_unsafe"
    retry = Retry.OPERATOR
    wire_status = 503
    remedy = "Name the host in the model's external.trusted_hosts, if it is meant."
    told = "request rejected: provider not available"

    def __init__(self, *, host: str, reason: str) -> None:
        super().__init__(f"provider {host}: its address is {reason}")


class ProviderUnreachable(EngineError):
    """A provider did not take the call, or did not answer it."""

    code = "provider_unreachable"
    wire_status = 503
    remedy = "Check the network and external.base_url; each request tries again."
    told = "request rejected: provider not available"

    def __init__(self, *, host: str, reason: str) -> None:
        super().__init__(f"provider {host} is not to be had: {reason}")


class ProviderRefused(EngineError):
    """A provider does not serve this account, or does not know the model."""

    code = "provider_refused"
    retry = Retry.OPERATOR
    wire_status = 503
    remedy = "Check the key, the account and external.model with the provider."
    told = "request rejected: provider not available"

    def __init__(self, *, host: str, reason: str) -> None:
        super().__init__(f"provider {host} refuses: {reason}")


class ProviderBusy(EngineError):
    """A provider has too much to do, or allows this account no more for now.

    Attributes:
        retry_after_s: When the provider wants to be asked again; ``None`` if it did not say.
    """

    code = "provider_busy"
    wire_status = 503
    remedy = "Nothing, once. If it recurs, ask the provider for higher limits."

    def __init__(self, *, host: str, reason: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        again = "" if retry_after_s is None else f"; try again in {retry_after_s:.0f} s"
        self.told = f"request rejected: provider busy{again}"
        super().__init__(f"provider {host} is busy: {reason}{again}")


class ProviderPaused(EngineError):
    """A provider refused so often in a row that it is left alone for a while."""

    code = "provider_paused"
    wire_status = 503
    remedy = "Look at the refusals before it; the provider is tried again by itself."

    def __init__(self, *, host: str, reason: str, wait_s: float) -> None:
        self.told = f"request rejected: provider paused; try again in {wait_s:.0f} s"
        super().__init__(f"provider {host} is left alone for {wait_s:.0f} s: {reason}")


class ProviderBroke(EngineError):
    """An answer broke off at the provider, or was none that can be read."""

    code = "provider_broke"
    remedy = "Nothing, once. If it recurs, check external.dialect and the provider's state."
    told = "provider broke off"

    def __init__(self, *, host: str, reason: str) -> None:
        super().__init__(f"provider {host} broke off: {reason}")


class DailyLimitReached(EngineError):
    """The operator allows no more of this model today."""

    code = "daily_limit_reached"
    retry = Retry.OPERATOR
    status = 429
    wire_status = 503
    remedy = "Wait for the next UTC day, or raise the model's external.*_per_day."
    is_public = True

    def __init__(self, *, what: str, most: int) -> None:
        super().__init__(f"request rejected: daily limit of {most} {what} reached")
