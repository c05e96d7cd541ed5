"""How an engine elsewhere is chosen; what it does is tried in tests/contract/test_hosted.py."""

import subprocess
import sys
from pathlib import Path

from poolhand.backends.engines.catalog import Shelter, hosted_engine, shelter
from poolhand.config.settings import ModelEntry, Settings

SETTINGS = Settings.model_validate({"coordinator": {"url": "ws://127.0.0.1:1/ws"}})


def entry(**external: object) -> ModelEntry:
    return ModelEntry.model_validate({"id": "org/m", "external": external})


def test_an_entry_gets_an_engine_named_for_its_dialect(tmp_path: Path) -> None:
    for dialect in ("openai", "anthropic"):
        made = entry(dialect=dialect)
        assert made.external is not None
        engine = hosted_engine(made, made.external, tmp_path)
        assert engine.name == dialect
        assert engine.load().trouble is None
    assert list(tmp_path.iterdir()) == [], "nothing is kept where nothing is limited"


def test_text_that_leaves_the_machine_is_not_said_to_stay() -> None:
    told = shelter(entry(dialect="openai"), SETTINGS)
    assert told == Shelter(is_inprocess=False, is_hidden=False)


def test_whoever_asks_nobody_elsewhere_imports_nothing_for_it() -> None:
    program = (
        "import sys\n"
        "from poolhand.backends.engines import catalog\n"
        "heavy = ('hosted', 'h11', 'aiohttp', 'openai', 'anthropic', 'subprocess')\n"
        "found = [name for name in sys.modules if name.split('.')[-1] in heavy]\n"
        "sys.exit(str(found) if found else 0)\n"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", program], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
