"""Engines that this repository has never seen, named by whoever runs the suite.

``CONTRACT_URL`` is a server on this machine that speaks OpenAI's dialect, ``CONTRACT_MODEL`` what
it calls its model: it is attached to, and asked as a provider, without the fields that
``CONTRACT_DROP`` names. ``CONTRACT_ENGINE`` is
``module:callable``, where the callable takes an empty folder and returns an
:class:`poolhand.backends.engines.base.Engine`.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest

from poolhand.backends.engines.base import Engine
from poolhand.backends.engines.hosted import HostedEngine
from poolhand.backends.engines.hosted_days import Days
from poolhand.backends.engines.profiles_attach import AttachProfile
from poolhand.backends.engines.served import ServedEngine
from poolhand.backends.engines.served_origins import AttachedServer
from poolhand.config.engines import Attach, Server
from poolhand.config.external import External
from poolhand.config.secrets import Secret


def stranger(kind: str, folder: Path) -> Engine:
    """The engine that was named, in one of three ways; none is a reason to skip."""
    match kind:
        case "attached":
            url, model = _server()
            key = os.environ.get("CONTRACT_KEY")
            (folder / "key").touch(0o600)
            (folder / "key").write_text(key or "")
            attach = Attach(url=url, key_file=str(folder / "key") if key else None)
            limits = Server(stall_timeout_s=120, start_timeout_s=300)
            return ServedEngine(
                AttachedServer(attach), AttachProfile(), served_name=model, settings=limits
            )
        case "as a provider":
            url, model = _server()
            external = External(
                dialect="openai",
                base_url=f"{url}/v1",
                model=model,
                allow_http_to_loopback=True,
                drop=tuple(filter(None, os.environ.get("CONTRACT_DROP", "").split(","))),
            )
            key = os.environ.get("CONTRACT_KEY")
            days = Days(folder / "day.json", model="m", external=external, clock_s=lambda: 0.0)
            return HostedEngine(
                model="m", external=external, days=days, key=lambda: Secret(key) if key else None
            )
        case _:
            named = os.environ.get("CONTRACT_ENGINE")
            if named is None:
                pytest.skip("CONTRACT_ENGINE names none")
            module, _, name = named.partition(":")
            return cast("Engine", getattr(import_module(module), name)(folder))


def _server() -> tuple[str, str]:
    url, model = os.environ.get("CONTRACT_URL"), os.environ.get("CONTRACT_MODEL")
    if url is None or model is None:
        pytest.skip("CONTRACT_URL and CONTRACT_MODEL name no server")
    return url, model
