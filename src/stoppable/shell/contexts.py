"""Launchers for an `mp_context`: the same orders, other ways to start.

`ForkLauncher` (fork): the warden is a fork of the user's process.
`ContextLauncher` (spawn or forkserver): the workers are processes of that context; the
warden has none of its own, and only ends them if the parent dies.

They only launch and deliver; they decide nothing. All are used by the reactor's thread alone.
"""

import errno
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from stoppable.shell import marks, warden, warden_main
from stoppable.shell.control import Control, Op
from stoppable.shell.launch import WardenLauncher
from stoppable.shell.news import Gone, Lost, News
from stoppable.worker.main import work
from stoppable.worker.setup import Setup

_GUARD_WAIT_S = 10.0  # for a guard that is told so much at once that it reads no more


class ForkLauncher(WardenLauncher):
    """The same, but the warden is a fork of this process, and so are its workers.

    Must be started before the reactor's thread, for the sake of a clean copy.
    """

    eager = True

    def __init__(self, setup: Setup, context: BaseContext) -> None:
        super().__init__(setup)
        self._context = context
        setup.inherited = True

    def _start_warden(self, ours: socket.socket, theirs: socket.socket) -> BaseProcess:
        context: Any = self._context
        process: BaseProcess = context.Process(
            target=warden_main.fork_main,
            args=(theirs, ours.fileno(), os.getpid(), self.setup, self.marks.start),
            name=f"{self.setup.name}-warden",
        )
        process.start()
        return process

    def first_frame(self) -> bytes:
        return b""


class ContextLauncher(WardenLauncher):
    """Workers are processes of a multiprocessing context; the warden only guards them."""

    guards = True

    def __init__(self, setup: Setup, context: BaseContext) -> None:
        super().__init__(setup)
        self._context = context
        self._processes: dict[int, BaseProcess] = {}
        setup.inherited = True  # the context sets up `__main__` and the paths itself

    def spawn(self, worker: int, sock: socket.socket, page_fd: int) -> None:
        context: Any = self._context
        control, mark = self.control, marks.one(self.marks, worker).start
        assert control is not None
        process: BaseProcess = context.Process(
            target=_context_main,
            args=(_Duplicate(sock.fileno()), _Duplicate(page_fd), _Duplicate(control.sock.fileno()), mark, self.setup),
            name=f"{self.setup.name}-{worker}",
        )
        try:
            process.start()
        except AssertionError as error:  # "daemonic processes are not allowed to have children"
            raise OSError(errno.EPERM, f"{error}; leave mp_context out, then a pool works here, too") from None
        assert process.pid is not None
        self._processes[worker] = process
        self.living[worker] = process.pid
        if self._context.get_start_method() == "spawn":
            with suppress(OSError):
                self._pidfds[worker] = os.pidfd_open(process.pid)
        with suppress(OSError):
            _guard(control, process.pid)

    def first_frame(self) -> bytes:
        return b""

    def deliver(self, op: Op, worker: int) -> None:
        pid = self.living.get(worker)
        if pid is not None and self._processes[worker].exitcode is None:
            warden.carry_out(op, pid)

    def sentinels(self) -> dict[int, int]:
        # The sentinel of a spawned process is the end of a pipe, which whatever its task forked holds open;
        # that of the fork server's is written to.
        return {self._pidfds.get(worker, process.sentinel): worker for worker, process in self._processes.items()}

    def reap(self, worker: int) -> News | None:
        process = self._processes.get(worker)
        if process is None:
            return None
        code = process.exitcode
        if code is None:
            process.join(1.0)  # its pipe ends a little before itself
            code = process.exitcode
        if code is None:
            return None
        del self._processes[worker]
        self._forget(worker)
        process.close()
        if code != 0:
            marks.kill_all(marks.one(self.marks, worker))  # a worker that ends well may leave processes
        return Gone(worker, code, code == -signal.SIGKILL)

    def _lost(self) -> Iterator[News]:
        """A guard that was killed is replaced; the workers are not its children and live on."""
        yield Lost()
        self._end_warden()
        control = self.start()
        for pid in self.living.values():
            with suppress(OSError):
                _guard(control, pid or 0)


def _guard(control: Control, pid: int) -> None:
    """Have the process ended when the parent is gone.

    Raises:
        OSError: it has ended, or the guard has.
    """
    pidfd = os.pidfd_open(pid)
    try:
        control.send(Op.GUARD, 0, pid, fds=(pidfd,))
    finally:
        os.close(pidfd)


class _Duplicate:
    """A descriptor that travels in a process's arguments, by whatever way its context has."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __getstate__(self) -> Any:
        from multiprocessing.reduction import DupFd

        return DupFd(self._fd)

    def __setstate__(self, travelled: Any) -> None:
        self._fd = travelled.detach()

    def detach(self) -> int:
        os.set_inheritable(self._fd, False)  # it came through an exec, and must not go on through another
        return self._fd


def _context_main(sock: _Duplicate, page: _Duplicate, control: _Duplicate, mark: int, setup: Setup) -> None:
    """Be a worker in a process that a multiprocessing context has started."""
    marks.put(mark)
    if not _is_guarded(Control(socket.socket(fileno=control.detach()))):
        os._exit(1)  # the parent is gone; or the guard alone, then the pool starts another worker, too
    work(socket.socket(fileno=sock.detach()), page.detach(), setup)


def _is_guarded(control: Control) -> bool:
    """Say to the guard that it shall end this process with the parent; False if there is no guard any more.

    The parent says it, too, as soon as it has our process id; but it can be killed before.
    """
    try:
        _guard(control, os.getpid())
        end = time.monotonic() + _GUARD_WAIT_S
        while control.waiting and time.monotonic() < end:
            select.select([], [control.sock], [], 1.0)
            control.flush()
        return not control.waiting
    except OSError:
        return False
    finally:
        control.close()


def launcher(setup: Setup, context: BaseContext | None) -> WardenLauncher:
    """Return the launcher for *context*; None is our own way."""
    if context is None:
        return WardenLauncher(setup)
    if context.get_start_method() == "fork":
        return ForkLauncher(setup, context)
    return ContextLauncher(setup, context)
