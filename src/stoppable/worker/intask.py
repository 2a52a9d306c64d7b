"""The functions that a task may call: they act on the task that runs here, and outside one do nothing special.

They act on the innermost scope too (`worker/scopes.py`), in a task and outside one.

`check` is meant for innermost loops. It must stay two calls of C methods and a branch; whatever costs more belongs behind that
branch. So the current task is kept in module globals, which the loop sets: a worker runs one task at a time. And that the task
has looked is noted at its first look only, unless a watchdog wants to know of each: the store costs more than all the rest.
"""

import _thread
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from stoppable import wire
from stoppable.reason import StopReason
from stoppable.requested import StopRequested
from stoppable.worker import page as pages
from stoppable.worker.gate import Gate
from stoppable.worker.page import Page

if TYPE_CHECKING:
    from stoppable.flags.token import StopToken
    from stoppable.flags.words import Word
    from stoppable.parcel import Part

__all__ = ["beat", "check", "current_token", "progress", "publish", "shield", "sleep"]
_NO_CONTEXT: Mapping[str, Any] = {}  # a plain one, which pickles


class Running:
    """The task that runs in this process. Made by the worker's loop, read by the functions below.

    The class holds what most tasks do not have.
    """

    tokens: "tuple[StopToken, ...]" = ()
    deadline: float | None = None
    context: Mapping[str, Any] = _NO_CONTEXT
    token: "StopToken | None" = None  # made when first asked for
    reported = False  # progress() was called
    tracked = False  # track() says how far it is
    given: str | None = None  # the name that it was given
    watched = False  # by a watchdog, to which each look is a sign of life
    _reason: StopReason | None = None

    def __init__(self, task: int, function: object, page: Page, gate: Gate, say: "Callable[..., None]") -> None:
        self.id, self.function, self.page, self.gate, self._say = task, function, page, gate, say

    @property
    def name(self) -> str:
        """What it was named, or what its function is."""
        return self.given or getattr(self.function, "__qualname__", None) or type(self.function).__name__

    def send(self, kind: wire.Kind, body: "Part | tuple[Part, ...]") -> None:
        """Say something to the parent that answers nothing."""
        self._say(kind, body, self.id)

    def told(self) -> bool:
        """Say whether the parent has asked for this task's stop."""
        return self.page.asked.is_set() and self.page.forget_stale_ask(self.id)

    def asked(self) -> bool:
        """Say whether this task's stop was asked for, by whichever way."""
        return self.told() or any(token.is_set() for token in self.heeded())

    def heeded(self) -> "tuple[StopToken, ...]":
        """Return the tokens whose stop is this task's: its own was made from all others."""
        return self.tokens if self.token is None else (self.token,)

    def reason(self) -> StopReason | None:
        """Return why, or None while nobody asked."""
        if self._reason is None:
            others = (token.reason for token in self.heeded() if token.is_set())
            self._reason = self.page.reason() if self.told() else next(others, None)
        return self._reason


# What `check` calls: the flag in the task's page (before it, `_look`), and those of tokens, if there are any; `bool` is
# none, and says False. With scopes, in whatever thread, they say too often that something was asked; `_raise_if_asked`
# looks closely.
_task: Running | None = None
_asked: Callable[[], bool] = bool
_also: Callable[[], bool] = bool
_scope: "ContextVar[StopToken | None]" = ContextVar("stoppable-scope", default=None)
_scopes: "tuple[StopToken, ...]" = ()  # those entered and not left, in all threads
_flag_lock = _thread.allocate_lock()  # for those who change what the two are made of; who calls them needs none
_looked: "bytearray | memoryview" = bytearray(1)
_idle_looked = _looked


def enter(task: Running) -> None:
    """Make *task* the current one."""
    global _task, _asked, _also, _looked
    if _scopes:
        _scope.set(None)  # a task before it has not left one
    with _flag_lock:
        _task, _asked = task, _look
        _also = _flags() if task.tokens or _scopes else bool
    _looked = task.page.looked


def leave() -> None:
    """Say that no task runs here."""
    global _task, _asked, _also, _looked
    with _flag_lock:
        _task, _asked = None, bool
        _also = _flags() if _scopes else bool
    _looked = _idle_looked


def current() -> Running | None:
    """Return the task that runs in this process, or None."""
    return _task


def reachable() -> bool:
    """Say whether there is anything here that `check` looks at: a task, or a scope."""
    return _task is not None or _scope.get() is not None


def _flags() -> Callable[[], bool]:
    """Return what says whether a token is set, of the task or of a scope; for who holds the lock."""
    task, tokens = _task, _scopes
    if task is not None:
        tokens = (*task.heeded(), *tokens)
    match tokens:
        case []:
            return bool
        case [only]:
            return only.is_set
    looks = [token.is_set for token in tokens]
    return lambda: any(is_set() for is_set in looks)


def _look() -> bool:
    """Note that the task looks, and say what the flag in its page says; from then on, that is asked itself.

    Without the lock: a signal handler of the task may call `check` while its thread holds that.
    """
    global _asked
    task = _task
    if task is None:
        return False
    task.page.looked[0] = 1
    asked = task.page.asked.is_set
    if not task.watched:
        _asked = asked
        if _task is not task:
            _asked = _look  # this thread is left from a task before, and the next one has still to look
    return asked()


def enter_scope(token: "StopToken") -> None:
    """Let the functions look at *token* in this context, instead of at what is outside it."""
    global _scopes, _also
    with _flag_lock:
        _scopes = (*_scopes, token)
        _also = _flags()
    _scope.set(token)


def leave_scope(token: "StopToken", outer: "StopToken | None") -> None:
    """Undo `enter_scope`; nothing if that was done before."""
    global _scopes, _also
    with _flag_lock:
        _scopes = tuple(each for each in _scopes if each is not token)
        _also = _flags()
    if _scope.get() is token:
        task = _task
        _scope.set(None if task is not None and outer is task.token else outer)


def innermost_token() -> "StopToken | None":
    """Return the token of the innermost scope, else of the task; None outside both."""
    scope = _scope.get()
    return task_token() if scope is None and _task is not None else scope


def check() -> None:
    """Raise `StopRequested` if the current task's stop was asked for; else do nothing.

    It raises every time, not only the first. Inside a `shield` it is silent. Outside a task it does nothing.

    Raises:
        StopRequested: the stop was asked for; its `reason` says why.
    """
    if _asked() or _also():
        _raise_if_asked()


def _raise_if_asked() -> None:
    _looked[0] = 1 | pages.HEARD
    task, scope = _task, _scope.get()
    if task is not None:
        if task.gate.shielded():
            return
        if task.asked():  # before the scope: a stop from outside is the one that matters
            raise StopRequested(task.reason())
    if scope is not None and scope.is_set():
        raise StopRequested(scope.reason)


def sleep(seconds: float) -> None:
    """Sleep for *seconds*; wake at once and raise if the current task's stop is asked for.

    Inside a `shield` it sleeps its whole time. Outside a task and any scope it is `time.sleep`.

    Raises:
        StopRequested: the stop was asked for, before or during the sleep.
        ValueError: *seconds* is negative or NaN.
    """
    if not seconds >= 0:
        raise ValueError(f"sleep needs seconds >= 0, got {seconds!r}")
    task, scope = _task, _scope.get()
    if task is None:
        if scope is None:
            time.sleep(seconds)
        else:
            scope.sleep(seconds)
        return
    check()
    until = time.monotonic() + seconds
    _alive_until(task, until)  # it can be stopped all the while, so no watchdog need bark
    try:
        while (left := until - time.monotonic()) > 0:
            if task.gate.shielded():
                time.sleep(min(left, max(0.0, task.page.f64[pages.SHIELD_UNTIL] - time.monotonic())))
            else:
                _wait(task, scope, left)
            check()
    finally:
        _alive_until(task, time.monotonic())


def wait_for(word: "Word") -> None:
    """Sleep until *word* is set, or there is something that `check` may raise; the caller looks which. Only in a task."""
    from stoppable.flags.waiting import wait_any

    task = _task
    assert task is not None
    _alive_until(task, math.inf)  # as in `sleep`
    try:
        if task.gate.shielded():
            wait_any([word], max(0.0, task.page.f64[pages.SHIELD_UNTIL] - time.monotonic()))
        else:
            _wait(task, _scope.get(), math.inf, word)
    finally:
        _alive_until(task, time.monotonic())


def _wait(task: Running, scope: "StopToken | None", seconds: float, *more: "Word") -> None:
    from stoppable.flags.waiting import wait_any

    words = [task.page.asked, *more]
    if scope is not None:
        words += scope._sources()  # those of the task's token among them
        seconds = min(seconds, max(0.0, scope._deadline - time.monotonic()))
    else:
        for token in task.heeded():
            words += token._sources()
    wait_any(words, None if math.isinf(seconds) else seconds)


def current_token() -> "StopToken":
    """Return the current task's token: the same one each time, picklable, for passing on.

    In a `time_limit` or a task group's block: the token of that. Outside all: a new token that nobody else holds.
    """
    scope = _scope.get()
    if scope is not None:
        _looked[0] = 1
        return scope
    return task_token()


def task_token() -> "StopToken":
    """Return the current task's token, whatever scope there is; outside a task, a new one."""
    from stoppable.flags.token import StopToken

    task = _task
    if task is None:
        return StopToken()
    _looked[0] = 1
    if task.token is None:
        if task.tokens:
            task.token = StopToken.any_of(*task.tokens, deadline=task.deadline, name=task.name)
        else:
            task.token = StopToken(deadline=task.deadline, name=task.name)
        _show(task, task.token)
    return task.token


def _show(task: Running, token: "StopToken") -> None:
    global _also
    raw = wire.dumps(token)
    with _flag_lock:
        if _task is task:  # and not in a thread that has outlived it: another one shows its token there now
            task.page.bind_token(task.id, raw)
    if task.page.asked.is_set() and task.page.forget_stale_ask(task.id):
        token.stop(task.page.reason())
    with _flag_lock:
        _also = _flags()


@contextmanager
def shield(limit: float = 30.0) -> Iterator[None]:
    """Keep a critical section free of stops for at most *limit* seconds.

    Inside, `check` and `sleep` do not raise and no interrupt lands; facts (`current_token().is_set()`)
    stay true. What came meanwhile is raised when the outermost shield ends. After the limit the stop
    goes on. A nested shield cannot prolong the outer one. Kill ignores shields.

    Raises:
        ValueError: *limit* is negative, NaN or infinite.
        StopRequested: at the end, if an interrupt came meanwhile.
    """
    if not 0 <= limit < math.inf:
        raise ValueError(f"a shield's limit must be seconds >= 0 and finite, was {limit!r}")
    task = _task
    if task is None:
        yield
        return
    _looked[0] = 1
    gate, f64 = task.gate, task.page.f64
    outer = f64[pages.SHIELD_UNTIL]
    until = time.monotonic() + limit
    f64[pages.SHIELD_UNTIL] = min(outer, until) if gate.shields else until
    gate.shields += 1
    try:
        yield
    finally:
        gate.shields -= 1
        f64[pages.SHIELD_UNTIL] = outer if gate.shields else 0.0
        if not gate.shields and task.page.asked.is_set() and task.page.forget_stale_ask(task.id):
            task.send(wire.Kind.UNSHIELDED, b"")  # else the ladder would wait for the shield's limit
        gate.release()


def publish(value: Any) -> None:
    """Give *value* to whoever holds the future, as what is done so far; a later one replaces it.

    It is what `Future.partial()` and `TaskStopped.partial` return, also after a kill.

    Raises:
        Exception: *value* does not pickle; what was published before stays.
    """
    task = _task
    if task is None:
        return
    _looked[0] = 1
    task.send(wire.Kind.PARTIAL, wire.dumps(value, by_value=False))


def progress(done: float, total: float | None = None) -> None:
    """Say how much is done, of how much (None: not known). Costs no message; read by `Future.progress`."""
    task = _task
    if task is None:
        return
    _looked[0] = 1
    f64 = task.page.f64
    f64[pages.DONE], f64[pages.TOTAL] = done, math.nan if total is None else total
    task.reported = True


def beat(extend: float = 0.0) -> None:
    """Tell the task's watchdog that it is alive, and will be for *extend* seconds more without saying so again.

    `check`, `sleep`, `publish`, `progress`, `shield` and `current_token` say the same, without the extension.

    Raises:
        ValueError: *extend* is negative or NaN.
    """
    if not extend >= 0:
        raise ValueError(f"beat needs extend >= 0 seconds, got {extend!r}")
    task = _task
    if task is None:
        return
    _looked[0] = 1
    _alive_until(task, time.monotonic() + extend)


def _alive_until(task: Running, moment: float) -> None:
    task.page.f64[pages.BEAT_AT] = moment
    task.page.u64[pages.BEAT_TASK] = task.id


def forget_after_fork() -> None:
    """Leave the task in a forked child of it: the task is the parent's, and so is the channel."""
    global _flag_lock
    _flag_lock = _thread.allocate_lock()  # another thread may have held it
    leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_after_fork)
