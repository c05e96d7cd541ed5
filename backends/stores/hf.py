"""Hugging Face's hub, or a mirror that speaks like it.

A revision is turned into a commit first, so that every later question is about bytes that
cannot change. Large files come with their sha256; the hub only points to where their bytes
are. A build that huggingface_hub has downloaded here already, whole, is read from its cache.

Source:
    Hub API: ``/api/models/{repo}/revision/{rev}`` and ``/tree/{rev}``, pages by the ``Link``
    header; ``/{repo}/resolve/{rev}/{path}``; the environment and cache layout of
    huggingface_hub ("Environment variables", "Understand caching").
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast
from urllib.parse import quote, urljoin

from ...config.foreign_json import readable
from ...config.gguf_names import SHARD
from ...config.refs import ModelRef
from ...config.stores import Stores
from .addresses import Guard, named
from .base import Location, RemoteFile
from .errors import ModelMissing, StoreDenied, StoreUnreachable, WeightsError, WeightsUnsafe
from .http_ranges import Answer, HttpClient, refusal
from .local import LocalStore
from .paths import MOST_OBJECTS, Choose, everything, metadata, of_one, safe_path, wanted
from .tokens import bearer, first, from_file
from .web_files import NONE, WebFiles

ENDPOINT = "https://huggingface.co"
_MOST_PAGES = 200
_MOST_PAGE_BYTES = 16 * 2**20
_COMMIT = re.compile(r"[0-9a-f]{40}")
_GIT_BLOB = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|([A-Za-z0-9_]+))", re.ASCII)
"""Source: Python's ``os.path.expandvars``."""

_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')
_OK = 200
_TRUE = frozenset({"1", "on", "yes", "true"})


class HfStore:
    """One repository at one revision as a :class:`~poolhand.backends.stores.base.Store`.

    Attributes:
        notes: What a person may want to know about the access, one sentence each.
    """

    def __init__(self, ref: ModelRef, stores: Stores, environ: Mapping[str, str]) -> None:
        config = stores.hf
        chosen = config.endpoint or environ.get("HF_ENDPOINT", "").strip()
        self._endpoint = (chosen or ENDPOINT).rstrip("/")
        self._repo = f"{ref.container}/{ref.path}"
        self._revision = ref.revision or "main"
        self._model = str(ref)
        self._one = ref.file
        self._config = config
        self._environ = environ
        self.name = f"{self._endpoint}/{self._repo}"
        self.notes: tuple[str, ...] = ()
        own = [named(self._endpoint)] if chosen else []
        guard = Guard(self.name, [*stores.trusted_hosts, *own])
        self._client = HttpClient(self.name, guard, ca_file=config.ca_file)
        self._files = WebFiles(
            self._client,
            model=self._model,
            home=self._endpoint,
            auth=self._auth,
            denied=_denied,
        )
        self._choose: Choose = wanted
        self._local: LocalStore | None = None
        self._ignores_cache = config.ignore_local_cache

    def take_all(self) -> None:
        """Leave nothing out of ``files``."""
        self._choose = everything

    def take_metadata(self) -> None:
        """Leave the weights out of ``files``."""
        self._choose = metadata

    async def files(self) -> tuple[RemoteFile, ...]:
        """List the repository; see the protocol for what is raised."""
        if self._is_offline:
            return await self._offline()
        try:
            commit = await asyncio.to_thread(self._commit)
            listed = await asyncio.to_thread(self._tree, commit)
        except StoreUnreachable as away:  # who is only busy is waited for
            known = None if away.is_busy or self._ignores_cache else await self._kept()
            if known is None:
                raise
            self.notes = (*self.notes, f"the hub could not be asked: {away}")
            return known
        kept = self._choose(of_one(listed, self._one, model=self._model), model=self._model)
        if not kept:
            raise ModelMissing(model=self._model, reason="the repository holds no file of a model")
        here = None if self._ignores_cache else await self._cached(commit, kept)
        return here or await self._files.probed(kept)

    def distrust(self) -> bool:
        """Take nothing from huggingface_hub's cache any more; see the protocol."""
        was_local = self._local is not None and not self._is_offline
        self._ignores_cache |= was_local
        if was_local:
            self._local, self.notes = None, ("huggingface_hub's cache is damaged",)
        return was_local

    async def read(self, file: RemoteFile, *, start: int = 0, stop: int | None = None) -> bytes:
        """Read a part of a small file; see the protocol for what is raised."""
        source = self._local or self._files
        return await source.read(file, start=start, stop=stop)

    def location(self, file: RemoteFile) -> Location:
        """Where to read the file now; see the protocol for what is raised."""
        return (self._local or self._files).location(file)

    async def refresh(self) -> None:
        """Read the token again, and ask for every address again."""
        self._files.forget()

    async def close(self) -> None:
        """Give back connections; safe to call twice."""
        self._client.close()

    @property
    def _is_offline(self) -> bool:
        said = first(self._environ, ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
        return said.lower() in _TRUE

    # ── the hub ───────────────────────────────────────────────────────────────────────

    def _auth(self) -> Mapping[str, str]:
        if self._config.token_file is not None:
            path = Path(self._config.token_file)
            return bearer(from_file(path, store=self.name, is_needed=True), store=self.name)
        if first(self._environ, ("HF_HUB_DISABLE_IMPLICIT_TOKEN",)).lower() in _TRUE:
            return NONE
        token = first(self._environ, ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
        if not token:
            path = _folder(self._environ, "HF_TOKEN_PATH") or _home(self._environ) / "token"
            token = from_file(path, store=self.name, is_needed=False)
        return bearer(token, store=self.name)

    def _commit(self) -> str:
        if _COMMIT.fullmatch(self._revision):
            return self._revision
        url = f"{self._endpoint}/api/models/{self._repo}/revision/{quote(self._revision, safe='')}"
        answer = self._asked(url)
        found = readable(answer.body)
        sha: object = cast("dict[str, object]", found).get("sha") if isinstance(found, dict) else ""
        if not isinstance(sha, str) or not _COMMIT.fullmatch(sha):
            raise StoreUnreachable(store=self.name, reason="it does not tell the commit")
        return sha

    def _tree(self, commit: str) -> list[RemoteFile]:
        url = f"{self._endpoint}/api/models/{self._repo}/tree/{commit}?recursive=true"
        files: list[RemoteFile] = []
        for _ in range(_MOST_PAGES):
            answer = self._asked(url)
            page = readable(answer.body)
            if not isinstance(page, list):
                raise StoreUnreachable(store=self.name, reason="its listing makes no sense")
            files += [
                file
                for entry in cast("list[object]", page)
                if (file := self._file(entry, commit)) is not None
            ]
            following = _NEXT.search(answer.headers.get("link", ""))
            if following is None:
                return files
            onward = urljoin(url, following[1])
            if named(onward) != named(url):
                raise StoreUnreachable(store=self.name, reason="its listing goes on elsewhere")
            if len(files) > MOST_OBJECTS or onward == url:
                break
            url = onward
        reason = f"more than {MOST_OBJECTS} files lie in it, or its listing has no end"
        raise WeightsUnsafe(model=self._model, reason=reason)

    def _file(self, entry: object, commit: str) -> RemoteFile | None:
        match entry:
            case {"type": "directory"}:
                return None
            case {"type": "file", "path": str(path), "size": int(size)} if size >= 0:
                pass
            case _:
                raise StoreUnreachable(store=self.name, reason="its listing makes no sense")
        try:
            url = f"{self._endpoint}/{self._repo}/resolve/{commit}/{quote(safe_path(path), '/~')}"
        except ValueError as error:
            raise WeightsUnsafe(model=self._model, reason=f"the path {error}") from None
        large = cast("dict[str, object]", entry).get("lfs")
        match large:
            case {"oid": str(oid)} if _SHA256.fullmatch(oid):
                return RemoteFile(path, size, None, url, oid)
            case _:
                oid = cast("dict[str, object]", entry).get("oid")
                is_known = isinstance(oid, str) and _GIT_BLOB.fullmatch(oid) is not None
                return RemoteFile(path, size, None, url, told=f"git:{oid}" if is_known else None)

    def _asked(self, url: str) -> Answer:
        auth = self._auth()
        answer = self._client.ask(url, auth=auth, most_bytes=_MOST_PAGE_BYTES)
        if answer.status != _OK:
            raise self._refused(answer, is_known=bool(auth))
        return answer

    def _refused(self, answer: Answer, *, is_known: bool) -> WeightsError:
        code = answer.headers.get("x-error-code", "")
        if code == "RevisionNotFound":
            reason = f"it has no revision {self._revision!r}"
            return ModelMissing(model=self._model, reason=reason)
        if reason := _denied(answer):
            return StoreDenied(store=self.name, reason=reason)
        # the hub hides what it has from strangers: 401 may as well mean that there is nothing
        denied = "the token may not read it" if is_known else "there is none, or it wants a token"
        return refusal(answer, store=self.name, model=self._model, denied=denied)

    # ── huggingface_hub's cache ───────────────────────────────────────────────────────

    async def _cached(
        self, commit: str, kept: tuple[RemoteFile, ...]
    ) -> tuple[RemoteFile, ...] | None:
        """The build from the local cache, if each of its files is there in full."""
        folder = self._repository() / "snapshots" / commit
        if not await asyncio.to_thread(_holds, folder, kept):
            return None
        promised = {file.path: file for file in kept}
        found = await self._from(folder)
        return tuple(
            replace(file, sha256=known.sha256, told=known.told)
            for file in found
            if (known := promised.get(file.path)) is not None
        )

    async def _offline(self) -> tuple[RemoteFile, ...]:
        found = await self._kept()
        if found is None:
            reason = "HF_HUB_OFFLINE is set, and the local cache does not hold it whole"
            raise ModelMissing(model=self._model, reason=reason)
        return found

    async def _kept(self) -> tuple[RemoteFile, ...] | None:
        """What the local cache alone knows as this revision, if it holds all of it."""
        pointer = self._repository() / "refs" / self._revision
        commit = self._revision
        if not _COMMIT.fullmatch(commit):
            commit = await asyncio.to_thread(
                lambda: from_file(pointer, store=self.name, is_needed=False)
            )
        folder = self._repository() / "snapshots" / commit
        if not _COMMIT.fullmatch(commit) or not await asyncio.to_thread(_is_whole, folder):
            return None
        found = await self._from(folder)
        return await asyncio.to_thread(lambda: tuple(map(_named_by_blob, found)))

    async def _from(self, folder: Path) -> tuple[RemoteFile, ...]:
        local = LocalStore(ModelRef("file", "", str(folder), file=self._one))
        if self._choose is everything:
            local.take_all()
        elif self._choose is metadata:
            local.take_metadata()
        found = await local.files()
        self._local = local
        self.notes = (f"read from huggingface_hub's cache: {folder}",)
        return found

    def _repository(self) -> Path:
        cache = _folder(self._environ, "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
        cache = cache or _home(self._environ) / "hub"
        return cache / f"models--{self._repo.replace('/', '--')}"


def _denied(answer: Answer) -> str:
    """What a refusal means that the hub has a word for; empty: it has none."""
    if answer.headers.get("x-error-code") != "GatedRepo":
        return ""
    return "it is gated: accept its conditions on the hub, with the token's account"


def _home(environ: Mapping[str, str]) -> Path:
    caches = _folder(environ, "XDG_CACHE_HOME") or Path.home() / ".cache"
    return _folder(environ, "HF_HOME") or caches / "huggingface"


def _folder(environ: Mapping[str, str], *names: str) -> Path | None:
    """What the first variable of these names, read as huggingface_hub reads it."""
    text = first(environ, names)
    whole = _VARIABLE.sub(lambda found: environ.get(found[1] or found[2], found[0]), text)
    return Path(whole).expanduser() if text else None


def _holds(folder: Path, files: tuple[RemoteFile, ...]) -> bool:
    try:
        return all((folder / file.path).stat().st_size == file.size_bytes for file in files)
    except OSError:
        return False


def _named_by_blob(file: RemoteFile) -> RemoteFile:
    """A file of a snapshot, with the digest by which huggingface_hub has named its blob."""
    blob = Path(file.key).resolve()
    if blob.parent.name != "blobs":
        return file
    if _SHA256.fullmatch(blob.name):
        return replace(file, sha256=blob.name)
    return replace(file, told=f"git:{blob.name}") if _GIT_BLOB.fullmatch(blob.name) else file


def _is_whole(folder: Path) -> bool:
    """Whether a snapshot has its configuration and every shard that its index names.

    A GGUF file is a model by itself; of its shards each says how many there are.
    """
    index = folder / "model.safetensors.index.json"
    try:
        if not any(folder.glob("*.safetensors*")) and (found := sorted(folder.glob("*.gguf"))):
            shards = [int(named[2]) for one in found if (named := SHARD.search(one.name))]
            return not shards or len(shards) == max(shards)
        if not index.exists():
            return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
        found = readable(index.read_bytes())
    except OSError:
        return False
    names = cast("dict[str, object]", found).get("weight_map") if isinstance(found, dict) else None
    if not isinstance(names, dict) or not (folder / "config.json").is_file():
        return False
    shards = {str(name) for name in cast("dict[str, object]", names).values()}
    return bool(shards) and all((folder / name).is_file() for name in shards)
