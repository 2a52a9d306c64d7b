"""How workers come to be, and how signals reach them: one class for each kind of start.

`WardenLauncher` (the default): a fresh interpreter is the warden, which forks the workers.
`ForkLauncher` (`mp_context` fork): the warden is a fork of the user's process.
`ContextLauncher` (`mp_context` spawn or forkserver): the workers are processes of that context; the
warden has none of its own, and only ends them if the parent dies.

They only launch and deliver; they decide nothing. All are used by the reactor's thread alone.
"""

import errno
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from stoppable import wire
from stoppable.shell import marks, tree, warden
from stoppable.shell.control import Control, Op
from stoppable.shell.news import Born, Gone, Lost, News, NotBorn
from stoppable.shell.watch import is_readable
from stoppable.worker.main import work
from stoppable.worker.setup import Setup

_STUB = (
    "import os,sys,marshal\n"
    "parent,path,first,last,guards=marshal.loads(os.read({fd},1<<20))\n"
    "sys.path[:]=path\n"
    "from stoppable.shell.warden import main\n"
    "main({fd},parent,range(first,last),guards)"
)


_GUARD_WAIT_S = 10.0  # for a guard that is told so much at once that it reads no more
_FAILED = (
    "no worker could be started: the pool's warden, from which they are forked, ended with exit code {code}; "
    "its own message is on stderr. It is started as `{executable} -c ...` and must find this package there"
)


class WardenLauncher:
    """Workers forked by a warden of our own.

    Args:
        setup: what each worker sets up.
    """

    eager = False  # whether it must be started before the first thread of the pool
    guards = False  # whether the warden only ends workers that others have started

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.control: Control | None = None
        self.living: dict[int, int | None] = {}  # worker -> process id, None until it is born
        self.pidfd: int | None = None  # readable when the warden is dead; None on an old kernel
        self._process: subprocess.Popen[bytes] | BaseProcess | None = None
        self._setup_frame: bytes | None = None
        self.marks = marks.new()  # how what escaped is found if the warden is killed

    # --- start and end -----------------------------------------------------------------------

    def start(self) -> Control:
        """Start the warden and return its control socket. It needs no answer: orders may follow at once.

        Raises:
            OSError: no process is to be had.
        """
        if not os.path.exists("/proc/self/fd"):
            raise OSError(errno.ENOENT, "a pool needs /proc, and it is not mounted here")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = self._start_warden(ours, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        with suppress(OSError):
            self.pidfd = os.pidfd_open(self._process.pid or 0)
        self.control = Control(ours)
        return self.control

    def _start_warden(self, ours: socket.socket, theirs: socket.socket) -> "subprocess.Popen[bytes] | BaseProcess":
        fd = theirs.fileno()
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
        ours.send(marshal.dumps((os.getpid(), sys.path, self.marks.start, self.marks.stop, self.guards)))
        return subprocess.Popen(
            [_executable(), *flags, "-c", _STUB.format(fd=fd)],
            stdin=subprocess.DEVNULL,
            pass_fds=[fd],
            start_new_session=True,
        )

    def first_frame(self) -> bytes:
        """Return what each worker reads first: its setup, or nothing if it has that already.

        Raises:
            Exception: the initializer or its arguments do not pickle.
        """
        if self._setup_frame is None:
            body = wire.dumps(self.setup, by_value=not wire.main_is_importable())
            self._setup_frame = wire.head(wire.Kind.SETUP, len(body)) + body
        return self._setup_frame

    def end(self) -> int | None:
        """Let the warden end, with all that is still below it, and wait for that; return its exit code if it had one."""
        if self.control is not None:
            with suppress(OSError):
                # Closing alone tells the warden nothing while a fork of this process holds a copy.
                self.control.sock.shutdown(socket.SHUT_RDWR)
            self.control.close()
            self.control = None
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        process, self._process = self._process, None
        if process is not None and process.pid is not None:
            with suppress(OSError):
                os.kill(process.pid, signal.SIGCONT)  # our child, not reaped: one that was stopped would never end
        self.living.clear()
        if isinstance(process, subprocess.Popen):
            return process.wait()
        code = None
        if process is not None:
            process.join()
            code = process.exitcode
            process.close()
        return code

    # --- orders ------------------------------------------------------------------------------

    def spawn(self, worker: int, sock: socket.socket, page_fd: int) -> None:
        """Order a worker. Its birth, or that it failed, is told by `news`.

        Raises:
            OSError: it could not be ordered.
        """
        assert self.control is not None
        self.living[worker] = None
        try:
            self.control.send(Op.SPAWN, worker, fds=(sock.fileno(), page_fd))
        except ConnectionError:
            pass  # the warden is gone: `news` will say so, and why
        except OSError:
            del self.living[worker]
            raise

    def deliver(self, op: Op, worker: int) -> None:
        """Have INTERRUPT, TERMINATE, KILL, STACK or DUMP carried out on the worker; nothing if it is gone."""
        if worker in self.living and self.control is not None:
            try:
                self.control.send(op, worker)
            except ConnectionError:
                pass  # the warden is gone, and the worker with it
            except OSError:
                # It can be told nothing more. The end of the socket needs no message, and ends them all.
                with suppress(OSError):
                    self.control.sock.shutdown(socket.SHUT_RDWR)

    # --- news --------------------------------------------------------------------------------

    def news(self) -> Iterator[News]:
        """Yield what the warden says now. When it has died: its workers have died with it."""
        assert self.control is not None
        while True:
            dead = is_readable(self.pidfd)  # looked at first, so that what it said before is heard
            try:
                got = self.control.receive()
            except BlockingIOError:
                if not dead:
                    return
                got = None  # a newborn that has not closed its copy of the socket hides the end of it
            if got is None:
                yield from self._lost()
                return
            (op, who, value), _ = got
            if op == Op.BORN and who in self.living:
                self.living[who] = value
                yield Born(who, value)
            elif op == Op.EXITED and who in self.living:
                del self.living[who]
                code = os.waitstatus_to_exitcode(value)
                yield Gone(who, code, code == -signal.SIGKILL)
            elif op == Op.FAILED and who in self.living:
                del self.living[who]
                yield NotBorn(who, OSError(value, os.strerror(value)))

    def _lost(self) -> Iterator[News]:
        """Clean up after a warden that was killed: the kernel has killed its workers, we end what they left."""
        yield Lost()
        lost = dict(self.living)
        code = self.end()
        killed = marks.kill_all(self.marks)
        tree.reap_as_init(killed | {pid for pid in lost.values() if pid is not None})
        # A warden that was killed says nothing about the next one; one that ended by itself does.
        failed = code is not None and code > 0
        why = _FAILED.format(code=code, executable=_executable()) if failed else ""
        for worker in lost:
            yield Gone(worker, None, not failed, why)

    def sentinels(self) -> dict[int, int]:
        """Return descriptors that become readable when a worker ends, with the worker: none here."""
        return {}

    def reap(self, _worker: int) -> News | None:
        """Return what became of the worker whose sentinel is readable."""
        return None


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
            target=warden.fork_main,
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
        self._pidfds: dict[int, int] = {}  # of those that are our own children
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
        if worker in self._pidfds:
            os.close(self._pidfds.pop(worker))
        del self._processes[worker], self.living[worker]
        process.close()
        if code != 0:
            marks.kill_all(marks.one(self.marks, worker))  # a worker that ends well may leave processes
        return Gone(worker, code, code == -signal.SIGKILL)

    def end(self) -> int | None:
        code = super().end()
        while self._pidfds:
            os.close(self._pidfds.popitem()[1])
        return code

    def _lost(self) -> Iterator[News]:
        """A guard that was killed is replaced; the workers are not its children and live on."""
        yield Lost()
        living = dict(self.living)
        super().end()
        self.living = living
        control = self.start()
        for pid in living.values():
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


def _executable() -> str:
    """Return the Python that multiprocessing would start, which a program may have set."""
    from multiprocessing.spawn import get_executable

    return os.fsdecode(get_executable())


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
