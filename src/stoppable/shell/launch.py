"""How workers come to be, and how signals reach them: a fresh interpreter is the warden, which forks the workers.

With an `mp_context` it is done otherwise: see `shell/contexts.py`. It only launches and delivers, and decides nothing.
Used by the reactor's thread alone.
"""

import errno
import marshal
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess

from stoppable import wire
from stoppable.shell import marks, tree, warden
from stoppable.shell.control import Control, Op
from stoppable.shell.news import Born, Gone, Lost, News, NotBorn
from stoppable.shell.watch import is_readable
from stoppable.worker.setup import Setup

_STUB = (
    "import os,sys,marshal\n"
    "parent,path,first,last,*more=marshal.loads(os.read({fd},1<<20))\n"
    "sys.path[:]=path\n"
    "from stoppable.shell.warden_main import main\n"
    "main({fd},parent,range(first,last),*more)"
)


_POOL = "stoppable.executor"
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
        self._pidfds: dict[int, int] = {}  # of some of the living: who has one is signalled by us
        self._killed = 0  # the worker that was ordered to be killed last
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
        likely, tracker = ((), None) if self.guards else (_likely(self.setup), _tracker())
        of_pool = self.marks.start, self.marks.stop
        ours.send(marshal.dumps((os.getpid(), sys.path, *of_pool, self.guards, likely, tracker)))
        return subprocess.Popen(
            [_executable(), *flags, "-c", _STUB.format(fd=fd)],
            stdin=subprocess.DEVNULL,
            pass_fds=[fd] if tracker is None else [fd, tracker],
            start_new_session=True,
        )

    def first_frame(self) -> bytes:
        """Return what each worker reads first: its setup, or nothing if it has that already.

        Raises:
            Exception: the initializer or its arguments do not pickle.
        """
        if self._setup_frame is None:
            body = wire.dumps(self.setup.sendable())
            self._setup_frame = wire.head(wire.Kind.SETUP, len(body)) + body
        return self._setup_frame

    def end(self) -> None:
        """Let the warden end, with all that is still below it, and wait for that."""
        self._end_warden()
        self.living.clear()
        while self._pidfds:
            os.close(self._pidfds.popitem()[1])

    def _end_warden(self) -> int | None:
        """Let it end and wait for that; return its exit code if it had one."""
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
            self.control.send(Op.SPAWN, worker, self.living.get(self._killed) or 0, (sock.fileno(), page_fd))
        except ConnectionError:
            pass  # the warden is gone: `news` will say so, and why
        except OSError:
            del self.living[worker]
            raise

    def deliver(self, op: Op, worker: int) -> None:
        """Have INTERRUPT, TERMINATE, KILL, STACK or DUMP carried out on the worker; nothing if it is gone."""
        if worker in self.living and self.control is not None:
            if op == Op.KILL:
                self._killed = worker
            pidfd = self._pidfds.get(worker)
            if pidfd is not None and self._carry_out(op, worker, pidfd):
                return
            try:
                self.control.send(op, worker)
            except ConnectionError:
                pass  # the warden is gone, and the worker with it
            except OSError:
                # It can be told nothing more. The end of the socket needs no message, and ends them all.
                with suppress(OSError):
                    self.control.sock.shutdown(socket.SHUT_RDWR)

    def _carry_out(self, op: Op, worker: int, pidfd: int) -> bool:
        """Signal the worker from here, which saves waking the warden; False if it is more than a signal."""
        signum = warden.SIGNALS.get(op)
        try:
            # What it starts after this look is ended by the warden, before that tells of the worker's end.
            if op == Op.KILL and not tree.children(self.living[worker] or 0):
                signum = signal.SIGKILL
            if signum is None:
                return False
            signal.pidfd_send_signal(pidfd, signum)
        except OSError:  # it is about to be reaped; or whatever: the warden can do it
            return False
        return True

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
            (op, who, value), fds = got
            if op == Op.BORN and who in self.living:
                self.living[who] = value
                if fds:
                    self._pidfds[who] = fds[0]
                yield Born(who, value)
            elif op == Op.EXITED and who in self.living:
                self._forget(who)
                code = os.waitstatus_to_exitcode(value)
                yield Gone(who, code, code == -signal.SIGKILL)
            elif op == Op.FAILED and who in self.living:
                self._forget(who)
                yield NotBorn(who, OSError(value, os.strerror(value)))

    def _forget(self, worker: int) -> None:
        """Forget a worker that is gone."""
        del self.living[worker]
        if worker in self._pidfds:
            os.close(self._pidfds.pop(worker))

    def _lost(self) -> Iterator[News]:
        """Clean up after a warden that was killed: the kernel has killed its workers, we end what they left."""
        yield Lost()
        lost = dict(self.living)
        code = self._end_warden()
        self.end()
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


def _likely(setup: Setup) -> tuple[str, ...]:
    """Return what all workers import, and those of a script that has the pool's class. Their warden does it once."""
    scripted = setup.main_name is not None or setup.main_path is not None
    return ("multiprocessing.process", *((_POOL,) if scripted and _is_imported() else ()))


def _is_imported() -> bool:
    """Say whether a module of the program's has the pool's class: then a worker that runs the main script again has it, too."""
    name = "ProcessPoolExecutor"
    ours = getattr(sys.modules.get(_POOL), name, None)
    others = [
        getattr(module, "__dict__", {})
        for key, module in list(sys.modules.items())
        if key.partition(".")[0] != "stoppable"
    ]
    return ours is not None and any(names.get(name) is ours for names in others)


def _tracker() -> int | None:
    """Return a descriptor of this process's resource tracker, if the program may need one: it is a process of its own."""
    if "multiprocessing.shared_memory" not in sys.modules:
        return None
    from multiprocessing import resource_tracker

    with suppress(OSError):
        return resource_tracker.getfd()
    return None


def _executable() -> str:
    """Return the Python that multiprocessing would start, which a program may have set."""
    from multiprocessing.spawn import get_executable

    return os.fsdecode(get_executable())
