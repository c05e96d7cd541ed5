"""The causes of a small footprint: what an idle agent and the quick verbs never import.

Figures depend on the machine and are measured by ``bench/footprint.py``; their causes do not.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

HEAVY = {
    "aiobotocore", "botocore", "boto3", "aiohttp", "aiofiles", "httpx", "openai", "requests",
    "mlx", "mlx_lm", "transformers", "numpy", "torch", "safetensors", "hypothesis", "cryptography",
    "multiprocessing", "sqlite3", "xml", "unittest",
}  # fmt: skip
"""Modules that an agent which only waits has no use for."""

SLOW = {"pydantic", "websockets", "nacl", "psutil", "asyncio"} | HEAVY
"""Modules that would make a verb late which only prints what another process says."""

LOOK = "import json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"

AGENT = f"""
import sys
from pathlib import Path
from poolhand.agent.cli.main import main
assert main(["run", "--config", sys.argv[1], "--state-dir", sys.argv[2]]) == 0
{LOOK}
"""

CONFIG = """
[coordinator]
url = "ws://127.0.0.1:{port}"
[[models]]
id = "org/tiny-a"
ref = "s3://models/tiny-a"
[stores.s3]
endpoint = "http://127.0.0.1:9"
[cache]
dir = "cache"
"""


async def modules_of_an_idle_agent(folder: Path) -> set[str]:
    beats: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def talk(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.recv()
        beats.set_result(None)
        await connection.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        config = folder / "agent.toml"
        config.write_text(CONFIG.format(port=next(iter(server.sockets)).getsockname()[1]))
        agent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", AGENT, str(config), str(folder / "state")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | {"AWS_EC2_METADATA_DISABLED": "true"},
        )
        await asyncio.wait_for(beats, 30)
        agent.terminate()
        said, _ = await agent.communicate()
    assert agent.returncode == 0
    return set(json.loads(said))


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    return asyncio.run(modules_of_an_idle_agent(tmp_path_factory.mktemp("idle")))


@pytest.mark.e2e
def test_an_idle_agent_is_there_at_all(idle: set[str]) -> None:
    assert {"poolhand", "pydantic", "websockets", "nacl"} <= idle


@pytest.mark.e2e
def test_an_idle_agent_has_imported_nothing_that_it_does_not_use(idle: set[str]) -> None:
    assert idle & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--version"], ["status"], ["status", "--json"]])
def test_a_quick_verb_imports_nothing_slow(arguments: list[str], tmp_path: Path) -> None:
    state = [] if arguments == ["--version"] else ["--state-dir", str(tmp_path)]
    script = (
        "import sys\nfrom poolhand.agent.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"{LOOK}"
    )
    done = subprocess.run(  # noqa: S603  # ourselves
        [sys.executable, "-c", script, *arguments, *state],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(done.stdout.splitlines()[-1])) & SLOW == set()
