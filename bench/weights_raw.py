"""What no client can beat: receive every file over a few connections and throw it away.

    python bench/weights_raw.py URL FOLDER CA_FILE < NAMES_AND_SIZES

A process of its own, as every client is that it is held against; it lists nothing, and its
standard input is a line a file: name, space, bytes. It imports no more than it needs.
"""

import socket
import sys
import threading

_CONNECTIONS = 4
_PIECE = 2**20


def main(url: str, folder: str, ca_file: str) -> None:
    """Receive what standard input names."""
    scheme, _, place = url.partition("://")
    host, _, port = place.partition(":")
    ranges: list[tuple[str, int, int]] = []
    for line in sys.stdin:
        name, size = line.split()
        step = max(_PIECE, -(-int(size) // _CONNECTIONS))  # the last one takes what is left over
        spans = ((at, min(at + step, int(size))) for at in range(0, int(size), step))
        ranges += [(f"{folder}/{name}", start, stop) for start, stop in spans]
    ranges.reverse()

    def work() -> None:
        buffer = memoryview(bytearray(_PIECE))
        line = socket.create_connection((host, int(port)))
        if scheme == "https":
            import ssl  # noqa: PLC0415  # not for a plain receive

            line = ssl.create_default_context(cafile=ca_file).wrap_socket(
                line, server_hostname=host
            )
        with line:
            while ranges:
                try:
                    target, start, stop = ranges.pop()
                except IndexError:
                    return  # another thread took it
                asked = f"GET {target} HTTP/1.1\r\nHost: {place}\r\n"
                line.sendall(f"{asked}Range: bytes={start}-{stop - 1}\r\n\r\n".encode())
                head = b""
                while b"\r\n\r\n" not in head:
                    head += line.recv(65536)
                left = stop - start - len(head.partition(b"\r\n\r\n")[2])
                while left > 0:
                    left -= line.recv_into(buffer[: min(left, _PIECE)])

    threads = [threading.Thread(target=work) for _ in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
