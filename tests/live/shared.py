"""Tasks that are given, or give, what only multiprocessing can send."""

import multiprocessing
import socket
from multiprocessing.connection import Connection
from typing import Any

_kept: list[Any] = []


def keep(*things: Any) -> None:
    """Keep what an initializer was given."""
    _kept.extend(things)


def locks_kept() -> bool:
    """Take the lock that was kept, and say whether that could be done."""
    with _kept[-1]:
        return True


def send(end: "Connection[Any, Any]", value: object) -> None:
    end.send(value)


def send_all(end: socket.socket, data: bytes) -> None:
    end.sendall(data)


def pipe_with(value: object) -> "Connection[Any, Any]":
    """Return the end of a pipe in whose other end *value* was put."""
    ours, theirs = multiprocessing.Pipe()
    ours.send(value)
    keep(ours)
    return theirs
