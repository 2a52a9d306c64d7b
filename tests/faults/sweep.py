"""Run a scenario again and again, with the first, the second, the third... system call of a kind failing.

`python sweep.py SCENARIO ROLE KIND ERRNO once|on NUMBERS`: forks itself for each run, decides its system calls,
and prints one line of JSON for each. NUMBERS: which call is to fail, as 1,2,5; or `all`. "on": and all that
come after it. It ends with the run that no fault met.
"""

import ctypes
import errno
import faulthandler
import itertools
import json
import os
import pickle
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

# Loaded before anything is forked or counted.
import stoppable.executor
import stoppable.flags.callbacks
import stoppable.shell.tree
from scenarios import BEGIN, END, PUBLISHED, RAN, Report, run
from tampering import Fault, Listener, Roles, matcher, readable, submit_to, take_listener, told

RUN_S = 25.0
LEAVE_S = 5.0


class Run:
    """One run of a scenario, with one fault.

    Attributes:
        met: how many calls failed.
        seen: how many there were of that kind and role.
    """

    def __init__(self, scenario: str, fault: Fault) -> None:
        self.scenario, self.fault = scenario, fault
        self.met = self.seen = 0
        self.ran: Counter[int] = Counter()
        self.published: set[int] = set()
        self.counting = False
        self.problems: list[str] = []
        self.report: Report | None = None

    def do(self) -> None:
        ours, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as log:
            pid = os.fork()
            if pid == 0:
                ours.close()
                _be_the_scenario(self.scenario, self.fault.kind, theirs, log.fileno())
            theirs.close()
            self._supervise(pid, ours)
            ours.close()
            self._judge()
            if self.problems:
                log.seek(0)
                self.problems.append(log.read().decode(errors="replace")[-6000:])

    def _supervise(self, pid: int, ours: socket.socket) -> None:
        until = time.monotonic() + RUN_S
        pidfd = os.pidfd_open(pid)
        listener, roles, matches = Listener(take_listener(ours, pidfd)), Roles(pid), matcher(self.fault.kind)
        raw = b""
        ready: set[int] = set()
        while pidfd not in ready and time.monotonic() < until:
            ready = readable(listener.fd, pidfd, timeout_s=until - time.monotonic())
            if listener.fd in ready and (call := listener.next()) is not None:
                self._decide(listener, call, roles, matches(call))
        if pidfd not in ready:
            self.problems.append(f"hangs: it has not ended in {RUN_S:.0f} s")
            os.kill(pid, signal.SIGKILL)
        # Also after the scenario has ended: what is still there of it must not wait for us.
        ended = time.monotonic() + LEAVE_S
        while children() and time.monotonic() < ended:
            if listener.fd in readable(listener.fd, timeout_s=0.002) and (call := listener.next()) is not None:
                self._decide(listener, call, roles, matches(call))
            _reap(pid)
        self._end_all()  # first: whoever is left has the other end of the socket, too
        while part := ours.recv(1 << 16):
            raw += part
        self.report = pickle.loads(raw) if raw else None
        os.close(listener.fd)
        os.close(pidfd)

    def _decide(self, listener: Listener, call: Any, roles: Roles, matches: bool) -> None:
        role = roles.of(call.tid)
        what = told(call)
        if what is not None:
            self._note(*what)
            listener.answer(call, errno.ENOSYS)
            return
        fault = self.fault
        if not self.counting or not matches or role != fault.role:
            listener.answer(call, None)
            return
        failing = fault.number <= self.seen + 1 <= fault.last
        if listener.answer(call, fault.error if failing else None):
            self.seen += 1
            self.met += failing

    def _note(self, what: int, number: int) -> None:
        if what == BEGIN:
            self.counting = True
        elif what == END:
            self.counting = False
        elif what == RAN:
            self.ran[number] += 1
        elif what == PUBLISHED:
            self.published.add(number)

    def _end_all(self) -> None:
        """Nothing of the scenario may be left; what lost its parent has come to us."""
        for pid in children():
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            self.problems.append(f"left behind: process {pid} ({name})")
            stoppable.shell.tree.kill(pid)
        while children():
            _reap(0)

    def _judge(self) -> None:
        report = self.report
        if report is None:
            self.problems.append("the scenario said nothing")
            return
        self.problems += report.problems
        for number, outcome in report.outcomes.items():
            runs = self.ran[number]
            if runs > 1:
                self.problems.append(f"task {number} ran {runs} times")
            if (outcome == "value" and not runs) or (outcome == "unstarted" and runs):
                self.problems.append(f"task {number} ended as {outcome} and ran {runs} times")
            # A message of the worker that could not be read is lost; all others are not.
            if outcome == "partial None" and number in self.published and self.fault.kind != "recv":
                self.problems.append(f"what task {number} published is lost")


def children() -> list[int]:
    return stoppable.shell.tree.children(os.getpid())


def _reap(pid: int) -> None:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass


def _be_the_scenario(name: str, kind: str, supervisor: socket.socket, log: int) -> NoReturn:
    report = Report()
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        faulthandler.dump_traceback_later(RUN_S - 5, file=2)
        submit_to(supervisor, kind)
        run(name, report)
    except BaseException:
        report.problems.append(f"the scenario failed: {traceback.format_exc()}")
    finally:
        supervisor.sendall(pickle.dumps(report))
        os._exit(0)


def main(scenario: str, role: int, kind: str, error: str, how: str, numbers: Iterable[int]) -> None:
    ctypes.CDLL(None).prctl(36, ctypes.c_ulong(1), 0, 0, 0)  # be the subreaper of whatever a run leaves
    # To ask for the next call blocks if its caller has died since there was one; a signal ends that.
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    for number in numbers:
        one = Run(scenario, Fault(role, kind, number, getattr(errno, error), number if how == "once" else 1 << 40))
        one.do()
        line = {"number": number, "met": one.met, "problems": one.problems}
        print(json.dumps(line | {"notes": one.report.notes if one.report else []}), flush=True)
        if not one.met:
            break
    signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    scenario, role, kind, error, how, numbers = sys.argv[1:]
    given = itertools.count(1) if numbers == "all" else map(int, numbers.split(","))
    main(scenario, int(role), kind, error, how, given)
