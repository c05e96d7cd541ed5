"""``poolhand config init``: a first file, made for this machine, and its schema beside it."""

import os
import platform
import shutil
import sys
from argparse import Namespace
from pathlib import Path
from typing import cast

from ...backends.hosts.catalog import probe_for
from ...config.edit import replace_file
from ...config.errors import ConfigUnwritable
from ...config.layers import lay, read_files
from ...config.load import load
from ...config.paths import SCHEMA_FILE, cache_dir
from .exits import Exit
from .places import config_of, home
from .starter import EXAMPLE_URL, Place, starter


def config_init(args: Namespace) -> int:
    """Write the file; one that is there is left alone unless ``--force`` is given.

    Returns:
        0, or 1 if there is a file already.

    Raises:
        ConfigInvalid: The URL cannot be one; nothing was written.
        ConfigUnwritable: The folder cannot be written.
    """
    path, url = config_of(args), cast("str | None", args.url) or ""
    if path.exists() and not args.force:
        print(f"poolhand: {path} is there already; --force replaces it", file=sys.stderr)
        return Exit.FAILURE
    facts = probe_for(sys.platform, platform.machine()).facts()
    cache = cache_dir(sys.platform, os.environ, home())
    text = starter(Place(url, facts, _free_bytes(cache))).encode()
    _ = load(path, {}, {path: text})  # what is written has to hold
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigUnwritable(path=str(path), reason=error.strerror or str(error)) from error
    # no secret is in it, and a service's own user has to read it
    replace_file(path, text, mode=0o644)
    replace_file(path.with_name(SCHEMA_FILE.name), SCHEMA_FILE.read_bytes(), mode=0o644)
    print(f"wrote {path}")
    if not url:
        print(f"  it calls {EXAMPLE_URL}: say whom to call with")
        print("  poolhand config set coordinator.url wss://…")
    others = [one for one in lay(read_files(path)).written.values() if one.path != str(path)]
    if others:
        print(f"  {Path(others[0].path).parent} lies over it")
    return Exit.OK


def _free_bytes(folder: Path) -> int | None:
    """What is free on the disk where a folder will be."""
    for one in (folder, *folder.parents):
        if one.is_dir():
            try:
                return shutil.disk_usage(one).free
            except OSError:
                return None
    return None
