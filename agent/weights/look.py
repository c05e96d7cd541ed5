"""What a model will turn out to be, told before its bytes are fetched.

A build's configuration and the headers of its weights are a few kilobytes at known places. They
say how much memory the tensors will take, whether the files are what their names say, and
whether the build wants code of its own to be run: no reason to bring gigabytes first.
"""

import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ...backends.stores.base import RemoteFile, Store
from ...backends.stores.errors import WeightsCorrupt
from .headers import PREFIX_BYTES, HeaderInvalid, check_header
from .lines import Result
from .parts import Target
from .plane import Plane

MOST_CONFIG_BYTES = 2**17
"""A longer config.json is not told here; it is judged with the build as a whole."""

_FIRST_BYTES = 2**16
_MOST_HEADER_BYTES = 2**22
_MOST_FILES = 256
_AT_ONCE = 8


def look(plane: Plane, store: Store, targets: Sequence[Target], *, model: str) -> Result:
    """Read what tells about a model, and nothing else.

    Args:
        plane: How the store is asked.
        store: Where it lies.
        targets: Its files, as listed.
        model: For messages.

    Returns:
        Its sizes; tensors whose headers are too long or too many count with their whole file.

    Raises:
        WeightsCorrupt: A header does not hold together.
        WeightsError: The store could not be read.
    """
    remotes = [target.remote for target in targets if not target.is_plain]
    tensors = [one for one in remotes if one.path.endswith((".safetensors", ".gguf"))]
    headed = [one for one in tensors if one.path.endswith(".safetensors")][:_MOST_FILES]

    def measured(file: RemoteFile) -> int:
        return plane.ask(lambda: _tensor_bytes(store, file, model=model))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        sizes = list(pool.map(measured, headed))
    known = {file.path for file in headed}
    rest = sum(file.size_bytes for file in tensors if file.path not in known)
    return Result(
        sum(target.remote.size_bytes for target in targets),
        len(targets),
        weights_bytes=rest + sum(sizes),
        config=plane.ask(lambda: _config(store, remotes)),
    )


async def _tensor_bytes(store: Store, file: RemoteFile, *, model: str) -> int:
    head = await store.read(file, stop=min(_FIRST_BYTES, file.size_bytes))
    needs = PREFIX_BYTES + int.from_bytes(head[:PREFIX_BYTES], "little")
    if len(head) < needs <= min(_MOST_HEADER_BYTES, file.size_bytes):
        head += await store.read(file, start=len(head), stop=needs)
    elif _MOST_HEADER_BYTES < needs <= file.size_bytes:
        return file.size_bytes
    try:
        return check_header(io.BytesIO(head), size_bytes=file.size_bytes)
    except HeaderInvalid as error:
        reason = f"safetensors: {error}"
        raise WeightsCorrupt(model=model, file=file.path, reason=reason) from error


async def _config(store: Store, files: Sequence[RemoteFile]) -> str:
    """The text of ``config.json`` if it is a JSON object of a sensible length, else nothing."""
    file = next((one for one in files if one.path == "config.json"), None)
    if file is None or file.size_bytes > MOST_CONFIG_BYTES:
        return ""
    data = await store.read(file)
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    return json.dumps(found) if isinstance(found, dict) else ""
