"""Tasks that turn against the pool they run in. Importable, so that they pickle by name."""

import os
import socket
import stat
import time
from collections.abc import Callable
from typing import Any, NoReturn

from stoppable import wire
from stoppable.wire import Kind
from stoppable.worker import intask
from stoppable.worker import page as pages
from watching import say

LONG_S = 1000.0


def own_channel() -> socket.socket:
    """Return another handle of the socket to the parent, found as any task can find it."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        if found.family == socket.AF_UNIX and found.type == socket.SOCK_STREAM:
            return found
        found.close()
    raise AssertionError("there is no channel")


def own_page() -> pages.Page:
    task = intask.current()
    assert task is not None
    return task.page


def own_number() -> int:
    task = intask.current()
    assert task is not None
    return task.id


def frame(kind: int, body: bytes, task: int, size: int | None = None) -> bytes:
    return wire._HEAD.pack(kind, 0, 0, task, len(body) if size is None else size) + body


# What is written into the channel, by its name; a function of the own task's number.
SAYINGS: dict[str, Callable[[int], bytes]] = {
    "noise": lambda me: b"\xa5" * 1000,
    "zeros": lambda me: bytes(1000),
    "a kind of the parent's": lambda me: frame(Kind.TASK, b"call", me),
    "a terabyte": lambda me: frame(Kind.VALUE, b"x", me, 1 << 40),
    "more than a terabyte": lambda me: frame(Kind.VALUE, b"x", me, 1 << 60),
    "short progress": lambda me: frame(Kind.PROGRESS, b"12345", me),
    "a value that is no pickle": lambda me: frame(Kind.VALUE, b"no pickle", me),
    "an error that is none": lambda me: frame(Kind.ERROR, b"\xff\xff\xff\xff", me),
    "a stop that is none": lambda me: frame(Kind.STOPPED, b"\xff" * 100, me),
    "a record that is no pickle": lambda me: frame(Kind.SAID, b"no pickle", 0),
    "a record that ends an interpreter": lambda me: frame(Kind.SAID, wire.dumps(Exits()), 0),
    "a record for a task": lambda me: frame(Kind.SAID, b"no pickle", me),
    "too long a record": lambda me: frame(Kind.SAID, b"x", 0, wire.MAX_SAID_BYTES + 1),
    "an answer twice": lambda me: frame(Kind.VALUE, wire.dumps(me), me) * 2,
}


def speak(saying: str, rest_s: float, path: str) -> None:
    """Write it, and go on running for *rest_s* seconds."""
    data = SAYINGS[saying](own_number())
    say(path)
    own_channel().sendall(data)
    time.sleep(rest_s)


def speak_for_others(path: str) -> None:
    """Answer for every other task there can be, then go on."""
    channel, me = own_channel(), own_number()
    for task in range(me - 50, me + 50):
        if task > 0 and task != me:
            channel.sendall(frame(Kind.VALUE, wire.dumps("forged"), task))
            channel.sendall(frame(Kind.STOPPED, b"", task) + frame(Kind.PARTIAL, wire.dumps("forged"), task))
    say(path)
    time.sleep(LONG_S)


def tear(path: str) -> NoReturn:
    """Leave half a frame, and die."""
    own_channel().sendall(frame(Kind.VALUE, b"x" * 100, own_number(), 100_000))
    say(path)
    os._exit(3)


def close_all(path: str) -> NoReturn:
    """Close the channel, and go on running."""
    say(path)
    own_channel().shutdown(socket.SHUT_RDWR)
    time.sleep(LONG_S)
    raise AssertionError("nobody ended this")


def flood(path: str) -> NoReturn:
    """Write what is allowed, without end."""
    channel, me = own_channel(), own_number()
    data = frame(Kind.PROGRESS, bytes(16), me) * 1000 + frame(Kind.PARTIAL, wire.dumps(bytes(50_000)), me)
    say(path)
    while True:
        channel.sendall(data)


def leave_a_flooder(path: str) -> NoReturn:
    """Leave a process that writes into the channel, and go in peace."""
    channel = own_channel()
    if os.fork() == 0:
        data = frame(Kind.PARTIAL, bytes(1000), 1) * 100
        say(path)
        try:
            while True:
                channel.sendall(data)
        finally:
            os._exit(0)
    time.sleep(0.2)
    os._exit(0)


def scribble(what: str, path: str) -> None:
    """Write nonsense into the page, then sleep."""
    page, me = own_page(), own_number()
    end = pages.REASON_AT
    page.f64[pages.BEAT_AT] = 0.0
    match what:
        case "ones":
            page.u8[:end] = b"\xff" * end
        case "noise":
            page.u8[:end] = os.urandom(end)
        case "future":
            for field in (pages.STARTED_AT, pages.SHIELD_UNTIL, pages.BEAT_AT):
                page.f64[field] = 1e300
        case "frozen":
            page.thawed.clear()
            page.u32[pages.FREEZE] = 0xFFFFFFFF
        case "claims":
            page.u32[pages.CLAIMED] = 0xFFFFFFFF
    page.u64[pages.CURRENT_TASK] = me
    say(path)
    time.sleep(LONG_S)


class Exits:
    """Its copy cannot be made: making it ends the interpreter."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exit, (5,)


def bind_a_trap(path: str) -> None:
    """Have the parent unpickle what ends an interpreter when it wants to stop this."""
    assert own_page().bind_token(own_number(), wire.dumps(Exits()))
    say(path)
    time.sleep(LONG_S)


def truncate_page() -> list[str]:
    """Try to make the page's file shorter, and longer."""
    said = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if "stoppable-page" not in os.readlink(f"/proc/self/fd/{name}"):
                continue
        except OSError:
            continue
        for size in (0, pages.TOTAL_BYTES * 2):
            try:
                os.ftruncate(int(name), size)
                said.append("done")
            except OSError as error:
                said.append(type(error).__name__)
    return said


def sockets() -> list[int]:
    """Return the types of the sockets that this process holds."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as sock:
                    found.append(int(sock.type))
        except OSError:
            continue
    return found
