"""Makes the stand-in origin importable: tests are no packages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# the stand-ins of stores lie beside the contract suite
sys.path.insert(0, str(Path(__file__).parents[2] / "contract"))
