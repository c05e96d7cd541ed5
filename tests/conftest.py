"""What holds for every test: the same examples on every machine, and no run that hangs.

A law is tried on the same examples here and in CI, so that a green run means the same in both.
``make test HYPOTHESIS_PROFILE=explore`` looks for new ones.

The phase that explains a failure is left out: it traces every example, and CPython 3.11 can spin
for ever at the start of a traced function when a signal or another thread asks for attention.
"""

import os
import signal

from hypothesis import Phase, settings

PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)

settings.register_profile("same", derandomize=True, deadline=None, database=None, phases=PHASES)
settings.register_profile("explore", deadline=None, phases=PHASES)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # a shell starts a background run deaf to Ctrl-C, and its children would be deaf too
    signal.signal(signal.SIGINT, signal.default_int_handler)
