"""Worlds of real processes for every test here; their logs come with each failure."""

import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from world import A, World, make_weights, opened


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_weights(tmp_path_factory.mktemp("store"))


@pytest.fixture
def world(tmp_path: Path, weights: Path) -> Iterator[World]:
    """Store and coordinator; whoever wants an agent starts it."""
    with opened(tmp_path / "w", weights) as made:
        yield made


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[World]:
    """An agent that holds org/tiny-a, shared by tests that leave it as it is."""
    with opened(tmp_path_factory.mktemp("serving") / "w", weights) as made:
        made.join(made.configure())
        assert made.load(A)["status"] == "succeeded"
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for made in item.funcargs.values():
            if isinstance(made, World):
                for actor in made.actors.values():
                    report.sections.append((f"end of {actor.log.name}", actor.tail(40)))
    return report
