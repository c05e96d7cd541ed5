"""Which of a build's objects may become files here, and under which names.

Names come from strangers. A name that could leave the model's folder, or that two file systems
would read differently, refuses the whole build; so does a build whose weights come only as
pickles, for opening one runs code. What is merely of no use is left where it is: only kinds
on the list are ever downloaded, and code is not on it.
"""

from collections.abc import Collection, Iterable
from functools import partial
from typing import Protocol

from ...config.gguf_names import SHARD, is_projector
from ...config.patterns import pattern
from .base import RemoteFile
from .errors import ModelMissing, WeightsUnsafe

PATH_BYTES = 1024
"""Longest relative path. Source: the limit of an S3 key."""

SEGMENT_BYTES = 255
"""Longest file name. Source: NAME_MAX of ext4, XFS and APFS."""

_CONTROLS = pattern("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
"""Source: Unicode's general categories Cc, Cs, Zl and Zp."""

MOST_OBJECTS = 20_000
"""More under one prefix is no model: the prefix is wrong, or somebody means harm."""

MOST_BYTES = 2**50
"""A longer file is a slip of the store's. S3 takes 50 TB, ext4 and XFS files 16 TiB and 8 EiB."""

WANTED = frozenset({"safetensors", "gguf", "json", "jinja", "model", "txt", "tiktoken"})
"""Suffixes that are downloaded: weights, configuration, chat templates, tokenizers."""

TENSORS = frozenset({"safetensors", "gguf"})
"""Suffixes of weights."""

PICKLES = frozenset({"bin", "pt", "pth", "pkl", "pickle", "ckpt"})
"""Suffixes of weights that run code when they are opened."""


def safe_path(text: str) -> str:
    """Check that a relative path stays under whatever folder it is joined to.

    Args:
        text: ``/`` between segments.

    Returns:
        ``text``, unchanged.

    Raises:
        ValueError: It would leave its folder, or is no name for a file; the message says
            why without repeating it raw.
    """
    problem = _problem(text)
    if problem:
        message = f"{text[:80]!a} {problem}"
        raise ValueError(message)
    return text


class Choose(Protocol):
    """Takes all that was listed, gives what is to be had of it."""

    def __call__(self, files: Iterable[RemoteFile], *, model: str) -> tuple[RemoteFile, ...]:
        """See :func:`wanted`, :func:`metadata` and :func:`everything`."""
        ...


def wanted(
    files: Iterable[RemoteFile], *, model: str, metadata_only: bool = False
) -> tuple[RemoteFile, ...]:
    """Choose what is worth downloading.

    Args:
        files: All that was listed, paths already checked.
        model: For the message.
        metadata_only: Leave the weights out: configuration, index, tokenizer and templates stay.

    Returns:
        What is to be downloaded, sorted by path; hidden files, code and other kinds left out.

    Raises:
        ModelMissing: The weights are there as several GGUF models, of which one is meant.
        WeightsUnsafe: The weights are there as pickles only, a file is said to be longer than any
            is, or two names would meet in one file on a file system that ignores case.
    """
    listed = [file for file in files if not _is_hidden(file.path)]
    _refuse_endless(listed, model)
    kept = [file for file in listed if _suffix(file.path) in WANTED]
    kept.sort(key=lambda file: file.path)
    spare = spares(file.path for file in kept)
    kept = [file for file in kept if file.path not in spare]
    has_tensors = any(is_weights(file.path) for file in kept)
    if not has_tensors:
        _refuse_pickles(listed, model)
    if not metadata_only:
        _refuse_several_models(kept, model)
    _refuse_meeting_names(kept, model)
    return tuple(file for file in kept if not (metadata_only and is_weights(file.path)))


metadata: Choose = partial(wanted, metadata_only=True)
"""Choose what tells about a model, and none of its weights."""


def everything(files: Iterable[RemoteFile], *, model: str) -> tuple[RemoteFile, ...]:
    """Choose all that was listed, for whoever wants a copy and not a model to load.

    Args:
        files: All that was listed, paths already checked.
        model: For the message.

    Raises:
        WeightsUnsafe: Two names would meet in one file on a file system that ignores case, or a
            file is said to be longer than any is.
    """
    kept = sorted(files, key=lambda file: file.path)
    _refuse_endless(kept, model)
    _refuse_meeting_names(kept, model)
    return tuple(kept)


def under_prefix(
    files: Collection[RemoteFile], choose: Choose, *, model: str, bucket: str, prefix: str
) -> tuple[RemoteFile, ...]:
    """Choose of what lies under a prefix of a bucket.

    Args:
        files: All that was listed, paths already checked.
        choose: What is to be had of it.
        model: For the message.
        bucket: Likewise.
        prefix: Likewise.

    Raises:
        ModelMissing: Nothing of a model lies there.
        WeightsUnsafe: As ``choose`` says.
    """
    if not files:
        reason = f"nothing lies under '{prefix}' in bucket '{bucket}'"
        raise ModelMissing(model=model, reason=reason)
    kept = choose(files, model=model)
    if not kept:
        raise ModelMissing(model=model, reason=f"no file of a model lies under '{prefix}'")
    return kept


def of_one(files: Iterable[RemoteFile], one: str, *, model: str) -> Iterable[RemoteFile]:
    """Leave out all weights but those of one GGUF model.

    Args:
        files: All that was listed.
        one: The model's file, or its first shard; empty: nothing is left out.
        model: For the message.

    Returns:
        The rest; of what turns pictures into tokens only if there is one, for nobody says which.

    Raises:
        ModelMissing: There is no such file.
    """
    if not one:
        return files
    listed, meant = list(files), SHARD.sub("", one)
    projectors = [file for file in listed if is_projector(file.path)]
    kept = [
        file
        for file in listed
        if not is_weights(file.path) or SHARD.sub("", file.path) == meant or [file] == projectors
    ]
    if all(file.path != one for file in kept):
        names = sorted(file.path for file in listed if _suffix(file.path) == "gguf")
        such = f", such as {names[0]!a}" if names else ""
        reason = f"it has no {one!a}, but {len(names)} GGUF files{such}"
        raise ModelMissing(model=model, reason=reason)
    return kept


def is_wanted(path: str) -> bool:
    """Whether a file of this name is of a kind that is downloaded."""
    return _suffix(path) in WANTED and not _is_hidden(path)


def spares(paths: Iterable[str]) -> frozenset[str]:
    """GGUF files beside safetensors: the same weights once more, for another engine."""
    known = list(paths)
    if not any(_suffix(path) == "safetensors" for path in known):
        return frozenset()
    return frozenset(path for path in known if _suffix(path) == "gguf")


def is_weights(path: str) -> bool:
    """Whether a file of this name holds tensors."""
    return _suffix(path) in TENSORS


def _problem(text: str) -> str:
    if not text:
        return "is empty"
    if not text.isprintable() and _CONTROLS.search(text):
        return "holds a control character"
    if "\\" in text:
        return "holds a backslash"
    if text.startswith("/"):
        return "is absolute"
    raw = text.encode()
    segments = raw.split(b"/")
    if not {b"", b".", b".."}.isdisjoint(segments):
        return "has an empty, '.' or '..' segment"
    if len(raw) > PATH_BYTES:
        return f"is longer than {PATH_BYTES} bytes"
    if max(map(len, segments)) > SEGMENT_BYTES:
        return f"has a segment longer than {SEGMENT_BYTES} bytes"
    return ""


def _refuse_pickles(files: Iterable[RemoteFile], model: str) -> None:
    pickles = sorted(file.path for file in files if _suffix(file.path) in PICKLES)
    if pickles:
        reason = f"its weights are pickles only, such as {pickles[0]!a}"
        raise WeightsUnsafe(model=model, reason=reason)


def _refuse_several_models(files: list[RemoteFile], model: str) -> None:
    """A repository of GGUF files often has one model in a dozen precisions."""
    models = sorted(
        {SHARD.sub(".gguf", file.path) for file in files if _suffix(file.path) == "gguf"}
    )
    models = [path for path in models if not is_projector(path)]
    if len(models) > 1:
        reason = (
            f"it holds {len(models)} GGUF models, such as {models[0]!a} and {models[1]!a}: "
            "keep the one that is meant under a prefix of its own, or name it as hf://org/name/FILE"
        )
        raise ModelMissing(model=model, reason=reason)


def _refuse_endless(files: Iterable[RemoteFile], model: str) -> None:
    for file in files:
        if file.size_bytes > MOST_BYTES:
            reason = f"{file.path!a} is said to be longer than {MOST_BYTES >> 40} TiB"
            raise WeightsUnsafe(model=model, reason=reason)


def _refuse_meeting_names(files: list[RemoteFile], model: str) -> None:
    lower = [file.path for file in files if "/" in file.path]
    folders = {_folded(path[:at]) for path in lower for at in _slashes(path)}
    seen: dict[str, str] = {}
    for file in files:
        folded = _folded(file.path)
        if folded in folders:
            reason = f"{file.path!a} is both a file and a folder"
            raise WeightsUnsafe(model=model, reason=reason)
        if folded in seen:
            reason = f"{seen[folded]!a} and {file.path!a} are one file where case is ignored"
            if seen[folded] == file.path:  # which of two versions the answers are of, nobody knows
                reason = f"{file.path!a} is listed more than once"
            raise WeightsUnsafe(model=model, reason=reason)
        seen[folded] = file.path


def _slashes(path: str) -> list[int]:
    return [at for at, letter in enumerate(path) if letter == "/"]


def _folded(path: str) -> str:
    # how a case-insensitive, normalising file system such as APFS compares names
    if path.isascii():
        return path.lower()
    import unicodedata  # noqa: PLC0415  # few names are anything but ASCII

    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name else ""


def _is_hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path
