"""The downloaders that are compared: each as a command that brings one model to a folder.

Run as a program it is one of the clients that are libraries:

    python bench/weights_peers.py boto3|aiobotocore URL BUCKET FOLDER CA_FILE
"""

# Peers may be absent, and the libraries among them bring no types.
# pyright: basic, reportGeneralTypeIssues=false, reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from weights_rig import PREFIX

PEERS = Path(__file__).parent / ".peers" / "venv" / "bin"


def commands(
    url: str, bucket: str, files: Sequence[str], folder: Path, ca_file: Path
) -> dict[str, list[str]]:
    """The peers that are installed here, by name; what is not is left out."""
    source = f"s3://{bucket}/{PREFIX}/"
    is_tls = url.startswith("https")
    me = str(Path(__file__))
    found: dict[str, list[str]] = {}
    if s5cmd := _program("s5cmd"):
        flags = ["--no-verify-ssl"] if is_tls else []
        flags += ["--no-sign-request", "--endpoint-url", url, "--numworkers", "16"]
        found["s5cmd"] = [s5cmd, *flags, "cp", "-c", "16", "-p", "16", f"{source}*", f"{folder}/"]
    if curl := _program("curl"):
        pairs = [f"{url}/{bucket}/{PREFIX}/{name}" for name in files]
        wanted = [word for pair in pairs for word in ("-O", pair)]
        flags = ["-sSZ", "--parallel-immediate", "--cacert", str(ca_file)]
        found["curl"] = [curl, *flags, "--output-dir", str(folder), *wanted]
    if aws := _program("aws"):
        flags = ["--no-sign-request", "--endpoint-url", url, "--ca-bundle", str(ca_file)]
        found["aws"] = [aws, "s3", "cp", "--recursive", "--quiet", *flags, source, str(folder)]
    for library, python in (("boto3", str(PEERS / "python")), ("aiobotocore", sys.executable)):
        if Path(python).exists():
            found[library] = [python, me, library, url, bucket, str(folder), str(ca_file)]
    return found


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{PEERS}:{os.environ.get('PATH', '')}")


def _boto3(url: str, bucket: str, folder: str, ca_file: str) -> None:
    import boto3  # noqa: PLC0415  # a peer, if it is installed
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415
    from botocore import UNSIGNED  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    config = Config(signature_version=UNSIGNED, max_pool_connections=32)
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", config=config, verify=ca_file
    )
    transfer = TransferConfig(max_concurrency=16, multipart_chunksize=16 * 2**20)
    for entry in client.list_objects_v2(Bucket=bucket, Prefix=f"{PREFIX}/")["Contents"]:
        name = entry["Key"].rpartition("/")[2]
        client.download_file(bucket, entry["Key"], f"{folder}/{name}", Config=transfer)


def _aiobotocore(url: str, bucket: str, folder: str, ca_file: str) -> None:
    import aiofiles  # noqa: PLC0415  # only where it is compared
    from aiobotocore.config import AioConfig  # noqa: PLC0415
    from aiobotocore.session import get_session  # noqa: PLC0415
    from botocore import UNSIGNED  # noqa: PLC0415

    async def bring() -> None:
        config = AioConfig(signature_version=UNSIGNED, max_pool_connections=32)
        opening = get_session().create_client(
            "s3", endpoint_url=url, region_name="us-east-1", config=config, verify=ca_file
        )
        async with opening as client:
            room = asyncio.Semaphore(16)

            async def one(key: str) -> None:
                async with room:
                    answer = await client.get_object(Bucket=bucket, Key=key)
                    async with (
                        answer["Body"] as body,
                        aiofiles.open(f"{folder}/{key.rpartition('/')[2]}", "wb") as file,
                    ):
                        while piece := await body.read(2**20):
                            _ = await file.write(piece)

            found = await client.list_objects_v2(Bucket=bucket, Prefix=f"{PREFIX}/")
            _ = await asyncio.gather(*(one(entry["Key"]) for entry in found["Contents"]))

    asyncio.run(bring())


if __name__ == "__main__":
    LIBRARIES: dict[str, Callable[[str, str, str, str], None]] = {
        "boto3": _boto3,
        "aiobotocore": _aiobotocore,
    }
    LIBRARIES[sys.argv[1]](*sys.argv[2:])
