"""Sends traces to a collector over OTLP/HTTP; the one file that knows OpenTelemetry.

Its library is imported in a thread, and only if traces are wanted. Whatever it does with a
collector, it does in a thread of its own with a bounded queue: one that is slow, or dead, costs
traces and nothing else, and the status says so.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from ... import __version__
from ...config.errors import ConfigError, ExtraMissing, SecretUnusable
from ...config.secrets import FoundToken, from_credential, from_file, from_variable
from ...config.telemetry import Telemetry
from .spans import NAMES, Span, walked

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    from ..core.status import Json

MOST_WAITING = 2048
"""Spans that may wait for the collector; beyond, the oldest are dropped and counted."""

LAST_WORD_S = 1.5
"""How long what is left may take to be sent when the agent ends."""

_EVERY_S = 1.0
_SCHEMES: Mapping[str, str] = {"bearer": "Bearer ", "basic": "Basic ", "plain": ""}

Note = Callable[..., None]


class _Sends(Protocol):
    """What a trace is given to."""

    def __call__(self, span: Span) -> None:
        """Take a whole trace; never waits."""
        ...


class Traces:
    """The way to the collector.

    Args:
        settings: ``[telemetry]``.
        environ: The process's environment, for the key.
        note: Writes a line into the diary.
        clock_s: The node's clock, in which spans are told.
    """

    def __init__(
        self,
        settings: Telemetry,
        environ: Mapping[str, str],
        *,
        note: Note,
        clock_s: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._note = note
        self._clock_s = clock_s
        self._early: deque[Span] = deque(maxlen=MOST_WAITING)
        self._sends: _Sends | None = None
        self._provider: TracerProvider | None = None
        self._error: ConfigError | None = None
        self._told = _Told()
        self._is_over = asyncio.Event()

    @property
    def settings(self) -> Telemetry:
        """``[telemetry]``, as these traces are sent."""
        return self._settings

    def leave(self) -> None:
        """Stop sending: :meth:`keep` returns once what was taken has gone out, if that is quick."""
        self._is_over.set()

    def give(self, span: Span) -> None:
        """Take a trace that has ended; never waits."""
        if self._sends is not None:
            self._sends(span)
        elif self._error is None:
            self._early.append(span)

    async def keep(self) -> None:
        """Find the collector's key and library, then send until told to leave, or cancelled."""
        try:
            provider = await asyncio.to_thread(self._make)
        except ConfigError as error:
            self._error = error
            self._early.clear()
            self._note(
                "traces are not sent",
                level=logging.WARNING,
                code=error.code,
                because=str(error),
                remedy=error.remedy,
            )
            return
        self._provider = provider
        self._sends = _sender(provider, self._clock_s, self._told)
        while self._early:
            self._sends(self._early.popleft())
        try:
            await self._watch()
        except asyncio.CancelledError:
            _part(provider)  # the agent ends: nothing else is waiting any more
            raise
        await asyncio.to_thread(_part, provider)

    def facts(self) -> "dict[str, Json]":
        """How it goes, for the status."""
        told, error = self._told, self._error
        state = "sending" if self._sends is not None else "starting"
        if error is not None:
            state = "unusable"
        elif told.is_failing:
            state = "failing"
        return {
            "state": state,
            "endpoint": self._settings.url,
            "sent": told.sent,
            "failed": told.failed,
            "dropped": told.dropped,
            "error": None
            if error is None
            else {"code": error.code, "words": str(error), "remedy": error.remedy},
        }

    async def _watch(self) -> None:
        """Tell once when the collector falls silent, and once when it answers again."""
        was_failing = False
        while not self._is_over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._is_over.wait()
            if self._told.is_failing != was_failing:
                was_failing = self._told.is_failing
                if was_failing:
                    words = "the collector takes no traces; they are dropped meanwhile"
                    self._note(words, level=logging.WARNING)
                else:
                    self._note("the collector takes traces again")

    def _make(self) -> "TracerProvider":
        """The library, put together; runs in a thread.

        Raises:
            ExtraMissing: It is not installed.
            SecretUnusable: The key cannot be read.
        """
        headers = headers_of(self._settings, self._environ)
        try:
            # a quarter of a second, twenty megabytes, and nothing for whoever wants no traces
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
            from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415
        except ImportError as error:
            raise ExtraMissing(key="telemetry.traces", extra="otel") from error
        _hush()
        settings, environ = self._settings, self._environ
        name = settings.service_name or environ.get("OTEL_SERVICE_NAME") or "poolhand"
        provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(settings.sample_ratio),
            resource=Resource.create({"service.name": name, "service.version": __version__}),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(
            endpoint=settings.url,
            certificate_file=settings.ca_file,
            headers=headers,
            timeout=settings.timeout_s,
        )
        watched = self._told.watch(exporter)
        provider.add_span_processor(
            BatchSpanProcessor(
                watched,
                max_queue_size=MOST_WAITING,
                schedule_delay_millis=_EVERY_S * 1000,
                max_export_batch_size=512,
            )
        )
        return provider


def headers_of(settings: Telemetry, environ: Mapping[str, str]) -> dict[str, str] | None:
    """The header that bears the collector's key; ``None`` if no key is named.

    Raises:
        SecretUnusable: A source is named, and there is no key in it.
    """
    found = _key(settings, environ)
    if found is None:
        return None
    if found.secret is None:
        raise SecretUnusable(source=found.source, reason="it is not there")
    prefix = _SCHEMES[settings.key_scheme]
    return {settings.key_header.lower(): prefix + found.secret.reveal()}


def _key(settings: Telemetry, environ: Mapping[str, str]) -> FoundToken | None:
    if settings.key_file is not None:
        return from_file(settings.key_file)
    if settings.key_env is not None:
        return from_variable(settings.key_env, environ)
    if settings.key_credential is not None:
        return from_credential(settings.key_credential, environ)
    if settings.key_keychain is not None:
        from ...config.keychain import from_keychain  # noqa: PLC0415  # on Macs alone

        return from_keychain(settings.key_keychain, environ)
    return None


class _Told:
    """What became of the spans; the sending thread writes what was sent, and what was not."""

    def __init__(self) -> None:
        self.taken = 0
        self.sent = 0
        self.failed = 0
        self.dropped = 0
        self.is_failing = False

    def watch(self, exporter: "SpanExporter") -> "SpanExporter":
        """The same exporter, but counted."""
        from opentelemetry.sdk.trace.export import (  # noqa: PLC0415  # it is here by now
            SpanExporter,
            SpanExportResult,
        )

        told = self

        class Watched(SpanExporter):
            """Passes batches on, and writes down whether they were taken."""

            def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
                found = exporter.export(spans)
                told.is_failing = found is not SpanExportResult.SUCCESS
                if told.is_failing:
                    told.failed += len(spans)
                else:
                    told.sent += len(spans)
                return found

            def shutdown(self) -> None:
                exporter.shutdown()

            def force_flush(self, timeout_millis: int = 30000) -> bool:
                return exporter.force_flush(timeout_millis)

        return Watched()


def _part(provider: "TracerProvider") -> None:
    """Send what is left, if that is quick; the thread ends with the process in any case."""

    def end() -> None:
        provider.force_flush(int(LAST_WORD_S * 1000))
        provider.shutdown()

    last = threading.Thread(target=end, name="traces' last", daemon=True)
    last.start()
    last.join(LAST_WORD_S)


def _sender(provider: "TracerProvider", clock_s: Callable[[], float], told: _Told) -> _Sends:
    """Writes traces into the library's queue, which never waits."""
    from opentelemetry.context import Context  # noqa: PLC0415  # it is here by now
    from opentelemetry.trace import Status, StatusCode, set_span_in_context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
        TraceContextTextMapPropagator,
    )

    tracer = provider.get_tracer("poolhand", __version__)
    reads = TraceContextTextMapPropagator()

    def send(span: Span) -> None:
        # one offset a trace: its spans keep their distances whatever the wall clock does
        offset_s = time.time() - clock_s()

        def at(now_s: float) -> int:
            return int((now_s + offset_s) * 1e9)

        def put(part: Span, within: Context) -> None:
            facts = {NAMES.get(name, f"poolhand.{name}"): part.facts[name] for name in part.facts}
            made = tracer.start_span(
                part.name, within, attributes=facts, start_time=at(part.begins_s)
            )
            for name, moment_s in part.marks.items():
                made.add_event(name, timestamp=at(moment_s))
            if part.error:
                made.set_status(Status(StatusCode.ERROR, part.error))
                made.set_attribute("error.type", part.error)
            inner = set_span_in_context(made, within)
            for each in part.parts:
                put(each, inner)
            made.end(at(part.begins_s if part.ends_s is None else part.ends_s))
            told.taken += int(made.get_span_context().trace_flags.sampled)

        count = sum(1 for _ in walked(span))
        if told.taken - told.sent - told.failed + count > MOST_WAITING:
            told.dropped += count
            return
        put(span, reads.extract({"traceparent": span.parent} if span.parent else {}, Context()))

    return send


def _hush() -> None:
    """Keep the library's own words out of the diary: the status tells how it goes."""
    log = logging.getLogger("opentelemetry")
    log.addHandler(logging.NullHandler())
    log.propagate = False
