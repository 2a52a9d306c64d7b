"""Turns a process that was just forked or spawned into a worker: what it inherited is reset first.

A worker must not run its parent's signal handlers (an asyncio SIGTERM handler would write into the
parent's own pipe), must not be hit by the terminal's Ctrl-C, must not read the terminal, and must end
with the process that watches it.
"""

import _thread
import ctypes
import faulthandler
import os
import signal
import sys
from types import FrameType

from stoppable.worker.gate import Gate
from stoppable.worker.page import DUMP_AT, PAGE_BYTES, STACK_END, TEXT_BYTES

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

# Two that programs hardly use. musl and glibc both keep some at the low end for themselves.
STACK_SIGNAL = int(getattr(signal, "SIGRTMAX", signal.SIGUSR2 + 4)) - 3
DUMP_SIGNAL = STACK_SIGNAL - 1
_MOST_FRAMES = 100  # of a thread, as faulthandler has it


def prctl(option: int, value: int) -> None:
    """Call prctl(2); do nothing where there is none."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def name_process(name: str) -> None:
    """Set the name that `ps -o comm` shows, at most 15 characters."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def become_subreaper() -> None:
    """Have orphaned descendants come to this process instead of to init, so that they can be found."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def be_woken_by_the_end_of_the_parent() -> None:
    """Have SIGCONT sent to this process when its parent ends, so that being stopped cannot keep it from seeing that.

    It comes at the end of the parent's thread that forked us, and of each that takes its place: too
    early does no harm.
    """
    prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)


def die_with(parent: int) -> None:
    """Be killed when the process *parent*, our parent, ends; leave at once if it has already.

    The signal is bound to the parent's *thread* that forked us. The caller must be a process whose
    only thread lives as long as itself, as the warden is.
    """
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if sys.platform == "linux" and os.getppid() != parent:
        os._exit(1)


def reset_inherited(*, new_session: bool = True) -> None:
    """Reset signal handlers, mask and wakeup fd, take stdin from /dev/null, and lead a session of our own."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        # Python itself ignores SIGPIPE and SIGXFSZ, to have them as errors; so must a worker.
        if number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ):
            continue
        try:
            if signal.getsignal(number) not in (signal.SIG_DFL, None):
                signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # a number that the C library keeps for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if new_session:
        try:
            os.setsid()
        except PermissionError:
            pass  # we lead a group already, which is what matters
    null = os.open(os.devnull, os.O_RDONLY)
    if null != 0:
        os.dup2(null, 0)
        os.close(null)
    sys.stdin = open(0, closefd=False)


def open_gate_to_signals(gate: Gate) -> None:
    """Let SIGINT reach *gate*, and nothing else of Python's."""
    signal.signal(signal.SIGINT, gate.on_signal)
    before = sys.unraisablehook

    def unraisable(dropped: "sys.UnraisableHookArgs") -> None:
        if not gate.swallowed(dropped.exc_value):
            before(dropped)

    sys.unraisablehook = unraisable


def open_stack_file(page_fd: int) -> int:
    """Have all threads' stacks written behind the page on two signals; return the file's descriptor.

    On STACK_SIGNAL by Python code, between two bytecodes: safe, but not while C code runs. On DUMP_SIGNAL by faulthandler, whose
    handler is C and needs no GIL. But it follows pointers wherever the interpreter is just then, and twice
    in ten thousand tests on a busy machine it met one that was not set yet, and ended the process by SIGSEGV.
    The file is opened anew, for an offset of our own.
    """
    fd = os.open(f"/proc/self/fd/{page_fd}", os.O_RDWR | os.O_CLOEXEC)
    os.lseek(fd, DUMP_AT, os.SEEK_SET)
    faulthandler.register(DUMP_SIGNAL, file=fd, all_threads=True, chain=False)

    def write(_number: int, frame: FrameType | None) -> None:
        try:
            os.pwrite(fd, _stacks(frame), PAGE_BYTES)
        except Exception:  # not a stop, which may be raised here as anywhere, and is to reach the task
            pass

    signal.signal(STACK_SIGNAL, write)
    signal.siginterrupt(STACK_SIGNAL, False)  # what a task's C code waits for is not to fail for it
    return fd


def _stacks(main: FrameType | None) -> bytes:
    """Return the stacks of all threads as faulthandler writes them, that of the main thread last, and then STACK_END."""
    me = _thread.get_ident()
    texts = [_stack(f"Thread {thread:#x}", top) for thread, top in sys._current_frames().items() if thread != me]
    own = _stack(f"Current thread {me:#x}", main)
    others = "\n".join(texts).encode("utf-8", "backslashreplace")
    last = own.encode("utf-8", "backslashreplace")[: TEXT_BYTES - 2]
    return others[: TEXT_BYTES - 2 - len(last)] + (b"\n" if texts else b"") + last + STACK_END


def _stack(title: str, frame: FrameType | None) -> str:
    lines = [f"{title} (most recent call first):"]
    while frame is not None:
        if len(lines) > _MOST_FRAMES:
            lines.append("  ...")
            break
        code = frame.f_code
        lines.append(f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}')
        frame = frame.f_back
    return "\n".join(lines) + "\n"
