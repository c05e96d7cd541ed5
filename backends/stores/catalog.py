"""From a model reference to the store that keeps it.

The one file here that knows every adapter. An adapter's module is imported when a reference
asks for it, and what an adapter needs from PyPI later still, when it is opened.
"""

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...config.refs import ModelRef
from .base import Store
from .errors import StoreUnsupported

if TYPE_CHECKING:  # checked settings; the fetching child has plain values of the same names
    from ...config.stores import S3, Stores


def store_for(ref: ModelRef, stores: "Stores", environ: Mapping[str, str]) -> Store:
    """Choose the store of a reference; nothing is opened and nothing is asked yet.

    Args:
        ref: Where the model lives.
        stores: How each kind of store is reached.
        environ: The process's own environment.

    Raises:
        StoreUnsupported: This installation cannot read stores of that kind.
        ConfigInvalid: The endpoint that wins cannot be used.
    """
    match ref.scheme:
        case "file":
            from .local import LocalStore  # noqa: PLC0415  # an adapter, when it is chosen

            return LocalStore(ref)
        case "s3":
            return _s3(ref, stores.s3, environ)
        case "gs" if stores.gs.auth == "hmac":
            from .gs import as_s3  # noqa: PLC0415  # likewise

            return _s3(ref, as_s3(stores, environ), environ)
        case "gs":
            from .gs import GsStore  # noqa: PLC0415  # likewise

            return GsStore(ref, stores, environ)
        case "hf":
            from .hf import HfStore  # noqa: PLC0415  # likewise

            return HfStore(ref, stores, environ)
        case "ngc":
            from .ngc import NgcStore  # noqa: PLC0415  # likewise

            return NgcStore(ref, stores, environ)
        case "https" | "http":
            from .https import HttpsStore  # noqa: PLC0415  # likewise

            return HttpsStore(ref, stores)


def _s3(ref: ModelRef, config: "S3", environ: Mapping[str, str]) -> Store:
    if not _is_installed("aiobotocore"):
        raise StoreUnsupported(scheme=ref.scheme, needs="pip install 'poolhand[s3]'")
    from .s3 import S3Store  # noqa: PLC0415  # an adapter, when it is chosen

    return S3Store(ref, config, environ)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
