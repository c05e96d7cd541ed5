"""The fetching child on a disk that fails: ``python failing_disk.py ERRNO CALL NUMBER``.

From its n-th time on, a call that touches the disk fails with this error.
"""

import errno
import os
import sys
import threading

from weights_origin import origin_store

from poolhand.agent.weights.fetcher import main


def arm(code: int, call: str, number: int) -> None:
    """Have ``os.call`` fail; what is not about a regular file stays as it is."""
    real, lock, seen = getattr(os, call), threading.Lock(), [0]

    def failing(*args: object, **named: object) -> object:
        with lock:
            seen[0] += 1
            if seen[0] >= number:
                raise OSError(code, os.strerror(code))
        return real(*args, **named)

    setattr(os, call, failing)


if __name__ == "__main__":
    arm(getattr(errno, sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    sys.exit(main(origin_store))
