"""Where the fetching child begins: ``python -m poolhand.agent.weights.child``.

Its start is a good part of a small fetch, and a third of that start was the collector, looking
again and again at what imports had made to stay. So it sleeps until they are done.
"""

import gc
import os
import sys

from ...config.postponed import import_later


def main() -> int:
    """Import with the collector asleep, then do the job; the exit code."""
    gc.disable()
    import_later()
    from .fetcher import main as fetch  # noqa: PLC0415  # the point of this file

    gc.freeze()
    gc.enable()
    return fetch()


if __name__ == "__main__":
    exit_code = main()
    # whoever waits for the end of the process need not wait until all that was imported is undone
    sys.stdout.flush()
    os._exit(exit_code)
