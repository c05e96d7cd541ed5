"""What a dev coordinator can be told; every number is the real one's, unless it says so."""

import ipaddress

from ...config.frozen import frozen
from .registry import PENDING_LOAD_S, STALE_S, Alias

MIB = 2**20


@frozen
class CoordinatorOptions:
    """How a dev coordinator behaves.

    Attributes:
        host: A loopback address; anything else is refused.
        port: 0 for any free one.
        aliases: Public names and the builds behind them.
        sends_desired: Whether ``desired_models`` follows a register.
        challenge_interval_s: From one challenge to the next.
        challenge_timeout_s: How long an answer may take.
        stale_s: Silence after which a provider is on its way out.
        sweep_s: From one look for silent providers to the next.
        pending_load_s: How long a load may take before nobody waits for it.
        accept_wait_s: From a request to its first frame; ours, where the real one has a
            deadline by prompt length.
        chunk_wait_s: From an accepted request to its next frame, and so on.
        default_max_tokens: For clients that set no limit; ours.
        registry: A folder with builds that the catalog lists, offered by somebody or not.
        is_cold_dispatch: Whether a request goes to a provider that has to load first,
            without a ``load_model`` before it, as the real one may do.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    aliases: tuple[Alias, ...] = ()
    sends_desired: bool = False
    challenge_interval_s: float = 300.0
    challenge_timeout_s: float = 30.0
    stale_s: float = STALE_S
    sweep_s: float = 30.0
    pending_load_s: float = PENDING_LOAD_S
    accept_wait_s: float = 30.0
    chunk_wait_s: float = 600.0
    default_max_tokens: int = 1024
    registry: str | None = None
    is_cold_dispatch: bool = False
    max_frame_bytes: int = 10 * MIB
    max_body_bytes: int = 16 * MIB


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_alias(text: str) -> Alias:
    """An alias as the command line gives it: ``name=desired[,previous]``.

    Raises:
        ValueError: It is nothing of the kind.
    """
    name, _, builds = text.partition("=")
    desired, _, previous = builds.partition(",")
    if not name.strip() or not desired.strip():
        msg = f"an alias is name=desired[,previous], not {text!r}"
        raise ValueError(msg)
    return Alias(name=name.strip(), desired=desired.strip(), previous=previous.strip())
