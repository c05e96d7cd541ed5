"""Stand-ins beside the tests, and the weights' own, are imported by their plain names."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "agent" / "weights")]
