"""The warden: a small process with one thread that forks the workers, reaps them, and outlives the parent.

Why it exists. Forking from a process with threads is unsafe, and this one has none. Workers carry
PR_SET_PDEATHSIG on it, which is bound to the forking thread: here there is only one, as old as the
process. It is a subreaper, so whatever escapes a dead worker comes to it, without touching the
user's own process. And it sees the parent's end whatever the parent was doing, and carries out the
stop of everything, even of a worker inside a C call that holds the GIL.

It must never start a thread, run user code, or wait for anything but its poll (and some milliseconds in `_let_die`).

Invariants:
1. A worker's process id is signalled only while it is in `workers`: it is our child, not yet reaped.
2. BORN of a worker is sent before its EXITED.
3. When the parent is gone, or has closed the control socket, nothing below us is left before we end.
"""

import errno
import gc
import os
import select
import signal
import socket
import time
from contextlib import suppress
from typing import NamedTuple, NoReturn

from stoppable.shell import marks, tree
from stoppable.shell.control import Control, Op
from stoppable.worker import start

# What a dead worker leaves is killed with it, but the kernel may take a while to free a large process. The
# worker's end is told when that is done, so that a future is done when its work is.
_ORPHANS_S = 5.0
_LOOK_MS = 100
_DEATH_S = 0.004  # most killed processes are gone by then, if a CPU is free for them
_HANDLES = 64  # so many workers are signalled by the parent itself, which has a descriptor more for each
# Those of the orders that are one signal to the worker alone.
SIGNALS: dict[int, int] = {Op.INTERRUPT: signal.SIGINT, Op.STACK: start.STACK_SIGNAL, Op.DUMP: start.DUMP_SIGNAL}


class Newborn(NamedTuple):
    """What a forked worker needs to begin."""

    worker: int
    sock: socket.socket
    page_fd: int


class Warden:
    """The warden's state. `run` returns only in a newly forked worker.

    Args:
        control: to the parent.
        parent: its process id.
        strays: the marks of processes to end with the parent, although they may not be below us.
    """

    def __init__(self, control: Control, parent: int, strays: range = range(0)) -> None:
        self.control = control
        self.parent = parent
        self.strays = strays
        self.workers: dict[int, int] = {}  # worker id -> process id, until reaped
        self.ids: dict[int, int] = {}
        # Workers that are dead, whose processes are not yet: status, those processes, until when to wait.
        self.dying: dict[int, tuple[int, set[int], float]] = {}
        self.left: set[int] = set()  # processes that tasks left behind when their worker retired in peace
        self.guarded: dict[int, int] = {}  # pidfd -> process id, of workers that are not our children
        self.wake = -1  # readable when a child has died, or was stopped
        self.poll = select.poll()
        self.fds: list[int] = []
        self.parents_end: list[int] = []  # the parent's pidfd, if the kernel has such

    def run(self) -> Newborn:
        """Serve until the parent is gone, then end this process; return only in a forked worker."""
        self._watch()
        while True:
            for fd, _ in self.poll.poll(_LOOK_MS if self.dying else None):
                if fd == self.wake:
                    self._reap()
                elif fd == self.control.sock.fileno():
                    newborn = self._serve()
                    if newborn is not None:
                        return newborn
                elif fd in self.guarded:
                    self._forget_guarded(fd)
                else:
                    self._end()  # the parent's pidfd
            if self.dying:
                self._bury_dying()

    def _watch(self) -> None:
        """Set up what wakes us: the control socket, our children, the parent's end."""
        self.wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self.fds = [self.wake, waker]
        self.poll.register(self.wake, select.POLLIN)
        self.poll.register(self.control.sock.fileno(), select.POLLIN)
        start.be_woken_by_the_end_of_the_parent()
        try:
            parent = os.pidfd_open(self.parent)
        except OSError as error:
            if error.errno == errno.ESRCH:
                self._end()
        else:
            self.fds.append(parent)
            self.parents_end = [parent]
            self.poll.register(parent, select.POLLIN)
        # Without pidfd (Linux < 5.3) the end of the control socket is what tells us; a forked sibling
        # of ours that inherited the parent's end can then delay it.
        if os.getppid() != self.parent:
            self._end()

    # --- the parent's orders -----------------------------------------------------------------

    def _serve(self) -> Newborn | None:
        while True:
            try:
                got = self.control.receive()
            except BlockingIOError:
                return None
            if got is None:
                self._end()  # the parent has closed it
            message, fds = got
            if message.op == Op.SPAWN:
                self._let_die(message.value)
                newborn = self._fork(message.who, fds)
                if newborn is not None:
                    return newborn
            elif message.op == Op.GUARD:
                self._guard(message.value, fds)
            elif (pid := self.workers.get(message.who)) is not None:
                carry_out(message.op, pid)

    def _let_die(self, pid: int) -> None:
        """Let who was just killed end before a fork: that takes a CPU for some milliseconds, and nobody waits for it."""
        until = time.monotonic() + _DEATH_S
        while pid in self.ids and (left_s := until - time.monotonic()) > 0:
            select.select([self.wake], [], [], left_s)
            self._reap()

    def _fork(self, worker: int, fds: list[int]) -> Newborn | None:
        if len(fds) < 2:
            for fd in fds:
                os.close(fd)
            self._tell(Op.FAILED, worker, errno.EMFILE)
            return None
        sock_fd, page_fd = fds
        gc.freeze()  # what is shared with the children stays shared
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(Op.FAILED, worker, error.errno or errno.EAGAIN)
        else:
            if pid == 0:
                return self._be_born(worker, sock_fd, page_fd)
            self.workers[worker] = pid
            self.ids[pid] = worker
            self._announce(worker, pid)
        os.close(sock_fd)
        os.close(page_fd)
        return None

    def _announce(self, worker: int, pid: int) -> None:
        """Tell the parent of a newborn, with a handle of it if it is one of a few, and such is to be had and to be sent."""
        pidfd: int | None = None
        try:
            if len(self.workers) <= _HANDLES:
                pidfd = os.pidfd_open(pid)
                self._tell(Op.BORN, worker, pid, (pidfd,))
                return
        except OSError:  # nothing was sent
            pass
        finally:
            if pidfd is not None:
                os.close(pidfd)
        self._tell(Op.BORN, worker, pid)

    def _be_born(self, worker: int, sock_fd: int, page_fd: int) -> Newborn:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.control.close()
        for fd in self.fds:
            os.close(fd)
        return Newborn(worker, socket.socket(fileno=sock_fd), page_fd)

    def _guard(self, pid: int, pidfds: list[int]) -> None:
        """Note whom to end with the parent: the parent and the process itself say it, whoever comes first."""
        for pidfd in pidfds:
            self.guarded[pidfd] = pid
            self.poll.register(pidfd, select.POLLIN)

    def _tell(self, op: Op, who: int, value: int, fds: tuple[int, ...] = ()) -> None:
        try:
            self.control.send(op, who, value, fds)
            while self.control.waiting:  # the parent is slow: nothing is more urgent than not losing this
                if select.select(self.parents_end, [self.control.sock], [], 1.0)[0]:
                    self._end()  # a fork of the parent holds the other end, which nobody reads any more
                self.control.flush()
        except (BrokenPipeError, ConnectionError):
            self._end()

    # --- the dead ----------------------------------------------------------------------------

    def _reap(self) -> None:
        """Reap the dead, end what they left, and report them."""
        with suppress(BlockingIOError):
            os.read(self.wake, 4096)
        dead = self._dead()
        while any(worker is not None for worker, _ in dead):
            # Whose was an orphan? Nothing says, once its worker is dead. But who died before this list of
            # orphans was made can be reaped after it: so whoever is in it was left by one of `dead`.
            orphans = {pid for pid in tree.children(os.getpid()) if pid not in self.ids and pid not in self.left}
            if later := self._dead():
                dead += later
                continue
            workers = [(worker, status) for worker, status in dead if worker is not None]
            killed = self._see_to(orphans, in_peace=all(status == 0 for _, status in workers))
            for worker, status in workers:
                if killed:
                    self.dying[worker] = status, set(killed), time.monotonic() + _ORPHANS_S
                else:
                    self._tell(Op.EXITED, worker, status)
            return

    def _dead(self) -> list[tuple[int | None, int]]:
        """Reap all that have died; return which workers they were (None: none of them), and their statuses."""
        dead: list[tuple[int | None, int]] = []
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                self.left.discard(pid)
                worker = self.ids.pop(pid, None)
                if worker is not None:
                    del self.workers[worker]
                dead.append((worker, status))
        return dead

    def _bury_dying(self) -> None:
        """Tell of the dead workers of which nothing is left, or not within the time that we wait for that."""
        mine = set(tree.children(os.getpid()))
        known = self.left.union(self.ids, *(pids for _, pids, _ in self.dying.values()))
        for worker, (status, pids, until) in list(self.dying.items()):
            late = mine - known  # their own children have come to us in their place
            for pid in late:
                tree.kill(pid)
            known |= late
            pids |= late
            pids &= mine
            if not pids or time.monotonic() >= until:
                del self.dying[worker]
                self._tell(Op.EXITED, worker, status)

    def _see_to(self, orphans: set[int], *, in_peace: bool) -> set[int]:
        """See to what the dead left: a task that ended well may leave processes, until the pool ends.

        Returns what was killed, and is not yet reaped.
        """
        if in_peace:
            self.left.update(orphans)
            return set()
        for pid in orphans:
            tree.kill(pid)
        return orphans

    def _forget_guarded(self, pidfd: int) -> None:
        self.poll.unregister(pidfd)
        os.close(pidfd)
        del self.guarded[pidfd]

    def _take_last_orders(self) -> None:
        """Learn whom else to guard: the parent's end may be seen before its last orders are read.

        Who wants to be guarded from now on is told that there is no guard: it cannot send.
        """
        with suppress(OSError):
            self.control.sock.shutdown(socket.SHUT_RD)
        with suppress(BlockingIOError):
            while (got := self.control.receive()) is not None:
                message, fds = got
                if message.op == Op.GUARD:
                    self._guard(message.value, fds)
                else:
                    for fd in fds:
                        os.close(fd)

    def _end(self) -> NoReturn:
        """Kill all that is below us, wait until it is gone, and end this process."""
        signal.set_wakeup_fd(-1)
        self._take_last_orders()
        for pidfd, pid in self.guarded.items():
            with suppress(ProcessLookupError):
                # Once it is stopped, its id stays its own.
                signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
                tree.kill(pid)
        if self.strays:
            marks.kill_all(self.strays)
        while below := tree.children(os.getpid()):
            for pid in below:
                tree.kill(pid)
            with suppress(ChildProcessError):
                os.waitpid(-1, 0)
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        os._exit(0)


def carry_out(op: int, pid: int) -> None:
    """Do to the worker *pid*, which cannot have been reaped, what *op* says."""
    if (signum := SIGNALS.get(op)) is not None:
        tree.send(pid, signum)
    elif op == Op.TERMINATE:
        tree.terminate(pid)
    elif op == Op.KILL:
        tree.kill(pid)
    elif op == Op.SUSPEND:
        tree.suspend(pid)
    elif op == Op.CONTINUE:
        tree.go_on(pid)
