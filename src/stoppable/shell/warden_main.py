"""How a process becomes a warden: a fresh interpreter, or a fork of the user's process."""

import os
import signal
import socket
import sys

from stoppable.shell import marks
from stoppable.shell.control import Control
from stoppable.shell.warden import Warden
from stoppable.worker import start


def _hear_no_signals() -> None:
    """Let what is meant for others pass: a Ctrl-C, a SIGTERM to everything below a task, a lost terminal.

    The warden of a pool that a task has made gets that SIGTERM too. If it ended there, so would its workers, and
    what they leave that ignores SIGTERM would be nobody's. It ends when the task's process has, and ends the rest.
    """
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)


def main(
    control_fd: int,
    parent: int,
    of_pool: range,
    guards: bool,
    likely: tuple[str, ...] = (),
    tracker: int | None = None,
) -> None:
    """Be the warden of a pool in a fresh interpreter; in each fork, be its worker. Never returns.

    Args:
        control_fd: the socket to the parent.
        parent: its process id.
        of_pool: the pool's marks.
        guards: whether the workers are started by others, and are only to be ended.
        likely: modules that most workers need, loaded once for all of them. None starts a thread.
        tracker: a descriptor of the parent's resource tracker, for the workers.
    """
    sock = socket.socket(fileno=control_fd)
    _hear_no_signals()
    # What the program has blocked, for a `sigwait` say, was handed down; we are to hear of our children's ends.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    start.become_subreaper()
    start.name_process("stoppable-ward")
    if not guards:
        marks.put(of_pool.start)
    for name in likely:
        try:
            __import__(name)
        except Exception:  # a worker that needs it imports it itself, or says why it cannot
            pass
    if tracker is not None:
        os.set_inheritable(tracker, False)  # it came through an exec, and must not go on through another
    _serve(sock, parent, None, of_pool if guards else range(0), tracker)


def _serve(
    sock: socket.socket, parent: int, setup: object, strays: range = range(0), tracker: int | None = None
) -> None:
    """Run the warden's loop; in a forked worker, run the worker with *setup*. Never returns."""
    # Imported before the first fork, so that every worker has them for nothing. None starts a thread.
    from stoppable.worker import main as worker
    from stoppable.worker.setup import Place, Setup

    assert setup is None or isinstance(setup, Setup)
    warden = os.getpid()
    newborn = Warden(Control(sock), parent, strays).run()
    worker.work(newborn.sock, newborn.page_fd, setup, watcher=warden, place=Place(newborn.worker, tracker))


def fork_main(sock: socket.socket, parent_sock_fd: int, parent: int, setup: object, mark: int) -> None:
    """Be the warden of a pool with the fork start method: this process is itself a fork of the user's.

    It takes the place of the user's process as the one to fork from, at the pool's start, while a
    later fork there would copy the locks of running threads.
    """
    import atexit

    atexit._clear()
    os.close(parent_sock_fd)
    marks.put(mark)
    start.reset_inherited()
    _hear_no_signals()
    start.become_subreaper()
    start.name_process("stoppable-ward")
    sys.stdout.flush()
    _serve(sock, parent, setup)
