"""Which engine is chosen, and that choosing imports no engine's library."""

import subprocess
import sys

import pytest

from poolhand.backends.engines.catalog import Shelter, choice, engine_for, lack_of, shelter, support
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


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llamacpp"])
def test_a_program_of_somebody_else_hides_nothing(engine: str) -> None:
    assert shelter(entry(engine), SETTINGS) == Shelter(is_inprocess=False, is_hidden=False)


def chosen(
    engines: dict[str, object], engine: str = "auto", *, gguf: bool = False, nvidia: bool = False
) -> str:
    settings = Settings.model_validate(SETTINGS.model_dump() | {"engines": engines})
    ref = "s3://bucket/Qwen3-GGUF" if gguf else "file:///m"
    document = {"id": "org/m", "ref": ref, "engine": engine, "aliases": ["pool"]}
    return choice(ModelEntry.model_validate(document), settings, has_nvidia=nvidia)


def test_the_models_wish_comes_first_then_its_pools_then_the_default() -> None:
    default: dict[str, object] = {"default": "llamacpp"}
    pool = default | {"by_pool": ["other=mlx", "pool=sglang"]}
    assert chosen(pool, "vllm") == "vllm"
    assert chosen(pool) == "sglang"
    assert chosen(default | {"by_pool": ["org/m=vllm"]}) == "vllm"
    assert chosen(default) == "llamacpp"


def test_the_hardware_chooses_where_nobody_else_does() -> None:
    installed: dict[str, object] = {"vllm": {"program": sys.executable}}
    assert chosen({}) == "mlx"
    assert chosen(installed) == "mlx", "without boards it is of no use"
    assert chosen(installed, nvidia=True) == "vllm"
    assert chosen(installed, gguf=True, nvidia=True) == "llamacpp"


def test_what_a_model_lacks_is_what_its_engine_would_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for name in ("echo", "mlx", "vllm", "sglang", "llamacpp"):
        try:
            engine_for(entry(name), "/nowhere", SETTINGS)
            said = None
        except EngineMissing as error:
            said = str(error)
        lack = lack_of(entry(name), SETTINGS)
        assert (lack is None) == (said is None), name
        assert lack is None or lack in str(said), name
    assert lack_of(entry("llamacpp"), SETTINGS) is not None


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
