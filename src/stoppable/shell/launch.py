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
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from stoppable import wire
from stoppable.shell import warden
from stoppable.shell.control import Control, Op
from stoppable.worker.main import work
from stoppable.worker.setup import Setup

_STUB = (
    "import os,sys,marshal\n"
    "parent,path=marshal.loads(os.read({fd},1<<20))\n"
    "sys.path[:]=path\n"
    "from stoppable.shell.warden import main\n"
    "main({fd},parent)"
)


MARK = "STOPPABLE_WARDEN"


class Born(NamedTuple):
    worker: int
    pid: int


class Gone(NamedTuple):
    """The worker was reaped; `code` is negative for a signal, None if it could not be learnt."""

    worker: int
    code: int | None


class NotBorn(NamedTuple):
    worker: int
    error: OSError


class Lost(NamedTuple):
    """The warden has died; its control socket is about to be closed."""


News = Born | Gone | NotBorn | Lost


class WardenLauncher:
    """Workers forked by a warden of our own.

    Args:
        setup: what each worker sets up.
    """

    eager = False  # whether it must be started before the first thread of the pool

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.control: Control | None = None
        self.living: dict[int, int | None] = {}  # worker -> process id, None until it is born
        self._process: subprocess.Popen[bytes] | BaseProcess | None = None
        self._setup_frame: bytes | None = None
        # In the environment of the warden and all below it: how what escaped is found if the warden is killed.
        self.mark = f"{os.getpid()}-{secrets.token_hex(8)}"

    # --- start and end -----------------------------------------------------------------------

    def start(self) -> Control:
        """Start the warden and return its control socket. It needs no answer: orders may follow at once.

        Raises:
            OSError: no process is to be had.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = self._start_warden(ours, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.control = Control(ours)
        return self.control

    def _start_warden(self, ours: socket.socket, theirs: socket.socket) -> "subprocess.Popen[bytes] | BaseProcess":
        from multiprocessing.spawn import get_executable

        fd = theirs.fileno()
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
        ours.send(marshal.dumps((os.getpid(), sys.path)))
        return subprocess.Popen(
            [os.fsdecode(get_executable()), *flags, "-c", _STUB.format(fd=fd)],
            stdin=subprocess.DEVNULL,
            env={**os.environ, MARK: self.mark},
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

    def end(self) -> None:
        """Let the warden end, with all that is still below it, and wait for that."""
        if self.control is not None:
            with suppress(OSError):
                # Closing alone tells the warden nothing while a fork of this process holds a copy.
                self.control.sock.shutdown(socket.SHUT_RDWR)
            self.control.close()
            self.control = None
        process, self._process = self._process, None
        if isinstance(process, subprocess.Popen):
            process.wait()
        elif process is not None:
            process.join()
            process.close()
        self.living.clear()

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
        except OSError:
            del self.living[worker]
            raise

    def deliver(self, op: Op, worker: int) -> None:
        """Have INTERRUPT, TERMINATE, KILL or STACK carried out on the worker; nothing if it is gone."""
        if worker in self.living and self.control is not None:
            with suppress(OSError):  # the warden is gone, and the worker with it
                self.control.send(op, worker)

    # --- news --------------------------------------------------------------------------------

    def news(self) -> Iterator[News]:
        """Yield what the warden says now. When it has died: its workers have died with it."""
        assert self.control is not None
        while True:
            try:
                got = self.control.receive()
            except BlockingIOError:
                return
            if got is None:
                yield from self._lost()
                return
            (op, who, value), _ = got
            if op == Op.BORN and who in self.living:
                self.living[who] = value
                yield Born(who, value)
            elif op == Op.EXITED and who in self.living:
                del self.living[who]
                yield Gone(who, os.waitstatus_to_exitcode(value))
            elif op == Op.FAILED and who in self.living:
                del self.living[who]
                yield NotBorn(who, OSError(value, os.strerror(value)))

    def _lost(self) -> Iterator[News]:
        """Clean up after a warden that was killed: the kernel has killed its workers, we end what they left."""
        from stoppable.shell import tree

        yield Lost()
        lost = dict(self.living)
        self.end()
        sessions = tree.sessions()
        ended = {pid for pid in lost.values() if pid is not None}
        for member in [member for pid in ended for member in sessions.get(pid, ())]:
            tree.kill(member)
            ended.add(member)
        tree.reap_as_init(ended | tree.kill_marked(f"{MARK}={self.mark}"))
        for worker in lost:
            yield Gone(worker, None)

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
            args=(theirs, ours.fileno(), self.setup, (MARK, self.mark)),
            name=f"{self.setup.name}-warden",
        )
        process.start()
        return process

    def first_frame(self) -> bytes:
        return b""


class ContextLauncher(WardenLauncher):
    """Workers are processes of a multiprocessing context; the warden only guards them."""

    def __init__(self, setup: Setup, context: BaseContext) -> None:
        super().__init__(setup)
        self._context = context
        self._processes: dict[int, BaseProcess] = {}
        setup.inherited = True  # the context sets up `__main__` and the paths itself

    def spawn(self, worker: int, sock: socket.socket, page_fd: int) -> None:
        context: Any = self._context
        process: BaseProcess = context.Process(
            target=_context_main,
            args=(_Duplicate(sock.fileno()), _Duplicate(page_fd), self.setup),
            name=f"{self.setup.name}-{worker}",
        )
        try:
            process.start()
        except AssertionError as error:  # "daemonic processes are not allowed to have children"
            raise OSError(errno.EPERM, f"{error}; leave mp_context out, then a pool works here, too") from None
        assert process.pid is not None
        self._processes[worker] = process
        self.living[worker] = process.pid
        if self.control is not None:
            with suppress(OSError):
                self.control.send(Op.GUARD, 0, process.pid)

    def first_frame(self) -> bytes:
        return b""

    def deliver(self, op: Op, worker: int) -> None:
        pid = self.living.get(worker)
        if pid is not None and self._processes[worker].exitcode is None:
            warden.carry_out(op, pid)

    def sentinels(self) -> dict[int, int]:
        return {process.sentinel: worker for worker, process in self._processes.items()}

    def reap(self, worker: int) -> News | None:
        process = self._processes.get(worker)
        if process is None:
            return None
        process.join(1.0)
        code = process.exitcode
        if code is None:
            return None
        del self._processes[worker], self.living[worker]
        process.close()
        return Gone(worker, code)

    def _lost(self) -> Iterator[News]:
        """A guard that was killed is replaced; the workers are not its children and live on."""
        yield Lost()
        processes, living = self._processes, dict(self.living)
        self.end()
        self._processes, self.living = processes, living
        control = self.start()
        for pid in living.values():
            control.send(Op.GUARD, 0, pid or 0)


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
        return self._fd


def _context_main(sock: _Duplicate, page: _Duplicate, setup: Setup) -> None:
    """Be a worker in a process that a multiprocessing context has started."""
    work(socket.socket(fileno=sock.detach()), page.detach(), setup)


def launcher(setup: Setup, context: BaseContext | None) -> WardenLauncher:
    """Return the launcher for *context*; None is our own way."""
    if context is None:
        return WardenLauncher(setup)
    if context.get_start_method() == "fork":
        return ForkLauncher(setup, context)
    return ContextLauncher(setup, context)
