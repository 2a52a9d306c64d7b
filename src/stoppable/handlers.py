"""`install_signal_handlers`: what SIGTERM does in a program that asks for it.

Two hear a signal. The *handler*, which Python runs in the main thread as soon as that runs Python code,
raises `Terminated` there. The *listener*, a thread, is told of it through Python's wakeup descriptor at
once, also while the main thread is inside C code. Both begin the stop of all pools; doing it twice does no
harm, so they need no lock, which a handler could find held by its own thread.

Python drops what is raised in a destructor, or in the callback of a weak reference, such as that by which a pool
learns that nobody holds it any more. So it once went with a `Terminated` at a program's end, on a busy machine: the
program ended as if no signal had come. It is now raised again, once the main thread is out of there.

Nothing is done at import.
"""

import atexit
import logging
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from stoppable.reason import StopKind, new_reason
from stoppable.rung import Rung
from stoppable.shell.reactor import stop_pools
from stoppable.terminated import Terminated
from stoppable.worker import intask

log = logging.getLogger("stoppable")

# `timeout` and shells send a signal to a process and to its group, so it comes twice in an instant.
_SECOND_SIGNAL_S = 0.5
# What is left of the grace for the deaths of killed workers and the end of the interpreter.
_SHARE = 0.9
# A signal that comes just before a lock begins to sleep does not end that sleep: then it is sent again, so
# long after, and when Python has dropped what it raised. All before `_SECOND_SIGNAL_S`, so that none of these is taken
# for a second one.
_AGAIN_S = (0.01, 0.03, 0.07, 0.15, 0.31)


def install_signal_handlers(
    signals: Iterable[int] = (signal.SIGTERM, signal.SIGHUP), *, grace_s: float = 10.0
) -> "SignalHandlers":
    """Have *signals* end this program well: stop the tasks of all its pools, clean up, then end by the signal.

    When the first one comes, every pool of this process takes no more tasks, those that wait never start, and
    those that run are stopped (kind `shutdown`, the message is the signal's name). `Terminated`, a SystemExit,
    is raised in the main thread, so its `with` and `finally` blocks run. A second signal, 0.5 s or more after
    the first, ends the process at once.

    Call it in the main thread. It replaces handlers that were there; a signal that is ignored (as by `nohup`)
    stays ignored. It does not wait, and does not bound the time of the program's own `finally` blocks.

    Args:
        signals: their numbers.
        grace_s: seconds until whoever sends the signal kills the process: 10 for `docker stop`. The ladders of
            the tasks are shortened to nine tenths of it, and what still runs then is killed.

    Returns:
        A handle, and context manager, whose `close()` puts the former handlers back.

    Raises:
        RuntimeError: not called in the main thread, or called in a task.
        ValueError: a number is no signal that can be handled, or *grace_s* is not above 0.
    """
    if isinstance(grace_s, bool) or not isinstance(grace_s, (int, float)) or not grace_s > 0:
        raise ValueError(f"grace_s must be seconds > 0, was {grace_s!r}")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "install_signal_handlers() must be called in the main thread: Python runs handlers there only"
        )
    if intask.current() is not None:
        raise RuntimeError("install_signal_handlers() was called in a task; signals to a worker are the pool's")
    handlers = SignalHandlers(grace_s)
    try:
        handlers._install([signal.Signals(number) for number in signals])
    except BaseException as error:
        handlers.close()
        if isinstance(error, OSError):
            raise ValueError(f"a signal among {signals!r} cannot be handled") from None
        raise
    return handlers


class SignalHandlers:
    """The handlers that `install_signal_handlers` has installed; as a context manager, it closes itself."""

    def __init__(self, grace_s: float) -> None:
        self._limit_s = grace_s * _SHARE
        self._first: tuple[signal.Signals, float] | None = None  # what was heard first, and when
        self._raised = False  # `Terminated`, in the main thread
        self._dropped = False  # by Python, which then calls the hook for what cannot be raised
        self._hook = sys.unraisablehook
        self._closed = False
        self._former: dict[signal.Signals, Any] = {}
        self._pid = os.getpid()
        self._main = threading.get_ident()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)
        self._thread = threading.Thread(target=self._listen, name="stoppable-signals", daemon=True)

    @property
    def received(self) -> signal.Signals | None:
        """The signal that came first, or None."""
        return None if self._first is None else self._first[0]

    def close(self) -> None:
        """Put the former handlers back, where nobody has replaced these. A second call changes nothing.

        Raises:
            RuntimeError: not called in the main thread.
        """
        if self._closed or os.getpid() != self._pid:
            return
        if threading.get_ident() != self._main:
            raise RuntimeError("signal handlers can be put back in the main thread only")
        self._closed = True
        _installed.discard(self)
        atexit.unregister(self.close)
        self._put_back()
        if self._thread.ident is not None:
            self._wake()
            self._thread.join()
        os.close(self._read)
        os.close(self._write)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- main thread -----------------------------------------------------------------------------

    def _install(self, numbers: list[signal.Signals]) -> None:
        _forget_in_forks()
        atexit.register(self.close)  # a thread that writes a log while the interpreter ends would crash it
        self._thread.start()
        other = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        if other != -1:
            signal.set_wakeup_fd(other)  # an event loop's; the handler alone must do
        _installed.add(self)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        for number in numbers:
            former = signal.getsignal(number)
            if former is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)
                self._former[number] = signal.SIG_DFL if former is None else former

    def _put_back(self) -> None:
        if sys.unraisablehook == self._on_unraisable:
            sys.unraisablehook = self._hook
        for number, former in self._former.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, former)
        fd = signal.set_wakeup_fd(-1)
        if fd not in (-1, self._write):
            signal.set_wakeup_fd(fd)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._raised:
            self._begin(signal.Signals(number))
            self._raised = True
            raise Terminated(number)
        if self._is_second():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            os._exit(128 + number)  # the first process of a container: no default action ends it

    def _on_unraisable(self, dropped: "sys.UnraisableHookArgs") -> None:
        if not isinstance(dropped.exc_value, Terminated) or self._closed:
            self._hook(dropped)
            return
        self._dropped = True
        self._wake()  # not here: it would be raised in this hook, and dropped again

    # --- either thread -----------------------------------------------------------------------------

    def _begin(self, number: signal.Signals) -> None:
        """Begin the stop of all pools, unless it has begun."""
        if self._first is None:
            self._first = number, time.monotonic()
            stop_pools(Rung.ASK, new_reason(StopKind.SHUTDOWN, number.name), self._limit_s)
            self._wake()

    def _is_second(self) -> bool:
        return self._first is not None and time.monotonic() - self._first[1] >= _SECOND_SIGNAL_S

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._write, b"\0")

    # --- the listener ------------------------------------------------------------------------------

    def _listen(self) -> None:
        while self._first is None:
            if not self._hear(math.inf):
                return
        number, at = self._first
        log.warning(
            "%s: all tasks are stopped, within %g s; a second one ends the program at once", number.name, self._limit_s
        )
        kill_at = at + self._limit_s
        again_at = [at + again_s for again_s in _AGAIN_S]
        while self._hear(min([kill_at, *again_at[:1]])):
            now = time.monotonic()
            if self._dropped:
                self._dropped = self._raised = False
                self._first = number, now  # what is sent now is no second one
                again_at = [now + again_s for again_s in _AGAIN_S]
            while again_at and again_at[0] <= now:
                again_at.pop(0)
                if not self._raised:
                    signal.pthread_kill(self._main, number)
            if kill_at <= now:
                kill_at = math.inf
                stop_pools(Rung.KILL, new_reason(StopKind.SHUTDOWN, number.name))

    def _hear(self, until: float) -> bool:
        """Wait for signals until then, or for the first that comes; False once this is closed."""
        left_s = until - time.monotonic()
        self._poll.poll(None if math.isinf(left_s) else max(0, math.ceil(left_s * 1000)))
        with suppress(BlockingIOError):
            for number in os.read(self._read, 512):
                if number not in self._former:
                    continue  # another's, or we were only woken
                if self._first is None:
                    self._begin(signal.Signals(number))
                elif self._is_second() and not self._raised:
                    os._exit(128 + number)  # the main thread is in C code since the first one
        return not self._closed


# --- forks ---------------------------------------------------------------------------------------

_installed: set[SignalHandlers] = set()
_registered = False
_masks = threading.local()


def _forget_in_forks() -> None:
    """Have forks of this process begin without the handlers: these are this program's, as is the wakeup descriptor."""
    global _registered
    if not _registered:
        _registered = True
        os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals_come, after_in_child=_forget)


def _hold_signals() -> None:
    """Keep a signal to the child from coming before it has forgotten: it would wake our listener."""
    if _installed:
        numbers = {number for handlers in list(_installed) for number in handlers._former}
        _masks.former = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def _let_signals_come() -> None:
    former = _masks.__dict__.pop("former", None)
    if former is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _forget() -> None:
    for handlers in _installed:
        handlers._put_back()
        os.close(handlers._read)
        os.close(handlers._write)
    _installed.clear()
    _let_signals_come()
