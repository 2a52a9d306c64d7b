"""Who a process is: its id alone may be another's tomorrow, so its start time goes with it."""

import errno
import os
import sys
from typing import NamedTuple


class Process(NamedTuple):
    """A process: *pid*, and *start*, its start time in clock ticks since boot (0: not known on this system)."""

    pid: int
    start: int


def me() -> Process:
    """Return this process."""
    pid = os.getpid()
    return Process(pid, start_of(pid) or 0)


def start_of(pid: int) -> int | None:
    """Return when *pid* was started; 0 if this system does not say, None if there is no such process."""
    if sys.platform != "linux":
        return 0 if _exists(pid) else None
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in brackets, may hold anything, so count from the last bracket.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if os.path.exists("/proc/self/stat") else 0
    except OSError:
        return 0
    # A zombie has ended: nothing of it will ever run again.
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(process: Process) -> bool:
    """Return whether *process* still runs, and not another one with its id."""
    start = start_of(process.pid)
    return start is not None and (start == process.start or not start or not process.start)


if sys.platform == "win32":

    def _exists(pid: int) -> bool:
        import ctypes

        # os.kill(pid, 0) would end the process on Windows. SYNCHRONIZE is all we need.
        handle = ctypes.windll.kernel32.OpenProcess(0x00100000, False, pid)
        if not handle:
            return False
        gone: bool = ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == 0
        ctypes.windll.kernel32.CloseHandle(handle)
        return not gone

else:

    def _exists(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except OSError as error:
            return error.errno != errno.ESRCH
        return True
