"""Makes the small world of these tests importable: tests are no packages."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from runtime_world import Inbox


@pytest.fixture
async def inbox() -> Inbox:
    return Inbox()
