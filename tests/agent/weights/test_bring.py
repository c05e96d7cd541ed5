"""What is said to a job while it is about to begin something is not lost."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from weights_origin import REF, Origin, OriginStore, quick, stores_of, toy

from poolhand.agent.weights.bring import Bring
from poolhand.agent.weights.digests import Interrupted
from poolhand.agent.weights.lines import FetchJob
from poolhand.backends.stores.base import RemoteFile

MODEL = "org/toy"


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(toy()) as serving:
        yield serving


def bring_of(
    origin: Origin, cache: Path, store: OriginStore, *, max_bytes_per_s: int | None = None
) -> Bring:
    weights = quick().model_copy(update={"max_bytes_per_s": max_bytes_per_s})
    job = FetchJob(MODEL, REF, stores_of(origin), weights, str(cache))
    return Bring(job, lambda _, __, ___: store, lambda _, __: None)


def test_a_stop_that_comes_as_it_begins_to_ask(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it waits for the store, nothing but the stop itself gets it out of there."""
    asked: list[str] = []
    looked: list[bool] = []

    class Listing(OriginStore):
        async def files(self) -> tuple[RemoteFile, ...]:
            asked.append("files")
            return await super().files()

    class Late(threading.Event):
        def is_set(self) -> bool:
            """What the child does at SIGTERM, in the moment after it was seen that nobody stops."""
            was = super().is_set()
            looked.append(was)
            if looked == [False] and bring.stop() and bring.is_asking:
                raise Interrupted
            return was

    with monkeypatch.context() as patch:
        patch.setattr(threading, "Event", Late)
        bring = bring_of(origin, tmp_path, Listing(origin.port))
    with pytest.raises(Interrupted):
        _ = bring.run()
    assert looked
    assert not asked


def test_a_limit_that_changes_as_the_pull_begins(origin: Origin, tmp_path: Path) -> None:
    """At the old one it would take ten minutes."""

    class Changing(OriginStore):
        @property
        def note_region(self) -> None:
            bring.limit(None)

    bring = bring_of(origin, tmp_path, Changing(origin.port), max_bytes_per_s=1000)
    in_vain = threading.Timer(20.0, bring.stop)
    in_vain.start()
    try:
        found = bring.run()
    finally:
        in_vain.cancel()
    assert found.size_bytes == sum(map(len, origin.objects.values()))
