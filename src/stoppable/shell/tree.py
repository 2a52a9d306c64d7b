"""A process and all its descendants, in whatever session they are: found through /proc, ended by signals.

A process is only signalled while it cannot have been reaped: the caller is its parent, or holds it
stopped. Descendants are found through their parents; each worker is a subreaper, so a descendant
that lost its parent is a child of its worker, and nothing hides outside the tree.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

_REAP_S = 1.0  # for the deaths of all of a killed warden's processes: the signals are sent by then


def children(pid: int) -> list[int]:
    """Return the child processes of *pid*: [] when it has none, or is gone."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except FileNotFoundError:
            if not os.path.exists(f"/proc/{pid}/task/{thread}"):
                continue  # the thread has ended meanwhile
            return _children_by_scan(pid)  # a kernel without CONFIG_PROC_CHILDREN
        except OSError:
            continue
    return found


def _children_by_scan(pid: int) -> list[int]:
    return [other for other in _all_processes() if _parent(other) == pid]


def _all_processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/pid/stat after the name, or []."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def descendants(pid: int) -> list[int]:
    """Return all descendants of *pid*, parents before their children."""
    found = children(pid)
    for child in found:  # grows while we walk
        found += children(child)
    return found


def send(pid: int, signum: int) -> bool:
    """Send a signal; False if there is no such process any more, or it is not ours to signal."""
    try:
        os.kill(pid, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def terminate(pid: int) -> None:
    """Send SIGTERM to *pid*, its group and its descendants, and let the stopped ones go on to see it."""
    targets = descendants(pid)
    with suppress(OSError):
        if sys.platform != "win32" and os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGTERM)
    for target in (pid, *targets):
        send(target, signal.SIGTERM)
        send(target, signal.SIGCONT)


def suspend(pid: int) -> list[int] | None:
    """Have *pid* and all its descendants stand still; return the descendants, or None if there is no such process.

    Top down, until a walk finds no new one: who is stopped cannot fork.
    """
    if not send(pid, signal.SIGSTOP):
        return None
    stopped: dict[int, None] = {}
    while new := [child for child in descendants(pid) if child not in stopped]:
        for child in new:
            send(child, signal.SIGSTOP)
            stopped[child] = None
    return list(stopped)


def go_on(pid: int) -> None:
    """Let *pid* and all its descendants go on; children first, so that no parent sees a child that stands still."""
    for target in (*reversed(descendants(pid)), pid):
        send(target, signal.SIGCONT)


def kill(pid: int) -> None:
    """Kill *pid*, its group and all its descendants.

    They are suspended first, so nobody escapes between being listed and being killed.
    """
    stopped = suspend(pid)
    if stopped is None:
        return
    with suppress(OSError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    for child in stopped:
        send(child, signal.SIGKILL)
    send(pid, signal.SIGKILL)


def reap_as_init(pids: Iterable[int]) -> None:
    """If we are process 1, take the statuses of *pids*, which were killed and have lost their parents.

    In a container without an init of its own nobody else would, and they stayed as zombies.
    """
    if os.getpid() != 1:
        return
    end = time.monotonic() + _REAP_S
    for pid in pids:
        with suppress(OSError):  # no child of ours
            fd = os.pidfd_open(pid)
            try:
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                poll.poll(max(0.0, end - time.monotonic()) * 1000)
            finally:
                os.close(fd)
            os.waitpid(pid, os.WNOHANG)
