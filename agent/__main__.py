"""``python -m poolhand.agent`` is the command ``poolhand``."""

import sys

from .cli.main import main

sys.exit(main())
