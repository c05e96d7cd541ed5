"""Checks of the way to a collector of traces; whatever is wrong with it costs traces alone."""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from ...config.errors import ConfigError, ExtraMissing
from ...config.telemetry import TRACES_PATH, Telemetry
from .checks_told import Finding, Ground, failed_by, ok, skipped, warn
from .render import table

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "telemetry.extra": "what sends traces is installed, and its key can be read",
        "telemetry.collector": "the collector takes a batch that has nothing in it",
    }
)
_STEP_S = 4.0
_LEAST_FAILURE = 300
_BASE = "http://localhost:4318"
"""Source: OTLP exporter configuration, the default of ``OTEL_EXPORTER_OTLP_ENDPOINT``."""


def look(ground: Ground) -> Iterator[Finding]:
    """Look for the extra and the key, then post an empty batch."""
    settings = ground.settings.telemetry
    if not settings.traces:
        yield skipped("telemetry.extra", "no traces are wanted: telemetry.traces is false")
        yield skipped("telemetry.collector", "no traces are wanted")
        return
    from ..control.traces import headers_of  # noqa: PLC0415  # few want traces

    try:
        headers = headers_of(settings, ground.environ) or {}
        if not _is_installed():
            raise ExtraMissing(key="telemetry.traces", extra="otel")
    except ConfigError as error:
        yield failed_by("telemetry.extra", error)
        yield skipped("telemetry.collector", "nothing could be sent")
        return
    yield ok("telemetry.extra", "what sends traces is installed")
    yield _posted(_url(settings, ground.environ), headers, settings.ca_file, ground)


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def _url(settings: Telemetry, environ: Mapping[str, str]) -> str:
    whole = settings.url or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or _BASE
    return whole or base.rstrip("/") + TRACES_PATH


def _posted(url: str, headers: Mapping[str, str], ca_file: str | None, ground: Ground) -> Finding:
    """Post nothing: an empty message is a whole one."""
    import http.client  # noqa: PLC0415  # only where traces are sent

    parts = urlsplit(url)
    where, check = parts.hostname or "", "telemetry.collector"
    remedy = "Look at telemetry.endpoint and at the collector; until then traces are dropped."
    try:
        if parts.scheme == "https":
            import ssl  # noqa: PLC0415  # likewise

            trust = ssl.create_default_context(cafile=ca_file)
            line = http.client.HTTPSConnection(where, parts.port, timeout=_STEP_S, context=trust)
        else:
            line = http.client.HTTPConnection(where, parts.port, timeout=_STEP_S)
        kind = {"Content-Type": "application/x-protobuf"}
        line.request("POST", parts.path or "/", b"", {**headers, **kind})
        status = line.getresponse().status
        line.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
        return warn(check, f"no collector at {where}: {said or type(error).__name__}", remedy)
    if status >= _LEAST_FAILURE:
        return warn(check, f"the collector at {where} answers HTTP {status}", remedy)
    told = table(ground.status.get("telemetry"))
    sent = told.get("sent")
    since = f"; {sent} spans sent" if isinstance(sent, int) else ""
    return ok(check, f"the collector at {where} takes traces{since}")
