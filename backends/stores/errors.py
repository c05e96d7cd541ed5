"""What can go wrong between a store and a verified folder.

Raised by the stores and by the weights room; see ``config/errors.py`` for the rules.

* WeightsError: bytes did not become a verified folder
    * ModelMissing          ``model_missing``
    * StoreUnreachable      ``store_unreachable``
    * StoreDenied           ``store_denied``
    * StoreUnsupported      ``store_unsupported``
    * StoreUnsafe           ``store_unsafe``
    * WeightsChanged        ``weights_changed``
    * WeightsCorrupt        ``weights_corrupt``
    * WeightsUnverified     ``weights_unverified``
    * WeightsUnsafe         ``weights_unsafe``
    * DiskFull              ``disk_full``
    * DiskFailed            ``disk_failed``
    * CacheFull             ``cache_full``
    * CacheBusy             ``cache_busy``
    * FetchDied             ``fetch_died``
"""

from ...config.errors import AgentError, Retry
from ...config.sizes import size
from ...config.words import quoted


class WeightsError(AgentError):
    """Bytes did not become a verified folder."""

    retry = Retry.LATER
    status = 502


class ModelMissing(WeightsError):
    """There is nothing at the place where the model should lie."""

    code = "model_missing"
    retry = Retry.OPERATOR
    status = 404
    remedy = "Check the model's ref: bucket, prefix and endpoint."

    def __init__(self, *, model: str, reason: str) -> None:
        self.model = model
        super().__init__(f"model {quoted(model)} is not there: {reason}")

    @property
    def load_text(self) -> str:
        """The words of a permanent failure: a store without the model will not grow one."""
        return f"model {quoted(self.model)} not found in local store"


class StoreUnreachable(WeightsError):
    """A store does not answer, or not sensibly.

    Attributes:
        is_busy: Whether it said itself that it may well do so later.
    """

    code = "store_unreachable"
    remedy = "Check the store's endpoint and the network; the next attempt goes on from here."

    def __init__(self, *, store: str, reason: str, is_busy: bool = False) -> None:
        self.store = store
        self.is_busy = is_busy
        super().__init__(f"store {store}: {reason}")


class StoreDenied(WeightsError):
    """A store answers that this node may not read."""

    code = "store_denied"
    retry = Retry.OPERATOR
    remedy = "Check the store's credentials and the bucket's policy."

    def __init__(self, *, store: str, reason: str) -> None:
        self.store = store
        super().__init__(f"store {store} denies access: {reason}")


class StoreUnsupported(WeightsError):
    """A store of this kind cannot be read by this installation.

    Attributes:
        needs: What to install or to configure.
    """

    code = "store_unsupported"
    retry = Retry.OPERATOR
    status = 501
    remedy = "Install the extra that is named, or keep the model in a store of another kind."

    def __init__(self, *, scheme: str, needs: str) -> None:
        self.needs = needs
        super().__init__(f"cannot read {scheme}:// references: {needs}")


class StoreUnsafe(WeightsError):
    """A store would lead this node to an address that it must not touch unasked."""

    code = "store_unsafe"
    retry = Retry.OPERATOR
    remedy = "If you trust that host, name it in stores.trusted_hosts; else look for who sent it."

    def __init__(self, *, store: str, reason: str) -> None:
        self.store = store
        super().__init__(f"store {store} is refused: {reason}")


class WeightsChanged(WeightsError):
    """An object was replaced in the store while it was being read."""

    code = "weights_changed"
    remedy = "Nothing, once: the next attempt reads the new version. Upload builds as a whole."

    def __init__(self, *, model: str, file: str) -> None:
        self.model = model
        super().__init__(f"model {quoted(model)}: {file} changed in the store while it was read")


class WeightsCorrupt(WeightsError):
    """Bytes arrived that are not the bytes that were promised."""

    code = "weights_corrupt"
    retry = Retry.OPERATOR
    remedy = "Upload the file again, or mend the manifest; the bad file was set aside."

    def __init__(self, *, model: str, file: str, reason: str) -> None:
        self.model = model
        self.file = file
        self.reason = reason
        super().__init__(f"model {quoted(model)}: {file} is damaged: {reason}")

    @property
    def load_text(self) -> str:
        """The words of a permanent failure: these bytes will not mend themselves."""
        return (
            f"model {quoted(self.model)} not found in local store: "
            f"verification failed ({self.reason} in {self.file})"
        )


class WeightsUnverified(WeightsError):
    """Everything arrived, and nothing says whether it is what was uploaded.

    Only ``models fetch`` says so: a load takes such a build, unless ``weights.require_manifest``.
    """

    code = "weights_unverified"
    retry = Retry.OPERATOR
    remedy = (
        "Give --checksums, or put a manifest.json beside the files; --no-verify says that bytes "
        "nobody vouches for are enough."
    )

    def __init__(self, *, model: str, file: str, others: int = 0) -> None:
        self.model = model
        self.file = file
        self.others = others
        more = f" and of {others} more" if others else ""
        super().__init__(
            f"model {quoted(model)} is here whole but not verified: "
            f"nobody promised a digest of {file}{more}"
        )


class WeightsUnsafe(WeightsError):
    """A build holds a name or a file type that this node will not touch."""

    code = "weights_unsafe"
    retry = Retry.OPERATOR
    remedy = "Publish safetensors, each file once, with plain relative names and no code."

    def __init__(self, *, model: str, reason: str) -> None:
        self.model = model
        super().__init__(f"model {quoted(model)} is refused: {reason}")

    @property
    def load_text(self) -> str:
        """The words of a permanent failure."""
        return f"model {quoted(self.model)} not found in local store: refused as unsafe"


class DiskFull(WeightsError):
    """The cache disk has no room for the model."""

    code = "disk_full"
    retry = Retry.OPERATOR
    status = 507
    remedy = "Free disk space, or move cache.dir to a larger disk."

    def __init__(self, *, needs_bytes: int | None, free_bytes: int) -> None:
        needed = "" if needs_bytes is None else f", {size(needs_bytes)} needed"
        super().__init__(f"disk full: {size(free_bytes)} free{needed}")


class DiskFailed(WeightsError):
    """The cache disk does not do as it is told: broken, read-only or not ours."""

    code = "disk_failed"
    retry = Retry.OPERATOR
    status = 500
    remedy = "Look at the disk of cache.dir, its mount and who owns it; or move cache.dir."

    def __init__(self, *, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"the cache disk fails: {path}: {reason}")


class CacheFull(WeightsError):
    """The cache's bounds leave no room for the model, whichever unused builds leave."""

    code = "cache_full"
    retry = Retry.OPERATOR
    status = 507
    remedy = (
        "Drop builds with `poolhand models rm`, or change cache.quota_gib, cache.reserve_gib "
        "or cache.reserve_ratio."
    )

    def __init__(
        self, *, needs_bytes: int, free_bytes: int, lacking_bytes: int, bound: str, bound_bytes: int
    ) -> None:
        super().__init__(
            f"{size(needs_bytes)} needed, {size(free_bytes)} free: "
            f"{size(lacking_bytes)} beyond the cache's {bound} of {size(bound_bytes)}"
        )


class CacheBusy(WeightsError):
    """Another process is writing the same model folder."""

    code = "cache_busy"
    remedy = "Give each agent on this machine a cache.dir of its own, or wait for the other."

    def __init__(self, *, model: str) -> None:
        super().__init__(f"model {quoted(model)} is being fetched by another process")


class FetchDied(WeightsError):
    """The fetching process ended without a word."""

    code = "fetch_died"
    remedy = "Nothing, once: the next attempt resumes. If it recurs, look at the log's tail."

    def __init__(self, *, model: str, exit_code: int, tail: str = "") -> None:
        self.tail = tail
        super().__init__(f"fetching {quoted(model)} ended with exit code {exit_code}")
