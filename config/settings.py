"""What the operator chose: one frozen value, units in the names, every default in one place.

Sections mirror the TOML tables. Unknown keys are refused and types are strict, so nothing
that was written is quietly read as something else. Paths are text here; ``config/load.py``
makes them absolute against the folder of the file that named them.
"""

from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from .adapters import Adapter, adapter, doubled
from .catalog import Catalog
from .control import Control
from .engines import Attach, EngineName, Engines, Mlx, Serving
from .errors import RefInvalid
from .external import External
from .hours import Hours, Owner
from .loopback import is_loopback
from .peers import Peers
from .refs import ModelRef
from .rules import Bound, checks, whole
from .section import Section, absent
from .stores import S3, KeychainName, Stores
from .telemetry import Telemetry
from .weights import Weights

__all__ = ["S3", "Engines", "Hours", "Mlx", "Owner", "Section", "Stores", "Weights"]

Name = Annotated[
    str, Bound(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$")
]
Seconds = Annotated[float, Bound(gt=0)]

PROVIDER_PATH = "/ws/provider"
"""Where a coordinator listens for nodes, if the URL does not say."""


class Coordinator(Section):
    """``[coordinator]``: whom this node calls, and how it shows who it is.

    Attributes:
        url: ``ws://``, ``wss://``, ``http://`` or ``https://``; a missing path becomes
            ``/ws/provider``.
        token_file: A file of mode 0600 that holds the token.
        token_env: Name of an environment variable that holds the token.
        token_credential: Name of a service credential (systemd ``LoadCredential=``).
        token_keychain: Name of a generic password in the macOS keychain.
        ping_interval_s: Seconds between two pings; with ``pong_timeout_s`` this bounds how
            long a dead socket goes unnoticed.
        allow_plaintext_beyond_loopback: Say ``true`` to send everything, the token too,
            unencrypted to another machine.
        ca_file: PEM file of certificate authorities to trust instead of the system's.
        private_only: Ask for the owner's own requests only.
    """

    url: str
    token_file: str | None = None
    token_env: str | None = None
    token_credential: str | None = None
    token_keychain: KeychainName | None = None
    heartbeat_interval_s: Annotated[float, Bound(ge=0.2, le=60)] = 5.0
    ping_interval_s: Annotated[float, Bound(ge=0.2, le=60)] = 5.0
    pong_timeout_s: Annotated[float, Bound(ge=0.2, le=60)] = 8.0
    dial_timeout_s: Seconds = 10.0
    allow_plaintext_beyond_loopback: bool = False
    ca_file: str | None = None
    private_only: bool = False

    @checks("url")
    @staticmethod
    def _has_a_known_form(url: str) -> str:
        parts = _split(url.strip())
        if parts.scheme not in {"ws", "wss", "http", "https"}:
            problem = "must begin with wss://, ws://, https:// or http://"
            raise ValueError(problem)
        if not parts.hostname or parts.username or parts.query or parts.fragment:
            problem = "must be scheme://host[:port][/path], with no user name, query or fragment"
            raise ValueError(problem)
        return url.strip()

    @whole
    def _one_token_and_no_open_text(self) -> None:
        named = [self.token_file, self.token_env, self.token_credential, self.token_keychain]
        if sum(source is not None for source in named) > 1:
            problem = "name only one of token_file, token_env, token_credential and token_keychain"
            raise ValueError(problem)
        if not (self.is_encrypted or self.is_loopback or self.allow_plaintext_beyond_loopback):
            problem = (
                "url is unencrypted and leaves this machine: use wss://, "
                "or set allow_plaintext_beyond_loopback = true"
            )
            raise ValueError(problem)

    @property
    def socket_url(self) -> str:
        """The URL to dial, always ``ws://`` or ``wss://`` and always with a path."""
        parts = _split(self.url)
        path = parts.path if parts.path.strip("/") else PROVIDER_PATH
        return f"{'wss' if self.is_encrypted else 'ws'}://{parts.netloc}{path}"

    @property
    def is_encrypted(self) -> bool:
        """Whether the line runs over TLS."""
        return _split(self.url).scheme in {"wss", "https"}

    @property
    def is_loopback(self) -> bool:
        """Whether the line cannot leave this machine, judged without asking any resolver."""
        return is_loopback(_split(self.url).hostname or "")


class Wire(Section):
    """``[wire]``: what is said on the line.

    Attributes:
        backend_label: The word a coordinator compares. Set it to ``mlx-swift`` only on a
            coordinator that you or your organisation run.
        version_label: The version a coordinator compares with its floors; unset: our own.
        drain_barrier: Say ``true`` for a coordinator that knows ``provider_drain``: a node that
            leaves then waits until all that it did is settled, or its time is over.
    """

    backend_label: Annotated[str, Bound(min_length=1, max_length=64)] = "poolhand"
    version_label: Annotated[str, Bound(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")] | None = None
    drain_barrier: bool = False


class Pools(Section):
    """``[pools]``: which models this machine may ever serve.

    Attributes:
        assigned: An alias or a model id; empty: chosen by the node from what is offered.
        allowed: Names or globs over aliases and ids; empty: whatever ``[[models]]`` offers.
        enforce: ``false`` refuses nothing for the pool's sake; the allow-list and the slots stay.
        follow_coordinator: Whether a ``load_model`` for another allowed pool moves an idle node.
        advertise: ``pool``: a coordinator hears of the assigned pool alone. ``all``: of all that
            is allowed, and the first load or request that is taken chooses the pool.
        min_dwell_s: A node that was moved to another pool stays there for so long.
        move_deadline_s: A move to another pool that takes longer is undone.
    """

    assigned: Name | None = None
    allowed: tuple[str, ...] = ()
    enforce: bool = True
    follow_coordinator: bool = False
    advertise: Literal["pool", "all"] = "pool"
    min_dwell_s: Annotated[float, Bound(ge=0, le=86400)] = 300.0
    move_deadline_s: Annotated[float, Bound(gt=0, le=86400)] = 600.0


class Slots(Section):
    """``[slots]``: how many models may be in memory at once, and how often they may change.

    Attributes:
        max_loads_per_h: Loads an hour and slot, over time; for a start, those of four hours.
        min_residency_s: A model that was loaded makes way for no other for so long.
        idle_unload_s: A model without a request for so long leaves memory, unless it is pinned;
            0: never.
    """

    max_model_slots: Annotated[int, Bound(ge=1, le=64)] = 1
    max_loads_per_h: Annotated[int, Bound(ge=1, le=3600)] = 6
    min_residency_s: Annotated[float, Bound(ge=0, le=86400)] = 0.0
    idle_unload_s: Annotated[float, Bound(ge=0, le=2592000)] = 0.0


class ModelEntry(Section):
    """``[[models]]``: one build this machine may offer.

    Attributes:
        id: The build's id on the wire.
        aliases: Public names that point at it.
        ref: Where its weights live; see :class:`~poolhand.config.refs.ModelRef`. Empty: they
            live elsewhere, and ``external`` says where it is asked.
        engine: Which engine runs it; ``auto`` takes what fits machine and build, never ``echo``.
        context_tokens: Upper bound of prompt plus answer; unset: the model's own.
        pinned: Once in memory, it makes way for no other model.
        weight_hash: What its bytes have to be, as 64 hex digits; unset: what its store promises.
        external: An account at a provider that answers for it; never together with ``ref``.
        serving: What it wants different from its engine's own table.
        attach: A server that runs already and answers for it; never together with ``ref``.
    """

    id: Name
    aliases: tuple[Name, ...] = ()
    ref: str = ""
    engine: EngineName = "auto"
    context_tokens: Annotated[int, Bound(ge=16)] | None = None
    pinned: bool = False
    weight_hash: Annotated[str, Bound(pattern=r"^[0-9a-f]{64}$")] | None = None
    serving: Serving = absent()
    attach: Attach = absent()
    external: External | None = None

    @whole
    def _is_here_or_elsewhere(self) -> None:
        together = 'engine = "attach" and [models.attach] with url or socket go together'
        if self.engine == "attach" and not self.attach.is_named:
            raise ValueError(together)
        if (self.external is not None or self.attach.is_named) == bool(self.ref):
            said = "both" if self.ref else "neither"
            problem = f"say either ref (weights here) or external (a provider), not {said}"
            raise ValueError(problem)
        if self.external is not None and (self.engine != "auto" or self.attach.is_named):
            problem = "engine is for models with a ref; external has its dialect"
            raise ValueError(problem)
        if self.serving.adapters and (self.is_elsewhere or self.engine in {"mlx", "echo"}):
            problem = "adapters are for models that vLLM, SGLang or llama.cpp serve here"
            raise ValueError(problem)
        is_readable = self.ref.startswith("s3://") and self.engine in {"vllm", "sglang"}
        if self.is_streamed and not is_readable:
            problem = 'load_format = "stream" is for an s3:// ref and engine = "vllm" or "sglang"'
            raise ValueError(problem)
        if self.attach.is_named and self.engine != "attach":
            raise ValueError(together)

    @checks("ref")
    @staticmethod
    def _is_a_reference(ref: str) -> str:
        try:
            return str(ModelRef.parse(ref))
        except RefInvalid as error:
            # as a ValueError it is one problem among the file's others, with its line
            raise ValueError(error.reason) from error

    @property
    def place(self) -> ModelRef:
        """The parsed reference.

        Raises:
            RefInvalid: The model has none, for it is asked elsewhere.
        """
        if not self.ref:
            reason = "it is asked where it runs; there is nothing to fetch"
            raise RefInvalid(ref=self.id, reason=reason)
        return ModelRef.parse(self.ref)

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """What is served beside it, each by a name of its own."""
        return tuple(map(adapter, self.serving.adapters))

    @property
    def where(self) -> str:
        """Where its weights live, or who is asked, for people."""
        if self.external is not None:
            return f"{self.external.dialect} {self.external.url}"
        return self.ref or f"attached at {self.attach.url or self.attach.socket}"

    @property
    def is_elsewhere(self) -> bool:
        """Whether this node has none of its weights, but asks whoever has."""
        return self.external is not None or self.attach.is_named or self.is_streamed

    @property
    def is_streamed(self) -> bool:
        """Whether its server reads the weights from their store itself."""
        return self.serving.load_format == "stream"


class Cache(Section):
    """``[cache]``: where weights lie on this machine, and how much of it they may take.

    Attributes:
        quota_gib: Most that all builds together may take; unset: what the disk gives.
        reserve_gib: What has to stay free on the disk; unset: the larger of 10 GiB and
            ``reserve_ratio`` of the disk.
        reserve_ratio: Part of the disk that has to stay free, whatever ``reserve_gib`` says.
        scrub_interval_days: How often every build is read whole and held to its digests; 0:
            never.
        scrub_mib_s: Most that such a reading takes of the disk's throughput, in MiB a second.
    """

    dir: str | None = None
    quota_gib: Annotated[float, Bound(gt=0, le=2**20)] | None = None
    reserve_gib: Annotated[float, Bound(ge=0, le=2**20)] | None = None
    reserve_ratio: Annotated[float, Bound(ge=0, le=0.9)] = 0.05
    scrub_interval_days: Annotated[float, Bound(ge=0, le=3650)] = 30.0
    scrub_mib_s: Annotated[float, Bound(gt=0, le=2**20)] = 100.0


class Requests(Section):
    """``[requests]``: how many at once, and how long they are waited for.

    Attributes:
        max_concurrent: Requests accepted and not ended, over all models.
        default_max_tokens: Answer length when a request does not say.
        drain_s: Seconds that running requests may take to end when the node stops.
        cold_wait_s: A request for a model whose last load took longer is refused at once.
    """

    max_concurrent: Annotated[int, Bound(ge=1, le=1024)] = 24
    default_max_tokens: Annotated[int, Bound(ge=1)] = 4096
    drain_s: Annotated[float, Bound(ge=0, le=86400)] = 120.0
    cold_wait_s: Annotated[float, Bound(gt=0, le=86400)] = 120.0


class Memory(Section):
    """``[memory]``: what is kept for others.

    Attributes:
        reserve_gib: GiB never promised to a model.
        kv_context_tokens: Length of the one request whose KV cache must fit beside the weights.
    """

    reserve_gib: Annotated[float, Bound(ge=0, le=4096)] = 0.5
    kv_context_tokens: Annotated[int, Bound(ge=16)] = 4096


class Log(Section):
    """``[log]``: what is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


class Settings(Section):
    """Everything the operator can choose. Only ``coordinator.url`` has no default."""

    coordinator: Coordinator
    wire: Wire = absent()
    pools: Pools = absent()
    slots: Slots = absent()
    models: tuple[ModelEntry, ...] = ()
    catalog: Catalog = absent()
    stores: Stores = absent()
    cache: Cache = absent()
    weights: Weights = absent()
    peers: Peers = absent()
    engines: Engines = absent()
    requests: Requests = absent()
    memory: Memory = absent()
    hours: Hours = absent()
    owner: Owner = absent()
    log: Log = absent()
    control: Control = absent()
    telemetry: Telemetry = absent()

    @checks("models")
    @staticmethod
    def _ids_are_unique(models: tuple[ModelEntry, ...]) -> tuple[ModelEntry, ...]:
        if twice := doubled(model.id for model in models):
            problem = f"two [[models]] have the id {twice!r}"
            raise ValueError(problem)
        beside = [one.name for model in models for one in model.adapters]
        if twice := doubled([*beside, *{name for m in models for name in (m.id, *m.aliases)}]):
            problem = f"an adapter's name {twice!r} is a model's, an alias or another adapter's"
            raise ValueError(problem)
        return models

    @property
    def claimed(self) -> tuple[ModelEntry, ...]:
        """Every model whose engine a claim to a coordinator has to hold for.

        Whatever a catalog brings later is among them, as one that is like all of it.
        """
        if not self.catalog.builds:
            return self.models
        example = self.catalog.at("https://catalog").ref("v2/any/1")
        return (*self.models, ModelEntry(id="catalog", ref=example))

    @property
    def pinned(self) -> frozenset[str]:
        """Ids of the models that make way for no other."""
        return frozenset(entry.id for entry in self.models if entry.pinned)

    def entry(self, model: str) -> ModelEntry | None:
        """The offered build with this id, if there is one."""
        return next((entry for entry in self.models if entry.id == model), None)


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    _ = parts.port  # raises ValueError for a port that is no number
    return parts
