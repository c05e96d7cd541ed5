"""A registry for development: builds in a folder, as a catalog and its manifests tell of them.

The folder is a bucket of the dev store, or any place that a web server shows: each build lies
below ``v2/``, under the prefix that its manifest names. Nothing is kept; whoever asks has the
folder looked through.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from ..weights.manifest import MANIFEST_NAME, prefix, weight_hash
from .answers import Json


class Library:
    """What lies in one folder.

    Args:
        folder: The bucket; ``None``: nothing lies anywhere.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = None if folder is None else Path(folder)

    def rows(self) -> list[Json]:
        """Every build, as the catalog lists it."""
        return [
            {
                "id": found["model_id"],
                "display_name": found["model_id"],
                "version": found["version"],
                "r2_prefix": found["r2_prefix"],
                "s3_name": found["r2_prefix"],
                "weight_hash": found["aggregate_sha256"],
                "aggregate_sha256": found["aggregate_sha256"],
                "total_size_bytes": found["total_size_bytes"],
                "size_gb": float(str(found["total_size_bytes"])) / 1e9,
                "file_count": found["file_count"],
                "capabilities": None,
                "active": True,
                "status": "active",
            }
            for found in self._manifests()
        ]

    def manifest(self, model: str) -> Json | None:
        """A build's manifest; the latest, if there are several."""
        found = [one for one in self._manifests() if one["model_id"] == model]
        return max(found, key=lambda one: str(one["created_at"]), default=None)

    def _manifests(self) -> Iterator[Json]:
        if self._folder is None:
            return
        for path in sorted(self._folder.glob(f"v2/*/*/{MANIFEST_NAME}")):
            yield cast("Json", json.loads(path.read_text()))


def publish(bucket: Path, model: str, version: str, weights: Path) -> Json:
    """Put a build into a bucket, as a registry would.

    Args:
        bucket: The bucket's folder.
        model: The build's id.
        version: Such as ``v1``.
        weights: The folder to copy from; no other folder may be in it.

    Returns:
        Its manifest.
    """
    at = bucket / prefix(model, version)
    at.mkdir(parents=True)
    files: list[Json] = []
    digests: list[tuple[str, bytes]] = []
    for path in sorted(weights.iterdir()):
        copied = Path(shutil.copyfile(path, at / path.name))
        digest = hashlib.sha256(copied.read_bytes()).digest()
        digests.append((path.name, digest))
        size_bytes = copied.stat().st_size
        files.append(
            {"path": path.name, "size_bytes": size_bytes, "sha256": digest.hex(), "role": ""}
        )
    manifest: Json = {
        "schema_version": 1,
        "model_id": model,
        "version": version,
        "r2_prefix": prefix(model, version),
        "aggregate_sha256": weight_hash(digests),
        "total_size_bytes": sum(path.stat().st_size for path in weights.iterdir()),
        "file_count": len(files),
        "files": files,
        "created_at": datetime.now(UTC).isoformat(),
    }
    (at / MANIFEST_NAME).write_text(json.dumps(manifest))
    return manifest
