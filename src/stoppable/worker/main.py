"""The first lines that run in a worker, and its last.

What comes here is a socket to the parent and the descriptor of a page; the setup is either given
(a fork has it already) or is the first frame.
"""

import os
import socket
import sys
import time

from stoppable import wire
from stoppable.flags import kernel
from stoppable.flags.owner import trust_owner
from stoppable.wire import Kind
from stoppable.worker import relay, start
from stoppable.worker import setup as setups
from stoppable.worker.gate import Gate
from stoppable.worker.loop import Loop
from stoppable.worker.page import Page
from stoppable.worker.setup import Place, Setup

_KILL_WAIT_S = 1.0


def work(
    sock: socket.socket,
    page_fd: int,
    setup: Setup | None = None,
    *,
    watcher: int | None = None,
    place: Place | None = None,
) -> None:
    """Be a worker until told to leave, then end this process. Never returns.

    Args:
        sock: the channel to the parent.
        page_fd: the file of the shared page; closed here.
        setup: what to set up, or None to read it from the channel.
        watcher: the process id of our parent, if we must die with it.
        place: in its pool; None if it is a process of multiprocessing's.
    """
    code = 1
    try:
        start.reset_inherited()
        if watcher is not None:
            start.die_with(watcher)
        start.become_subreaper()
        page = Page(page_fd)
        page.fenced = kernel.join_fence()
        gate = Gate(page)
        stack_fd = start.open_stack_file(page_fd)
        os.close(page_fd)
        start.open_gate_to_signals(gate)
        loop = Loop(sock, page, gate, stack_fd)
        if _boot(loop, setup, place):
            if loop.run():
                code = 0
            else:
                _wait_for_the_kill()
    except (BrokenPipeError, ConnectionResetError):
        _wait_for_the_kill()
    except BaseException:
        _say_error()
    finally:
        _end(code)


def _boot(loop: Loop, setup: Setup | None, place: Place | None) -> bool:
    try:
        if setup is None:
            frame = loop.next_frame()
            if frame is None or frame.kind != Kind.SETUP:
                return False
            setup = wire.loads(frame.body)
        assert isinstance(setup, Setup)
        trust_owner(setup.parent_pid)
        relay.install(loop, setup)
        setups.apply(setup, place, relay.own_handlers_only)
    except BaseException as error:
        import traceback

        text = "".join(traceback.format_exception(error))
        loop.send(Kind.BOOT_FAILED, text.encode("utf-8", "replace"))
        return False
    start.name_process("stoppable-work")
    # A module that the initializer or __main__ imported may have taken SIGINT for itself.
    start.open_gate_to_signals(loop.gate)
    loop.max_bytes = setup.max_bytes
    loop.send(Kind.READY, b"")
    return True


def _say_error() -> None:
    """Print the exception under way, as Python does for one that nobody caught."""
    import traceback

    traceback.print_exc()


def _wait_for_the_kill() -> None:
    """Stay a moment: the parent has gone, or has given us up, and whoever watches us kills us for that.

    What tasks left running is found by descent from this process. If it went first, nobody could find that.
    """
    time.sleep(_KILL_WAIT_S)


def _end(code: int) -> None:
    """Run what a process owes at its end, then leave: none of the parent's own endings must run here."""
    try:
        import threading

        if code == 0:
            getattr(threading, "_shutdown", lambda: None)()
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util._exit_function()
        if code == 0:
            import atexit

            getattr(atexit, "_run_exitfuncs", lambda: None)()
    except BaseException:
        _say_error()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:
                pass
        os._exit(code)
