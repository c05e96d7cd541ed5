"""A child's end of the line: whole messages, a backlog that is told, and an end."""

import os
import socket
from collections.abc import Iterator

import pytest

from poolhand.backends.engines.frames import FrameBroken, encode
from poolhand.backends.engines.messages import AskStats, Hello, Quit, Tick
from poolhand.backends.engines.pipe import Pipe


@pytest.fixture
def line() -> Iterator[tuple[Pipe, socket.socket]]:
    ours, theirs = socket.socketpair()
    pipe = Pipe(theirs)
    yield pipe, ours
    ours.close()
    pipe.drain(0)


def test_messages_are_heard_when_they_are_whole(line: tuple[Pipe, socket.socket]) -> None:
    pipe, ours = line
    assert pipe.exchange(0) == []
    frame = encode(Quit())
    ours.sendall(encode(AskStats()) + frame[:3])
    assert pipe.exchange(1) == [AskStats()]
    ours.sendall(frame[3:])
    assert pipe.exchange(1) == [Quit()]


def test_what_is_not_taken_is_kept_and_counted(line: tuple[Pipe, socket.socket]) -> None:
    pipe, ours = line
    said = Hello("x" * 10_000, "")
    count = 0
    while pipe.backlog_bytes < 100_000:
        pipe.say(said)
        count += 1
    got = 0
    while got < count * len(encode(said)):
        got += len(ours.recv(2**20))
        pipe.exchange(0)
    assert got == count * len(encode(said))
    assert pipe.backlog_bytes == 0


def test_it_notices_that_nobody_listens(line: tuple[Pipe, socket.socket]) -> None:
    pipe, ours = line
    ours.close()
    assert pipe.exchange(1) == []
    assert pipe.is_closed
    assert pipe.exchange(1) == []
    pipe.say(Tick())
    assert pipe.backlog_bytes == 0


def test_garbage_is_an_error(line: tuple[Pipe, socket.socket]) -> None:
    pipe, ours = line
    ours.sendall(b"\xff" * 8)
    with pytest.raises(FrameBroken):
        pipe.exchange(1)


def test_an_inherited_socket_is_not_passed_on() -> None:
    ours, theirs = socket.socketpair()
    descriptor = theirs.detach()
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - takes no name
    pipe = Pipe.inherited(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    pipe.say(Tick())
    pipe.drain(1)
    assert ours.recv(100) == encode(Tick())
    assert ours.recv(100) == b""
    ours.close()
