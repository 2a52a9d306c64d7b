"""The marks of a pool: a number that every process below it carries, whatever it does to be on its own.

A process whose parents have ended, in a session of its own, with no descriptor and no variable of ours,
is nobody's descendant any more. What it still has are its resource limits: fork and exec keep them.
RLIMIT_LOCKS has limited nothing since Linux 2.4.25 (see getrlimit(2)), so its soft limit can say whose a
process is. A pool in a task puts its own mark over ours; it ends its own processes when it loses us.
"""

import os
import signal
from contextlib import suppress

_RLIMIT_LOCKS = 10
_LINE = b"\nMax file locks"
_COUNT = 1 << 24


def new() -> range:
    """Return the marks of a new pool: the first is the pool's, each other one is for one worker."""
    first = (int.from_bytes(os.urandom(5), "little") >> 2) * _COUNT
    return range(first, first + _COUNT)


def one(marks: range, worker: int) -> range:
    """Return the mark of *worker* alone."""
    return marks[worker % _COUNT :][:1]


def put(mark: int) -> None:
    """Have this process, and all that will be below it, carry *mark*."""
    import resource

    with suppress(ValueError, OSError):  # a hard limit below the mark: what escapes is then found by descent only
        resource.setrlimit(_RLIMIT_LOCKS, (mark, resource.getrlimit(_RLIMIT_LOCKS)[1]))


def kill_all(marks: range) -> set[int]:
    """Kill every process that carries one of *marks*; return which."""
    killed: set[int] = set()
    while new := {pid for pid in _all_processes() if pid not in killed and _kill_if_marked(pid, marks)}:
        killed |= new  # one that was just being forked is found by the next look
    return killed


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _kill_if_marked(pid: int, marks: range) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Read while we hold the pidfd: the id cannot have been given to another process meanwhile.
        with open(f"/proc/{pid}/limits", "rb") as file:
            if _read(file.read()) not in marks:
                return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def _read(limits: bytes) -> int:
    """Return the mark in the text of /proc/pid/limits, or -1. A zombie's is empty."""
    words = limits.partition(_LINE)[2].split(None, 1)
    return int(words[0]) if words and words[0].isdigit() else -1
