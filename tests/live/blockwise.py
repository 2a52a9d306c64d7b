"""Tasks that loop over blocks of what they are given. Importable, so that they pickle by name."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import stoppable
from stoppable import StopRequested
from watching import say


def takes_until_stopped(begun: str, blocks: Iterator[Any]) -> int:
    """Take blocks; say so at the third, and wait there until the stop is asked for. Return how many were taken."""
    taken = 0
    try:
        for _ in blocks:
            taken += 1
            if taken == 3:
                say(begun)
                stoppable.current_token().wait()
    except StopRequested:
        return taken
    return -taken


def of_data(begun: str) -> int:
    return takes_until_stopped(begun, stoppable.blocks(range(1000), 10))


def of_file(begun: str, path: str, mode: str) -> tuple[int, int]:
    """Return how far the file was read, too."""
    with open(path, mode) as file:
        taken = takes_until_stopped(begun, stoppable.blocks(file, 10))
        return taken, file.tell()


def of_generator(begun: str) -> tuple[int, list[str]]:
    """Return what has happened when the stop comes out of the loop."""
    seen: list[str] = []

    def numbers() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            seen.append("closed")

    taken = 0
    try:
        for _ in stoppable.blocks(numbers(), 10):
            taken += 1
            if taken == 3:
                say(begun)
                stoppable.current_token().wait()
    except StopRequested:  # its traceback still holds the frames that it went through
        return taken, [*seen, "stopped"]
    return -taken, seen


def of_silence(begun: str, kind: str) -> tuple[int, str]:
    """Wait for bytes that never come, after the first that did; return how many came, and what ended it."""
    with contextlib.ExitStack() as stack:
        if kind == "pipe":
            reading, writing = os.pipe()
            source: Any = stack.enter_context(open(reading, "rb", buffering=0))
            sink: Any = stack.enter_context(open(writing, "wb", buffering=0))
            sink.write(b"some")
        else:
            type_ = socket.SOCK_DGRAM if kind == "datagrams" else socket.SOCK_STREAM
            source, sink = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, type_))
            sink.sendall(b"some")
            if kind == "patient":
                source.settimeout(1000)
        got = 0
        try:
            for block in stoppable.blocks(source, 100):
                got += len(block)
                say(begun)
        except StopRequested as stop:
            return got, type(stop).__name__
        return got, "its end"


def shielded_silence(begun: str) -> bytes:
    """Wait in a shield for bytes that come once the stop was asked for."""
    source, sink = socket.socketpair()
    with source, sink, stoppable.shield(60):
        token = stoppable.current_token()
        with token.on_stop(lambda: sink.sendall(b"late")):
            say(begun)
            return next(iter(stoppable.blocks(source, 100)))


def watched_silence(seconds: float) -> str:
    """Wait so long for bytes; to a watchdog that is no silence."""
    source, sink = socket.socketpair()
    with source, sink:
        source.settimeout(seconds)
        try:
            list(stoppable.blocks(source, 100))
        except TimeoutError:
            return "timed out"
    return "ended"


def all_kinds(folder: str) -> list[Any]:
    """Return the blocks of one of each, to their ends."""
    path = Path(folder) / "of_all"
    path.write_bytes(b"12345")
    source, sink = socket.socketpair()
    with source, sink, open(path, "rb") as file, open(path) as text, open(path, "rb", buffering=0) as raw:
        sink.sendall(b"12345")
        sink.shutdown(socket.SHUT_WR)
        sources: list[Any] = ["12345", b"12345", [1, 2, 3], iter("12345"), file, text, raw, source]
        return [list(stoppable.blocks(each, 2)) for each in sources]
