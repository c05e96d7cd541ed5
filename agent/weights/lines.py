"""What the agent and its fetching child say to each other: one JSON object a line.

The agent writes one line, the job; the child answers with ``{"progress": …}`` lines and
ends with one ``{"result": …}`` or ``{"error": …}``. A job holds no secret: credentials are
found by the child itself, in its environment.
"""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, cast

from ...backends.stores.base import Progress
from ...backends.stores.errors import WeightsError
from ...config.errors import AgentError, ConfigError
from ...config.frozen import as_table, field, frozen
from ...config.refs import ModelRef
from .light import Table

if TYPE_CHECKING:  # whoever has checked settings has these already; the child has no need of them
    from ...config.peers import Peers
    from ...config.stores import Stores
    from ...config.weights import Weights

Mode = Literal["fetch", "list", "look"]
MAX_LINE_BYTES = 2**20
LIGHT_SCHEMES = frozenset({"s3", "file"})
"""Where models lie that are brought with plain values for settings."""

ExitCode = int
EXIT_FAILED: ExitCode = 1
EXIT_STOPPED: ExitCode = 143
"""128 + SIGTERM."""


@frozen
class Alone:
    """A fetch that a person asked for, held to what that person said.

    Attributes:
        checksums: File that promises digests, as ``sha256sum`` prints them; ``None``: none.
        is_verified: Whether promises are held, and formats looked into.
        is_all: Whether also what no engine needs is wanted.
        is_metadata: Whether only what tells about the model is wanted, and none of its weights.
    """

    checksums: str | None = None
    is_verified: bool = True
    is_all: bool = True
    is_metadata: bool = False


def _no_peers() -> "Peers":
    from ...config.peers import NO_PEERS  # noqa: PLC0415  # not in the child, which is told

    return NO_PEERS


@frozen
class FetchJob:
    """One model to be brought here.

    Attributes:
        model: The build's id.
        ref: Where its bytes live.
        cache_dir: The cache folder, absolute.
        tells_tensors: Whether it is to be told which tensors can be read while files arrive.
        weight_hash: What the build has to be; ``None``: what its store promises.
        alone: Given for a copy of all that lies there; ``None``: what an engine needs.
        peers: Who else may bring it, and whom it is passed on to.
    """

    model: str
    ref: ModelRef
    stores: "Stores"
    weights: "Weights"
    cache_dir: str
    alone: Alone | None = None
    tells_tensors: bool = False
    peers: "Peers" = field(default_factory=_no_peers)
    weight_hash: str | None = None

    @property
    def is_held(self) -> bool:
        """Whether every file is held to a list of checksums."""
        alone = self.alone
        return alone is not None and alone.is_verified and alone.checksums is not None


@frozen
class Result:
    """What a finished job found out.

    Attributes:
        size_bytes: Of the whole build.
        files: How many files it has.
        weights_bytes: Of its tensors; ``None`` if nobody looked.
        config: Its ``config.json`` as one line; empty if nobody looked or it has none.
    """

    size_bytes: int
    files: int
    weights_bytes: int | None = None
    config: str = ""


@frozen
class Tensors:
    """Tensors of one file that can be read; or none of it can any more.

    Attributes:
        path: The file's name in the build.
        names: In the order of their bytes.
        is_forgotten: What was told of this file before is not true: its bytes come anew.
    """

    path: str
    names: tuple[str, ...] = ()
    is_forgotten: bool = False


def encode_job(job: FetchJob, mode: Mode) -> bytes:
    """The job as the child's one line of input."""
    said = {
        "mode": mode,
        "model": job.model,
        "ref": as_table(job.ref),
        "stores": job.stores.model_dump(),
        "weights": job.weights.model_dump(),
        "cache_dir": job.cache_dir,
        "alone": None if job.alone is None else as_table(job.alone),
        "tells_tensors": job.tells_tensors,
        "peers": job.peers.model_dump(),
        "weight_hash": job.weight_hash,
    }
    return json.dumps(said).encode() + b"\n"


def decode_job(line: bytes) -> tuple[FetchJob, Mode]:
    """Read what :func:`encode_job` wrote; anything else is a bug and raises as one."""
    from ...config.peers import Peers  # noqa: PLC0415  # most children take the job as it is
    from ...config.stores import Stores  # noqa: PLC0415  # likewise
    from ...config.weights import Weights  # noqa: PLC0415  # likewise

    said = cast("dict[str, object]", json.loads(line))
    tables = (
        Stores.model_validate(said["stores"]),
        Weights.model_validate(said["weights"]),
        Peers.model_validate(said["peers"]),
    )
    return _job(said, *tables)


def take_job(line: bytes) -> tuple[FetchJob, Mode]:
    """The same without the library that validates, where that saves the child half its start.

    The agent has validated every table that it sends. Only S3 and folders are reached with
    nothing but plain values; for other stores, and with peers, it is :func:`decode_job`.
    """
    said = cast("dict[str, object]", json.loads(line))
    peers = Table({**cast("dict[str, object]", said["peers"]), "is_on": False})
    scheme = cast("dict[str, str]", said["ref"])["scheme"]
    if scheme not in LIGHT_SCHEMES or peers.listen is not None or peers.urls:
        return decode_job(line)
    tables = (Table(said["stores"]), Table(said["weights"]), peers)
    return _job(said, *cast("tuple[Stores, Weights, Peers]", tables))


def _job(
    said: Mapping[str, object], stores: "Stores", weights: "Weights", peers: "Peers"
) -> tuple[FetchJob, Mode]:
    job = FetchJob(
        model=cast("str", said["model"]),
        ref=ModelRef(**cast("dict[str, str]", said["ref"])),  # pyright: ignore[reportArgumentType]  # its own fields back
        stores=stores,
        weights=weights,
        cache_dir=cast("str", said["cache_dir"]),
        alone=_alone(said.get("alone")),
        tells_tensors=said.get("tells_tensors") is True,
        peers=peers,
        weight_hash=cast("str | None", said.get("weight_hash")),
    )
    return job, cast("Mode", said["mode"])


def _alone(said: object) -> Alone | None:
    match said:
        case {
            "checksums": str() | None as checksums,
            "is_verified": bool(is_verified),
            "is_all": bool(is_all),
        }:
            is_metadata = cast("dict[str, object]", said).get("is_metadata") is True
            return Alone(checksums, is_verified, is_all, is_metadata)
        case _:
            return None


def encode_limit(max_bytes_per_s: int | None) -> bytes:
    """What the agent may say while the child works: a new limit; ``None``: none."""
    return json.dumps({"limit": max_bytes_per_s}).encode() + b"\n"


def decode_limits(data: bytes) -> list[int | None]:
    """The limits among what the agent said, in order; what is none of them is passed over."""
    found: list[int | None] = []
    for line in data.splitlines():
        try:
            said: object = json.loads(line)
        except (ValueError, RecursionError):
            continue
        match _fields(said):
            case {"limit": int(limit)} if limit > 0:
                found.append(limit)
            case {"limit": None}:
                found.append(None)
            case _:
                continue
    return found


def encode_progress(phase: str, progress: Progress) -> bytes:
    """How far the child is."""
    return _line("progress", {**as_table(progress), "phase": phase})


def encode_tensors(tensors: Tensors) -> bytes:
    """What of a file can be read already."""
    return _line("tensors", as_table(tensors))


def encode_result(result: Result) -> bytes:
    """The child's last word when all went well."""
    return _line("result", as_table(result))


def encode_error(error: AgentError) -> bytes:
    """The child's last word when it failed: code, sentence and the error's own facts."""
    facts = {name: fact for name, fact in vars(error).items() if isinstance(fact, str | int)}
    return _line("error", {"code": error.code, "sentence": str(error), "facts": facts})


def decode(line: bytes) -> Progress | Tensors | Result | AgentError | None:
    """Read a line of the child; ``None`` if it is none that means something."""
    try:
        said: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kinds = _fields(said)
    if "progress" in kinds:
        return _progress(_fields(kinds["progress"]))
    if "tensors" in kinds:
        return _tensors(_fields(kinds["tensors"]))
    if "result" in kinds:
        return _result(_fields(kinds["result"]))
    return _error(_fields(kinds.get("error")))


def _fields(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _line(kind: str, body: Mapping[str, object]) -> bytes:
    return json.dumps({kind: body}).encode() + b"\n"


def _progress(found: Mapping[str, object]) -> Progress | None:
    match found:
        case {"bytes_done": int(done), "bytes_total": int(total), "bytes_resumed": int(resumed)}:
            rate = found.get("rate_bytes_s")
            phase, peers = found.get("phase"), found.get("bytes_peers")
            reused, eta_s = found.get("bytes_reused"), found.get("eta_s")
            return Progress(
                done,
                total,
                resumed,
                rate if isinstance(rate, float) else None,
                phase if isinstance(phase, str) else "",
                peers if isinstance(peers, int) else 0,
                reused if isinstance(reused, int) else 0,
                eta_s if isinstance(eta_s, float) else None,
            )
        case _:
            return None


def _tensors(found: Mapping[str, object]) -> Tensors | None:
    match found:
        case {"path": str(path), "names": list(), "is_forgotten": bool(is_forgotten)}:
            names = cast("list[object]", found["names"])
            return Tensors(path, tuple(str(name) for name in names), is_forgotten)
        case _:
            return None


def _result(found: Mapping[str, object]) -> Result | None:
    match found:
        case {"size_bytes": int(size_bytes), "files": int(files)}:
            weights, config = found.get("weights_bytes"), found.get("config")
            return Result(
                size_bytes,
                files,
                weights if isinstance(weights, int) else None,
                config if isinstance(config, str) else "",
            )
        case _:
            return None


def _error(found: Mapping[str, object]) -> AgentError | None:
    for kind in _leaves(WeightsError, ConfigError):
        if kind.code == found.get("code"):
            # the sentence was written where the facts were known; it is only carried here
            error = kind.__new__(kind)
            error.args = (str(found.get("sentence", "")),)
            vars(error).update(_fields(found.get("facts")))
            return error
    return None


def _leaves(*families: type[AgentError]) -> Iterator[type[AgentError]]:
    for family in families:
        yield from (kind for kind in family.__subclasses__() if "code" in vars(kind))
