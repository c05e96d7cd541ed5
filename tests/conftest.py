"""What holds for every test: the same examples on every machine, and no run that hangs.

A law is tried on the same examples here and in CI, so that a green run means the same in both.
``make test HYPOTHESIS_PROFILE=explore`` looks for new ones.
"""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
