"""An S3 of our own with one small model, and ``models fetch`` of it as a real process."""

import asyncio
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from poolhand.agent.dev.objectstore import ObjectStore, StoreOptions, serve

from .conftest import Cli

ENVIRON = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_REGION": "us-east-1",
}
REF = "s3://models/org/toy"


@asynccontextmanager
async def holding(root: Path, objects: Mapping[str, bytes]) -> AsyncGenerator[ObjectStore]:
    """A store that holds these objects under :data:`REF`."""
    for name, data in objects.items():
        path = root / "models" / "org" / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _ = path.write_bytes(data)
    secret = ENVIRON["AWS_SECRET_ACCESS_KEY"]
    async with await serve(StoreOptions(root=root, access_key="key", secret_key=secret)) as running:
        yield running


async def fetched(
    cli: Cli, store: ObjectStore, *args: str | Path
) -> subprocess.CompletedProcess[str]:
    """``models fetch`` of it, with these arguments."""
    environ = {**ENVIRON, "AWS_ENDPOINT_URL": store.url}
    return await asyncio.to_thread(cli, "models", "fetch", REF, *args, **environ)
