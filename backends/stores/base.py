"""What a store is: it lists one model's files and says where their bytes are to be had.

A store is the control plane only. It lists, reads small files and signs; the bytes of
weights are read by the fetch's own threads from the :data:`Location` that it gives. A store
object belongs to one model reference and lives in the fetching process, never in the agent.
The plain facts that both the weights room and the core talk about stand here too.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from ...config.frozen import field, frozen

if TYPE_CHECKING:  # for its name alone
    from .exchange import Line

VerifiedBy = Literal["manifest", "store", "self"]
"""Who had promised the digests that a build was held to."""


@frozen
class RemoteFile:
    """One file of a model, as it was listed.

    Attributes:
        path: Relative to the model, ``/`` between segments; already checked to be safe.
        size_bytes: Length, 0 or more.
        etag: The version tag, quotes included, for ``If-Match``; ``None`` if the store has none.
        key: The store's own name of the object.
        sha256: What the store promises of the bytes, lower-case hex; ``None`` if it does not.
        told: What it tells of them otherwise: ``md5``, ``git`` or what :mod:`.etags` has, a colon,
            and lower-case hex; ``None``: nothing that is understood here.
    """

    path: str
    size_bytes: int
    etag: str | None
    key: str
    sha256: str | None = None
    told: str | None = None


@frozen
class HttpLocation:
    """Where one GET goes.

    Attributes:
        target: Path and query exactly as they were signed.
        headers: Everything to send but ``Range``, ``If-Match`` and ``Connection``, which
            the reader adds and no signature covers; ``Host`` is among them.
        ca_file: PEM file to trust instead of the system's authorities.
        is_fleeting: Whether a refusal may only mean that the address or the token has ended, so
            that a fresh one is worth a try.
        connect: Makes what takes the place of a connection of ours, given after how many seconds
            without a byte a read is given up; ``target`` is then whatever that understands.
    """

    host: str
    port: int
    is_tls: bool
    target: str
    headers: Mapping[str, str] = field(repr=False)
    ca_file: str | None = None
    is_fleeting: bool = False
    connect: "Callable[[float], Line] | None" = None


@frozen
class FileLocation:
    """A file on this machine."""

    path: str


Location = HttpLocation | FileLocation


class Store(Protocol):
    """One model's place in a store.

    ``files`` is called first and once a fetch, ``read`` for small files, ``location``
    from any thread and before every GET, so it must be quick: once in many minutes it may
    ask for a new token or a new signed address, and wait for that one answer.
    """

    name: str
    """For messages: endpoint and bucket or folder, no secret."""

    async def files(self) -> tuple[RemoteFile, ...]:
        """List the model's files, sorted by path.

        Raises:
            ModelMissing: There is nothing under the prefix.
            StoreDenied: The store does not let this node read.
            StoreUnreachable: The store does not answer, or not sensibly.
            WeightsUnsafe: A key would leave the model's folder.
        """
        ...

    async def read(self, file: RemoteFile, *, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes ``start`` to ``stop`` (exclusive; ``None``: the end) of a small file.

        Raises:
            WeightsChanged: The object is no longer the one that was listed.
            StoreDenied: The store does not let this node read.
            StoreUnreachable: The store does not answer, or not sensibly.
        """
        ...

    def location(self, file: RemoteFile) -> Location:
        """Where to read the file now, signed if the store wants signatures.

        Raises:
            WeightsError: A new token or address was needed, and was not to be had.
        """
        ...

    async def refresh(self) -> None:
        """Fetch credentials again, after a store called them expired."""
        ...

    async def close(self) -> None:
        """Give back connections; safe to call twice."""
        ...


@runtime_checkable
class WholeStore(Protocol):
    """A store that can also list what is of no use to an engine."""

    def take_all(self) -> None:
        """Leave nothing out of ``files``; called before it."""
        ...


@runtime_checkable
class MetadataStore(Protocol):
    """A store that can also list only what tells about a model: all of ours."""

    def take_metadata(self) -> None:
        """Leave the weights out of ``files``; called before it."""
        ...


@runtime_checkable
class SecondHandStore(Protocol):
    """A store that may take what somebody else left on this machine."""

    def distrust(self) -> bool:
        """Take nothing from there any more, for something of it is damaged.

        Returns:
            Whether it was taken from there.
        """
        ...


@runtime_checkable
class LooplessStore(Protocol):
    """A store whose coroutines may run to their end in any thread, without an event loop."""

    @property
    def is_loopless(self) -> bool:
        """Whether that is so; they may still raise :class:`.loops.LoopWanted`."""
        ...


@frozen
class Progress:
    """How far a fetch is.

    Attributes:
        bytes_done: On disk, resumed ones included.
        bytes_total: Of the whole model.
        bytes_resumed: Of ``bytes_done``, what was here when the fetch began.
        rate_bytes_s: Of late; ``None`` until measured.
        phase: ``list``, ``verify``, ``fetch`` or ``publish``; empty if nobody said.
        bytes_peers: What other nodes brought in this fetch instead of the store.
        bytes_reused: Of ``bytes_resumed``, what was taken over from other builds on this disk.
        eta_s: Seconds until the last byte, as whoever brings them foresees it; ``None`` if it
            cannot.
    """

    bytes_done: int
    bytes_total: int
    bytes_resumed: int = 0
    rate_bytes_s: float | None = None
    phase: str = field(default="", compare=False)
    bytes_peers: int = 0
    bytes_reused: int = 0
    eta_s: float | None = None


@frozen
class Build:
    """What is known of a build that lies verified on this disk.

    Attributes:
        folder: Absolute path of the folder that an engine can load.
        size_bytes: All files together.
        weights_bytes: Tensor bytes, from the safetensors headers.
        weight_hash: Lower-case hex sha256 over the integrity files' digests.
        verified_by: ``manifest`` if every digest was promised beforehand; ``store`` if the store
            itself promised those of all weights; ``self`` if the digests are our own, taken
            while the bytes arrived.
        config: The parsed ``config.json``.
        has_chat_template: Whether chat requests can be rendered.
        adapters: Names of what came beside it, each with its own verified folder.
    """

    folder: str
    size_bytes: int
    weights_bytes: int
    weight_hash: str
    verified_by: VerifiedBy
    config: Mapping[str, object] = field(repr=False, hash=False)
    has_chat_template: bool = True
    adapters: tuple[tuple[str, str], ...] = ()

    @property
    def is_here(self) -> bool:
        """Whether there is anything to load, and so a hash that says what it is."""
        return bool(self.folder)


ELSEWHERE = Build(
    folder="", size_bytes=0, weights_bytes=0, weight_hash="", verified_by="self", config={}
)
"""What stands for the build of a model that somebody else runs: nothing of it is here."""


@frozen
class Stock:
    """How much of one offered model is here.

    Attributes:
        state: ``listed``: nothing yet; ``partial``: resumable bytes; ``here``: verified.
        size_bytes: Of the whole build; ``None`` until it was listed once.
        here_bytes: On this disk.
        build: The verified build, if ``here``.
    """

    model: str
    state: Literal["listed", "partial", "here"]
    size_bytes: int | None = None
    here_bytes: int = 0
    build: Build | None = None


@frozen
class Damage:
    """A build whose bytes are no longer what they were.

    Attributes:
        model: Whose.
        files: Which of its files.
        is_mending: Whether the bad parts were set aside for the next fetch; a build in use
            is left as it is until it is not.
    """

    model: str
    files: tuple[str, ...]
    is_mending: bool


@frozen
class Survey:
    """How the cache stands, and what its keeper did. Times are seconds since the epoch.

    Attributes:
        used_bytes: What all builds and unfinished fetches take on the disk.
        pending_bytes: What unfinished fetches still have to write.
        free_bytes: What could still be written to the disk.
        reserve_bytes: What has to stay free of it.
        quota_bytes: Most that all builds may take; ``None``: no bound.
        left: Folders that had to leave since the agent started, the last ones.
        scrubbing: The model that is read whole just now.
        damaged: What such readings found.
        read_whole_s: By model, when its bytes were last all seen to be right.
    """

    used_bytes: int
    pending_bytes: int
    free_bytes: int
    reserve_bytes: int
    quota_bytes: int | None
    left: tuple[str, ...] = ()
    scrubbing: str | None = None
    damaged: tuple[Damage, ...] = ()
    read_whole_s: Mapping[str, float] = field(default_factory=dict[str, float])
