"""A host whose NVIDIA library is the compiled stand-in, and whose probe is the real one.

The library's module keeps what it loaded for the life of a process, so the probe runs in one of
its own: this file, run as a program, answers ``facts`` and ``sample`` on its standard streams.
"""

import base64
import os
import pickle
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from poolhand.backends.hosts.base import HostFacts, HostSample


def compile_library(folder: Path, *, compiler: str) -> Path:
    """Build the stand-in as ``libnvidia-ml.so.1`` in ``folder``."""
    source = Path(__file__).with_name("nvml_standin.c")
    library = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), str(source)]
    subprocess.run(command, check=True)  # noqa: S603 - the compiler that the test found
    return folder


class NvmlHost:
    """A probe in another process.

    Attributes:
        answers: The file that the library answers from; write it to change the host.
    """

    def __init__(self, child: "subprocess.Popen[bytes]", answers: Path) -> None:
        self._child = child
        self.answers = answers

    def kind(self) -> str:
        """The class of the probe that the catalog chose."""
        return cast("str", self._ask(b"kind"))

    def facts(self) -> HostFacts:
        """As the probe says."""
        return cast("HostFacts", self._ask(b"facts"))

    def sample(self) -> HostSample:
        """As the probe says."""
        return cast("HostSample", self._ask(b"sample"))

    def _ask(self, question: bytes) -> object:
        to_child = cast("IO[bytes]", self._child.stdin)
        to_child.write(question + b"\n")
        to_child.flush()
        answer = cast("IO[bytes]", self._child.stdout).readline()
        return cast("object", pickle.loads(base64.b64decode(answer)))  # noqa: S301 - our own child


@contextmanager
def running_host(library: Path, answers: Path) -> Generator[NvmlHost]:
    """Run a probe on the host that ``answers`` describes."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(library), "NVML_STANDIN": str(answers)}
    with subprocess.Popen(  # noqa: S603 - this very file
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as child:
        try:
            yield NvmlHost(child, answers)
        finally:
            cast("IO[bytes]", child.stdin).close()
            child.wait(timeout=10)


def _serve() -> None:
    from poolhand.backends.hosts.catalog import probe_for  # noqa: PLC0415 - the child's alone

    probe = probe_for("linux", "x86_64")
    answers = {
        "kind": lambda: type(probe).__name__,
        "facts": probe.facts,
        "sample": probe.sample,
    }
    for question in sys.stdin:
        answer = base64.b64encode(pickle.dumps(answers[question.strip()]()))
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
