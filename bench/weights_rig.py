"""What the weights benchmark stands on: models, origins, warm memory, a measured process.

Every client reads its bytes from the same nginx, which serves plain files from memory and a
listing that was written beforehand; the throttled link is an origin of our own, for nginx has
no delay. Nothing here knows what is being compared.
"""

import hashlib
import json
import mmap
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from xml.sax.saxutils import escape

MIB = 2**20
PREFIX = "m"
"""Every model lies under this prefix of a bucket of its own."""

_STRIDE = 2 * MIB
_BOTH_CLIENTS_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Shape:
    """One model: its bucket, and the files under it with their lengths."""

    name: str
    files: Mapping[str, int]

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(self.files.values())


def shapes(total_bytes: int) -> dict[str, Shape]:
    """The models: one file, two shards, four shards, and 201 small files of 256 KiB."""

    def shards(count: int) -> dict[str, int]:
        names = [f"model-{at + 1:05}-of-{count:05}.safetensors" for at in range(count)]
        return dict.fromkeys(names, total_bytes // count)

    small = {f"shard-{at:03}.safetensors": 256 * 1024 for at in range(200)}
    made = {"one": shards(1), "two": shards(2), "four": shards(4), "small": small}
    return {name: Shape(name, {"config.json": 24, **files}) for name, files in made.items()}


def lay(root: Path, shape: Shape) -> None:
    """Write a model that holds together, of bytes that do not compress, and its listing."""
    folder = root / shape.name / PREFIX
    folder.mkdir(parents=True)
    noise = os.urandom(4 * MIB)
    for name, size in shape.files.items():
        with (folder / name).open("wb") as file:
            if name == "config.json":
                _ = file.write(b'{"model_type": "bench"}\n')
                continue
            room = size - 256
            tensor = {"t": {"dtype": "U8", "shape": [room], "data_offsets": [0, room]}}
            head = json.dumps(tensor).encode().ljust(248)
            _ = file.write(len(head).to_bytes(8, "little") + head)
            while room > 0:
                room -= file.write(noise[: min(room, len(noise))])
    _ = (root / f"{shape.name}.xml").write_text(listing(root, shape))
    _ = (root / f"{shape.name}.sums").write_text("".join(map(_summed, sorted(folder.iterdir()))))


def again(root: Path, shape: Shape, times: int) -> Shape:
    """A model so many times as large, whose files are those of another one over and over."""
    folder, here = root / "large" / PREFIX, root / shape.name / PREFIX
    folder.mkdir(parents=True)
    shards = [name for name in shape.files if name.endswith(".safetensors")]
    count = len(shards) * times
    files = {"config.json": shape.files["config.json"]}
    os.link(here / "config.json", folder / "config.json")
    for at in range(count):
        name, same = f"model-{at + 1:05}-of-{count:05}.safetensors", shards[at % len(shards)]
        os.link(here / same, folder / name)
        files[name] = shape.files[same]
    large = Shape("large", files)
    _ = (root / "large.xml").write_text(listing(root, large))
    return large


def _summed(path: Path) -> str:
    """A file's digest, as ``sha256sum`` prints it in the file's folder."""
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n"


def etag(path: Path) -> str:
    """The tag that nginx gives a file: its last change and its length, in hexadecimal."""
    found = path.stat()
    return f'"{int(found.st_mtime):x}-{found.st_size:x}"'


def listing(root: Path, shape: Shape) -> str:
    """What a bucket answers that holds one model."""
    entries = "".join(
        f"<Contents><Key>{PREFIX}/{escape(name)}</Key><Size>{size}</Size>"
        f"<ETag>{escape(etag(root / shape.name / PREFIX / name))}</ETag>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for name, size in sorted(shape.files.items())
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{shape.name}</Name><Prefix>{PREFIX}/</Prefix>"
        f"<KeyCount>{len(shape.files)}</KeyCount><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    )


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Nginx:
    """nginx on loopback, plain and TLS; ends with the context.

    Args:
        root: Folder with the models.
        names: Buckets.
        address: Where it listens.
    """

    def __init__(self, root: Path, names: Sequence[str], *, address: str = "127.0.0.1") -> None:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if program is None:
            sys.exit("nginx is not here; the benchmark's origin is nginx: apt-get install nginx")
        self.port = free_port()
        self.tls_port = free_port()
        self.ca_file = root / "cert.pem"
        _certificate(root)
        lists = "".join(
            f"location = /{name} {{ alias {root}/{name}.xml; }}"
            f"location = /{name}/ {{ alias {root}/{name}.xml; }}"
            for name in names
        )
        _ = (root / "nginx.conf").write_text(
            f"""daemon off; worker_processes 2; pid {root}/pid; error_log {root}/error.log;
            user root;
            events {{ worker_connections 1024; }}
            http {{
                access_log off; sendfile on; tcp_nopush on; etag on; keepalive_requests 1000000;
                default_type application/xml; client_body_temp_path {root}/t1;
                proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
                uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
                server {{
                    listen {address}:{self.port}; listen {address}:{self.tls_port} ssl;
                    ssl_certificate {root}/cert.pem; ssl_certificate_key {root}/key.pem;
                    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:1m;
                    root {root}; {lists}
                }}
            }}"""
        )
        self._process = subprocess.Popen([program, "-c", str(root / "nginx.conf")])
        _wait_for(self.port)

    def __enter__(self) -> Self:
        """It serves already."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End it."""
        self._process.terminate()
        _ = self._process.wait()

    def url(self, *, is_tls: bool) -> str:
        """The endpoint."""
        return f"https://127.0.0.1:{self.tls_port}" if is_tls else f"http://127.0.0.1:{self.port}"


def _certificate(root: Path) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
    names = ["subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    _ = subprocess.run([*command.split(), *names], cwd=root, check=True, capture_output=True)


def _wait_for(port: int) -> None:
    give_up_s = time.monotonic() + _BOTH_CLIENTS_WAIT_S
    while time.monotonic() < give_up_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit(f"nothing answers on port {port}")


class Link:
    """The throttled origin, in a process of its own: see ``weights_link.py``."""

    def __init__(self, root: Path, *, rate_bytes_s: int, delay_s: float) -> None:
        self.port = free_port()
        here = Path(__file__).with_name("weights_link.py")
        said = [str(self.port), str(root), str(rate_bytes_s), str(delay_s)]
        self._process = subprocess.Popen([sys.executable, str(here), *said])
        _wait_for(self.port)

    def __enter__(self) -> Self:
        """It serves already."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End it."""
        self._process.terminate()
        _ = self._process.wait()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def sent_bytes(self) -> int:
        """Body bytes that it has sent so far."""
        with socket.create_connection(("127.0.0.1", self.port)) as asked:
            asked.sendall(b"GET /-/sent HTTP/1.1\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := asked.recv(4096):
                answer += piece
        return int(answer.rpartition(b"\r\n\r\n")[2])


def keep_hot(size_bytes: int) -> mmap.mmap:
    """Touch memory, then give all of it back but a page of every 2 MiB.

    A virtual machine's host takes free memory away, and the first write to a page then pays
    for getting it back: whoever ran first would look slow.
    """
    held = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held.madvise(mmap.MADV_NOHUGEPAGE)
    for at in range(0, size_bytes, 4096):
        held[at] = 1
    for at in range(0, size_bytes, _STRIDE):
        held.madvise(mmap.MADV_DONTNEED, at + 4096, _STRIDE - 4096)
    return held


@dataclass(frozen=True, slots=True)
class Ran:
    """What one process took.

    Attributes:
        cpu_s: User and system time of it and of all that it waited for.
        anonymous_bytes: Peak of its anonymous memory; 0 if it was not looked at.
    """

    wall_s: float
    cpu_s: float
    exit_code: int
    anonymous_bytes: int = 0


def run(
    command: Sequence[str],
    *,
    said: bytes = b"",
    environ: Mapping[str, str] | None = None,
    is_watched: bool = False,
) -> Ran:
    """Run a command to its end and say what it took."""
    with tempfile.TemporaryFile() as errors:
        started_s = time.perf_counter()
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **(environ or {})},
        )
        assert child.stdin is not None  # noqa: S101  # for the type checker
        _ = child.stdin.write(said)
        child.stdin.flush()
        peak = _Peak(child.pid)
        if is_watched:
            peak.start()
        _, status, used = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - started_s
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stdin.close()
        if is_watched:
            peak.join()
        if child.returncode:
            _ = errors.seek(0)
            print(f"  {command[0]} ended with {child.returncode}: {errors.read()[-300:]!r}")
    return Ran(wall_s, used.ru_utime + used.ru_stime, child.returncode, peak.anonymous_bytes)


class _Peak(threading.Thread):
    """Looks at a process's anonymous memory until it is gone."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._path = Path(f"/proc/{pid}/smaps_rollup")
        self.anonymous_bytes = 0

    def run(self) -> None:
        """Look every 10 ms."""
        while True:
            try:
                text = self._path.read_text()
            except OSError:
                return
            lines = [line for line in text.splitlines() if line.startswith("Anonymous:")]
            if lines:
                self.anonymous_bytes = max(self.anonymous_bytes, int(lines[0].split()[1]) * 1024)
            elif not text:
                return
            time.sleep(0.01)


def piped(command: list[str], said: bytes) -> Ran:
    """Run a command that reads this, and say what it took."""
    started_s = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert child.stdin is not None  # noqa: S101  # for the type checker
    _ = child.stdin.write(said)
    child.stdin.close()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - started_s
    return Ran(wall_s, used.ru_utime + used.ru_stime, child.returncode)


def present(origin: Path, folder: Path, shape: Shape, *, step: int = 65536) -> int:
    """Bytes of the model that lie in its folder, whatever any journal says."""
    here = 0
    for name in shape.files:
        found = [path for path in (folder / ".partial" / name, folder / name) if path.exists()]
        if not found:
            continue
        with (origin / name).open("rb") as right, found[0].open("rb") as ours:
            while wanted := right.read(step):
                here += len(wanted) if ours.read(step) == wanted else 0
    return here
