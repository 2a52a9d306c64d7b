"""What Linux says of the processes below this one: who they are, their memory, their processor time, their end."""

import os
import select
import time
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Return the processes below *pid*."""
    found: list[int] = []
    try:
        for each in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (each / "children").read_text().split()):
                found += [child, *descendants(child)]
    except OSError:  # it ended
        pass
    return found


def pss_mb(pid: int) -> float:
    """Return the proportional set size of a process, MB; 0 of one that ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:"))


def rss_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, all its threads, those that ended too; 0 of one that ended.

    The clock that clock_getcpuclockid(3) returns. It counts nanoseconds; /proc/<pid>/stat counts hundredths of a second.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def cpu_below_s(pid: int) -> dict[int, float]:
    """Return the processor time of each process below *pid*."""
    return {each: cpu_s(each) for each in descendants(pid)}


def role(pid: int) -> str:
    """Return what a process that is no worker is for: `warden`, `spare`, `fork_server`, `tracker` or `other`."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        line = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return "other"
    names = {"stoppable-ward": "warden", "stoppable-work": "spare"}
    if name in names:
        return names[name]
    return "tracker" if "resource_tracker" in line else "fork_server" if "forkserver" in line else "other"


class Ends:
    """Processes whose end is waited for."""

    def __init__(self, pids: set[int]) -> None:
        self.fds = [os.pidfd_open(pid) for pid in pids]

    def wait(self, within_s: float) -> bool:
        """Say whether all of them have ended, at most *within_s* from now."""
        until = time.monotonic() + within_s
        return all(select.select([fd], [], [], max(0, until - time.monotonic()))[0] for fd in self.fds)
