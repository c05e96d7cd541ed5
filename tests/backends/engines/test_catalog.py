"""Which engine is chosen, and that choosing imports no engine's library."""

import subprocess
import sys

import pytest

from poolhand.backends.engines.catalog import Shelter, engine_for, shelter, support
from poolhand.backends.engines.errors import EngineMissing
from poolhand.config.settings import ModelEntry, Settings

SETTINGS = Settings.model_validate({"coordinator": {"url": "ws://127.0.0.1:1/ws"}})


def entry(engine: str) -> ModelEntry:
    return ModelEntry.model_validate({"id": "org/m", "ref": "file:///m", "engine": engine})


@pytest.mark.parametrize(("asked", "given"), [("auto", "mlx"), ("mlx", "mlx"), ("echo", "echo")])
def test_an_entry_gets_its_engine_and_auto_is_never_echo(asked: str, given: str) -> None:
    assert engine_for(entry(asked), "/m", SETTINGS).name == given


@pytest.mark.parametrize("asked", ["auto", "mlx"])
def test_a_missing_library_names_its_extra(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlx_lm", None)  # as if it were not installed
    with pytest.raises(EngineMissing, match=r"pip install 'poolhand\[mlx\]'"):
        engine_for(entry(asked), "/m", SETTINGS)
    assert support() == {"mlx": "pip install 'poolhand[mlx]'"}
    assert engine_for(entry("echo"), "/m", SETTINGS).name == "echo"


@pytest.mark.parametrize(
    ("engine", "isolation", "is_inprocess"),
    [
        ("echo", "child", True),
        ("auto", "child", False),
        ("mlx", "child", False),
        ("auto", "inprocess", True),
        ("mlx", "inprocess", True),
    ],
)
def test_where_text_is_kept_is_where_the_engine_will_be(
    engine: str, isolation: str, *, is_inprocess: bool
) -> None:
    document = SETTINGS.model_dump() | {"engines": {"mlx": {"isolation": isolation}}}
    settings = Settings.model_validate(document)
    told = shelter(entry(engine), settings)
    assert told == Shelter(is_inprocess=is_inprocess, is_hidden=True)
    assert engine_for(entry(engine), "/m", settings).name == ("echo" if engine == "echo" else "mlx")


def test_what_is_installed_lacks_nothing() -> None:
    assert support() == {"mlx": None}


def test_the_agents_side_imports_no_engine_library() -> None:
    program = (
        "import sys\n"
        "from poolhand.backends.engines import catalog, mlx, child, answers, echo\n"
        "catalog.support()\n"
        "heavy = {'mlx', 'mlx_lm', 'transformers', 'numpy', 'jinja2', 'psutil'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "[]\n"
