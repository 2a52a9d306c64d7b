"""Looking at processes from outside: who is alive, what it is, and waiting until something is so. It ends nothing."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoppable import ProcessPoolExecutor

BOUND_S = 20.0


def until(fact: Callable[[], object], what: str = "", bound_s: float = BOUND_S) -> None:
    """Wait until *fact* is true.

    Raises:
        AssertionError: it is not within *bound_s* seconds.
    """
    end = time.monotonic() + bound_s
    while not fact():
        assert time.monotonic() < end, f"not so within {bound_s} s: {what or fact}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Say whether *pid* is a process that has not ended; a zombie has."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def name_of(pid: int) -> str:
    """Return the short name that the kernel shows for *pid*, or ''."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def describe(pid: int) -> str:
    """Return the name and the command line of *pid*."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        command = b""
    return f"{name_of(pid)}: {command.replace(bytes(1), b' ').decode(errors='replace')[:150]}"


def say(path: str | os.PathLike[str], text: str = "") -> None:
    """Write *text* (this process's id, if none is given) to a new file; whoever sees the file sees all of it."""
    part = Path(f"{path}.{os.getpid()}.part")
    part.write_text(text or str(os.getpid()))
    part.rename(path)


def await_file(path: str | os.PathLike[str], bound_s: float = BOUND_S) -> str:
    """Wait until the file is there and return what is in it."""
    until(Path(path).exists, f"there is a file {path}", bound_s)
    return Path(path).read_text()


def make_quick(pool: "ProcessPoolExecutor", ahead: int = 16) -> None:
    """Run short tasks until *pool* sends so many ahead: how many that takes depends on what else the machine does."""
    pool.submit(int).result(BOUND_S)
    assert pool._reactor is not None
    machine = pool._reactor.machine
    until(lambda: pool.submit(int).result(BOUND_S) == 0 and machine.ahead >= ahead, "it sends ahead")


def once_it_waits(call: Callable[[], object]) -> None:
    """Have *call* called, in another thread, when the main thread waits for a pool's or a group's end.

    A Ctrl-C in the bytecodes between the block and that wait is nobody's.
    """
    main = threading.main_thread().ident

    def look() -> None:
        while "latch.py" not in sys._current_frames()[main or 0].f_code.co_filename:
            time.sleep(0.005)
        call()

    threading.Thread(target=look, daemon=True).start()
