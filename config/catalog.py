"""Models that a coordinator's public catalog lists: the table ``[catalog]``.

Nothing is taken from there unless the operator names it here, and ``pools.allowed`` stands
before whatever is named.
"""

from fnmatch import fnmatchcase
from typing import Annotated
from urllib.parse import urlsplit

from .errors import RefInvalid
from .refs import ModelRef
from .rules import Bound, checks
from .section import Section

Glob = Annotated[str, Bound(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9*?\[][^\s]*$")]
Place = Annotated[str, Bound(max_length=256)]


class Catalog(Section):
    """``[catalog]``: builds that are offered although no ``[[models]]`` names them.

    Attributes:
        builds: Ids or globs over ids; those that the catalog lists are offered like
            ``[[models]]``, with ``engine = "auto"``. Empty: the catalog is never asked.
        store: Where the objects lie: ``s3://bucket[/prefix]`` or ``https://host[/path]``; the
            catalog says under which prefix. Unset: with whoever lists them.
        url: Who lists them, as ``https://host``; unset: the coordinator's own host.
        refresh_s: The catalog is read so often, and sooner when a model is named that nobody
            knows yet.
    """

    builds: tuple[Glob, ...] = ()
    store: Place | None = None
    url: Place | None = None
    refresh_s: Annotated[float, Bound(ge=1, le=86400)] = 600.0

    @checks("store")
    @staticmethod
    def _is_a_place(store: str | None) -> str | None:
        if store is None:
            return None
        try:
            _ = ModelRef.parse(_under(store, "v2/m/v"))
        except RefInvalid as error:
            raise ValueError(error.reason) from error
        if not store.lower().startswith(("s3://", "https://", "http://")):
            problem = "must begin with s3:// or https://"
            raise ValueError(problem)
        return store.rstrip("/")

    @checks("url")
    @staticmethod
    def _is_a_host(url: str | None) -> str | None:
        parts = urlsplit(url or "https://host")
        if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username:
            problem = "must be https://host[:port]"
            raise ValueError(problem)
        if parts.path.strip("/") or parts.query or parts.fragment:
            problem = "must be https://host[:port], without a path"
            raise ValueError(problem)
        return url and url.rstrip("/")

    def at(self, home: str) -> "Catalog":
        """The same with nothing unset: where the catalog is asked, and where objects lie.

        Args:
            home: The coordinator's own host, as a URL.
        """
        url = self.url or home
        return self.model_copy(update={"url": url, "store": self.store or url})

    def names(self, model: str) -> bool:
        """Whether the operator lets this build be taken from the catalog."""
        return any(fnmatchcase(model, glob) for glob in self.builds)

    def ref(self, prefix: str) -> str:
        """Where a build lies, given the prefix that its registry keeps it under.

        Raises:
            RefInvalid: The prefix could leave its place, or there is no store.
        """
        if self.store is None:
            raise RefInvalid(ref=prefix, reason="catalog.store names no place")
        return str(ModelRef.parse(_under(self.store, prefix)))

    def holds(self, ref: str) -> bool:
        """Whether a build's reference lies in the store."""
        if self.store is None:
            return False
        place = self.ref("v2").removesuffix("/manifest.json").removesuffix("v2")
        return ref.startswith(place)


def _under(store: str, prefix: str) -> str:
    is_web = store.lower().startswith(("https://", "http://"))
    return f"{store.rstrip('/')}/{prefix}{'/manifest.json' if is_web else ''}"
