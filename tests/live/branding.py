"""A brand that a program and all that it ever starts carry, and finding those who still live.

A resource limit is kept by fork and exec, whatever the process does to its environment, its session or
its parents. RLIMIT_RTTIME limits only real-time processes, which no test has; the library does not use it.
"""

import os
import secrets
import select
import signal
import time
from contextlib import suppress

from watching import describe, is_alive

_RLIMIT_RTTIME = 15
_LINE = b"\nMax realtime timeout"


def new() -> int:
    return secrets.randbits(62)


def take(brand: int) -> None:
    """Have this process and all its descendants carry *brand*."""
    import resource

    resource.setrlimit(_RLIMIT_RTTIME, (brand, resource.getrlimit(_RLIMIT_RTTIME)[1]))


def bearers(brand: int) -> set[int]:
    """Return the living processes that carry *brand*.

    A zombie is none. It keeps its limits until it is reaped, and whoever is process 1 here may take seconds for that.
    """
    found = {int(name) for name in os.listdir("/proc") if name.isdigit() and _brand(name) == brand}
    return set(filter(is_alive, found))


def described(brand: int) -> dict[int, str]:
    """Return the same with what they are."""
    return {pid: describe(pid) for pid in bearers(brand)}


def await_end(brand: int, bound_s: float) -> float | None:
    """Wait until no bearer is alive; return how many seconds that took, or None if it takes longer than the bound."""
    begin = time.monotonic()
    while found := bearers(brand):
        for pid in found:
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                try:
                    ready = select.select([pidfd], [], [], max(0.0, begin + bound_s - time.monotonic()))[0]
                finally:
                    os.close(pidfd)
                if not ready and _brand(str(pid)) == brand:
                    return None
    took_s = time.monotonic() - begin
    return took_s if took_s <= bound_s else None


def kill(brand: int) -> None:
    """Kill all bearers, so that a test that fails leaves none."""
    while found := bearers(brand):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _brand(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            words = file.read().partition(_LINE)[2].split(None, 1)
    except OSError:
        return -1
    return int(words[0]) if words and words[0].isdigit() else -1
