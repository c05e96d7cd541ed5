"""NVIDIA hosts for the tests of this room; see tests/native/nvml_host.py."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def native() -> ModuleType:
    """The module that compiles and runs the stand-in."""
    path = Path(__file__).parents[2] / "native" / "nvml_host.py"
    spec = importlib.util.spec_from_file_location("nvml_host", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def library(native: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in with")
    return native.compile_library(tmp_path_factory.mktemp("nvml"), compiler=compiler)


@pytest.fixture
def start(native: ModuleType, library: Path, tmp_path: Path) -> Iterator[Callable[[str], object]]:
    """Start a host from the text of its answers; typed where it is used."""
    with ExitStack() as stack:

        def host(answers: str) -> object:
            path = tmp_path / "answers"
            path.write_text(answers)
            return stack.enter_context(native.running_host(library, path))

        yield host
