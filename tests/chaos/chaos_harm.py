"""Signals from outside to the processes of a pool: to workers and to the warden, at planned and at random moments.

A process is held by a pidfd and looked at before it is signalled, so no number that was given to
another process meanwhile is ever hit.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Self

from chaos_history import HarmDone, read_log
from chaos_plan import Order
from chaos_tasks import BEGUN

_STEP_S = 0.003


def send(pid: int, signum: int, fits: Callable[[int], bool]) -> tuple[float, float] | None:
    """Send the signal if *pid* is a process that *fits*; return when that began and ended, or None."""
    try:
        held = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        if not fits(pid):
            return None
        began = time.monotonic()
        signal.pidfd_send_signal(held, signum)
        return began, time.monotonic()
    except OSError:
        return None
    finally:
        os.close(held)


def parent_of(pid: int) -> int:
    """Return the process id of the parent of *pid*, or 0."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


class Harmer:
    """A thread that harms, until told to end. What it did is in `done`.

    Args:
        seed: of its own choices, which depend on time too.
        log: where the tasks write; tells which process runs what.
        orders: by number; some say that their worker is to be harmed once they have begun.
        workers: returns the process ids of the workers.
        warden: returns the process id of the warden, or None where there is none to be harmed.
        torn: returns the worker of which half a message has been read, or None.
        parent: returns whose children the workers must be; None: they are the warden's.
        every_s: between two signals to workers, on average; `warden_every_s` for the warden.
    """

    def __init__(
        self,
        seed: int,
        log: str,
        orders: dict[int, Order],
        workers: Callable[[], list[int]],
        warden: Callable[[], int | None],
        torn: Callable[[], int | None] = lambda: None,
        parent: Callable[[], int | None] | None = None,
        every_s: float = 0.06,
        warden_every_s: float = 4.0,
    ) -> None:
        self._rng = random.Random(seed)
        self._log, self._orders = log, orders
        self._workers, self._warden, self._torn, self._parent = workers, warden, torn, parent or warden
        self._every_s, self._warden_every_s = every_s, warden_every_s
        self._over = threading.Event()
        self._stopped: list[tuple[float, int, bool]] = []  # when to continue whom
        self._planned: list[tuple[float, int, int]] = []
        self._read = 0
        self.done: list[HarmDone] = []
        self._thread = threading.Thread(target=self._run, name="harmer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        rng = self._rng
        next_worker = time.monotonic() + rng.expovariate(1 / self._every_s)
        next_warden = time.monotonic() + rng.expovariate(1 / self._warden_every_s)
        while not self._over.wait(_STEP_S):
            now = time.monotonic()
            self._continue(now)
            self._follow_plan(now)
            if now >= next_worker:
                next_worker = now + rng.expovariate(1 / self._every_s)
                self._harm_some_worker()
            if now >= next_warden:
                next_warden = now + rng.expovariate(1 / self._warden_every_s)
                warden = self._warden()
                if warden is not None:
                    self._harm(warden, signal.SIGKILL if rng.random() < 0.7 else signal.SIGSTOP, warden=True)
        self._continue(float("inf"))

    def _continue(self, now: float) -> None:
        for entry in [entry for entry in self._stopped if entry[0] <= now]:
            self._stopped.remove(entry)
            self._send(entry[1], signal.SIGCONT, warden=entry[2])

    def _follow_plan(self, now: float) -> None:
        for record in read_log(self._log, self._read):
            self._read = record.place + 24
            harm = self._orders[record.number].harm if record.what == BEGUN else None
            if harm is not None:
                self._planned.append((record.at + harm.after_s, record.pid, harm.signum))
        for entry in [entry for entry in self._planned if entry[0] <= now]:
            self._planned.remove(entry)
            self._harm(entry[1], entry[2])

    def _harm_some_worker(self) -> None:
        rng = self._rng
        pid = self._torn() if rng.random() < 0.3 else None
        workers = self._workers()
        if pid is None and not workers:
            return
        pid = pid or rng.choice(workers)
        signum = rng.choices((signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT), (60, 35, 5))[0]
        self._harm(pid, signum)
        if signum == signal.SIGSTOP and rng.random() < 0.3:
            self._harm(pid, signal.SIGKILL)

    def _harm(self, pid: int, signum: int, *, warden: bool = False) -> None:
        if self._send(pid, signum, warden=warden) and signum == signal.SIGSTOP:
            self._stopped.append((time.monotonic() + self._rng.uniform(0, 0.3), pid, warden))

    def _send(self, pid: int, signum: int, *, warden: bool) -> bool:
        parent = os.getpid() if warden else self._parent()
        sent = send(pid, signum, lambda pid: parent_of(pid) == parent)
        if sent is not None and signum != signal.SIGCONT:
            self.done.append(HarmDone(pid, signum, *sent, warden=warden))
        return sent is not None
