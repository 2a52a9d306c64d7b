"""What the shell keeps of a task from its submission to its end, and how its end reaches the future."""

import logging
import reprlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from stoppable import errors, parcel, wire
from stoppable.core.ends import End
from stoppable.errors import MemoryExceeded, StopRequested, TaskStopped, TaskTimeout
from stoppable.frozen import Frozen
from stoppable.reason import StopKind, StopReason, new_reason
from stoppable.rung import Rung
from stoppable.shell.feed import Feed
from stoppable.wire import Frame, Kind
from stoppable.worker.bodies import unpack_error, unpack_stop

if TYPE_CHECKING:
    from stoppable.core.events import Resolve

log = logging.getLogger("stoppable")
_ANSWERED, _VALUE = End.ANSWERED, int(Kind.VALUE)

# A call whose pickle is longer than this has arguments that are not kept to be shown.
SHOWN_BYTES = 1 << 12
_BUILT_IN = (int, float, complex, bool, str, bytes, type(None), list, tuple, dict, set, frozenset)


class _Short(reprlib.Repr):
    """Short texts of arguments, by the built-in types only: the `__repr__` of others could do anything."""

    def repr1(self, x: Any, level: int) -> str:
        return super().repr1(x, level) if type(x) in _BUILT_IN else f"<{type(x).__qualname__}>"


_short = _Short()
_short.maxstring = _short.maxother = 60


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


class Sink(Protocol):
    """Where a task's fate is told: the future. Called by the reactor's thread only."""

    _feed: Feed | None  # where what it yields goes, if it is a stream

    def _left_by(self, thread: int) -> None: ...
    def _send(self) -> bool: ...
    def _begin(self) -> None: ...
    def _requeue(self) -> None: ...
    def _publish(self, raw: Any) -> None: ...
    def _finish_value(self, value: Any) -> None: ...
    def _finish_error(self, error: BaseException) -> None: ...
    def _finish_stopped(self, error: TaskStopped) -> None: ...


class _Nobody:
    """Who is told what nobody waits for any more."""

    _feed: Feed | None = None

    def _left_by(self, thread: int) -> None: ...

    def _send(self) -> bool:
        return False

    def _begin(self) -> None: ...
    def _requeue(self) -> None: ...
    def _publish(self, raw: Any) -> None: ...
    def _finish_value(self, value: Any) -> None: ...
    def _finish_error(self, error: BaseException) -> None: ...
    def _finish_stopped(self, error: TaskStopped) -> None: ...


_NOBODY = _Nobody()


class Report(Frozen):
    """What is known of a task besides its value: its name, its time, and what a stop did to it.

    Attributes:
        reason: the first reason that was given, or None if nobody asked.
        rungs: each rung climbed, with the monotonic seconds when. Ask is always the first: the token
            is set before anything harsher is done.
        stack: where the task was when its time ran out, or before it was terminated or killed.
        name: the task's.
        seconds: how long it ran, measured in its worker from reading its arguments to its answer;
            None if it has not answered (yet, or because its worker has ended).
    """

    __slots__ = ("reason", "rungs", "stack", "name", "seconds")
    reason: StopReason | None
    rungs: tuple[tuple[Rung, float], ...]
    stack: str | None
    name: str
    seconds: float | None

    def __init__(
        self,
        reason: StopReason | None,
        rungs: tuple[tuple[Rung, float], ...],
        stack: str | None,
        name: str = "",
        seconds: float | None = None,
    ) -> None:
        super().__init__(reason, rungs, stack, name, seconds)

    @property
    def rung(self) -> Rung | None:
        """The last rung climbed, or None."""
        return self.rungs[-1][0] if self.rungs else None


class Task:
    """One task. Only the reactor's thread touches it after `submit` has handed it over.

    The class holds what most tasks never have.
    """

    args: tuple[Any, ...] | None = None  # to be shown, with kwargs; None: too large
    asked_at: float | None = None  # when somebody asked it before the machine did
    kwargs: dict[str, Any] | None = None
    exit: int | None = None  # its worker's exit code, if it died with it
    keep: Any = None  # tokens that were pickled into the call: they must outlive it
    looked = False
    memory_bytes: int | None = None  # the most that its processes may have
    peak_bytes = 0  # the most that they were found to have
    on_stopped: Callable[[Any], object] | None = None
    partial: Any = None  # the pickle that publish() sent last
    patient = True  # it has a grace to hear an ask in
    paused = False
    progress: tuple[float, float | None] | None = None
    reason: StopReason | None = None
    rungs: tuple[tuple[Rung, float], ...] = ()
    stack: str | None = None
    took_us: int | None = None  # once it has answered
    watchdog_s: float | None = None
    withdrawn: StopReason | None = None  # why it is to end, if it has not started

    def __init__(self, task: int, name: str, call: tuple[parcel.Part, ...], options: bytes, sink: Sink) -> None:
        self.id, self.name, self.call, self.options, self.sink = task, name, call, options, sink
        self.answer: Frame | None = None
        self.worker: int | None = None

    def title(self) -> str:
        """Return its name and its arguments, short. Runs no code of the user's."""
        if self.args is None:
            return f"{self.name}(…)"
        try:
            shown = [_short.repr(arg) for arg in self.args]
            shown += [f"{key}={_short.repr(value)}" for key, value in (self.kwargs or {}).items()]
        except RuntimeError:  # another thread changed one of them meanwhile
            return f"{self.name}(…)"
        return f"{self.name}({', '.join(shown)})"

    def climbed_text(self, rung: Rung, waited_s: float, looked: bool) -> str:
        """Return the warning of a rung; *looked*: at its token since the stop was asked for, *waited_s* ago."""
        if looked:
            look = f"it last checked within these {waited_s:.3f} s"
        elif self.looked:
            look = f"it last checked over {waited_s:.3f} s ago"
        else:
            look = "it never checked"
        return f"stopping {self.title()}: {rung}, {waited_s:.3f} s after the stop was asked for; {look}"

    def over_limit(self, kind: StopKind) -> str | None:
        """Return what to say of a stop that the pool starts by itself, for a limit of this *kind*."""
        if kind is StopKind.WATCHDOG:
            return f"no check() or beat() for {self.watchdog_s:g} s"
        if kind is StopKind.MEMORY:
            return f"its processes had {_size(self.peak_bytes)}, the limit is {_size(self.memory_bytes or 0)}"
        return None

    def report(self) -> Report:
        """Return what is known of it, so far."""
        seconds = None if self.took_us is None else self.took_us * 1e-6
        return Report(self.reason, self.rungs or self._asked_ahead(), self.stack, self.name, seconds)

    def _asked_ahead(self) -> tuple[tuple[Rung, float], ...]:
        return () if self.asked_at is None else ((Rung.ASK, self.asked_at),)

    def refuse(self, reason: StopReason) -> None:
        """End it, instead of submitting it."""
        from stoppable.core.events import Resolve, TaskId  # loaded with the pool, and not with its class

        self.reason = reason
        self.settle(Resolve(TaskId(self.id), End.STOPPED, started=False, kind=reason.kind), str)

    def settle(self, end: "Resolve", why_broken: Callable[[], str]) -> None:
        """Tell the future how the task ended, and let go of what only the task needed."""
        answer = self.answer
        if answer is not None:
            self.took_us = answer.position
        if end.started and not self.rungs:
            self.rungs = self._asked_ahead()  # it ended before the machine could ask
        try:
            if answer is not None and end.end is _ANSWERED:
                self._settle_answer(answer)
            else:
                self._settle(end, why_broken)
        finally:
            self.call, self.options = (), b""
            self.answer = self.args = self.kwargs = self.keep = None
            self.sink = _NOBODY  # no cycle: a result goes with its future, and not with the garbage collector

    def _settle(self, end: "Resolve", why_broken: Callable[[], str]) -> None:
        match end.end:
            case End.STOPPED:
                self._settle_stopped(end)
            case End.DIED:
                code = self.exit
                died = code is not None and code < 0
                self.sink._finish_error(
                    errors.WorkerDied(
                        exitcode=None if died else code,
                        signal=-code if died and code is not None else None,
                        reason=self.reason,
                        task=self.title(),
                        stack=self.stack,
                    )
                )
            case End.BROKEN:
                self.sink._finish_error(errors.WorkerStartError(why_broken()))

    def _settle_answer(self, frame: Frame) -> None:
        if frame.kind != _VALUE:
            self.sink._finish_error(self._read_error(frame))
            return
        try:
            value = parcel.unpack(frame.body)
        except BaseException as error:
            error.add_note(f"(raised while the result of {self.name} was unpickled)")
            self.sink._finish_error(error)
            return
        self.sink._finish_value(value)

    def _read_error(self, frame: Frame) -> BaseException:
        text, raw = unpack_error(frame.body)
        context: StopRequested | None = None
        try:
            error, context = wire.loads(raw)
            if not isinstance(error, BaseException):
                raise TypeError(f"unpickling gave a {type(error).__name__}, not an exception")
        except BaseException as unpickling:
            unpickling.add_note(
                f"(raised while the exception of {self.name} was unpickled; its traceback is the cause)"
            )
            error = unpickling
        error.__cause__ = errors.RemoteTraceback(f'\n"""\n{text}"""')
        if context is not None and error.__context__ is None:
            error.__context__ = context
        return error

    def _settle_stopped(self, end: "Resolve") -> None:
        deadline = end.kind is StopKind.DEADLINE
        reason = self.reason
        if reason is None and not end.started:
            reason = self.withdrawn
        if self.answer is not None and len(self.answer.body):
            told, stack = unpack_stop(self.answer.body)
            reason = reason or told  # what the task says counts if it was stopped through its token alone
            self.stack = stack or self.stack  # the parent may have looked when the task had just ended
        if reason is None:
            reason = new_reason(end.kind or StopKind.STOP)
        self.reason = reason
        kind = TaskTimeout if deadline or reason.kind is StopKind.DEADLINE else TaskStopped
        facts: dict[str, Any] = {}
        if reason.kind is StopKind.MEMORY:
            kind = MemoryExceeded
            facts = {"peak_bytes": self.peak_bytes, "limit_bytes": self.memory_bytes}
        rung = end.rung if end.rung is not None or not end.started else Rung.ASK
        error = kind(
            reason=reason,
            rung=rung,
            partial=self.read_partial(),
            confirmed=end.confirmed,
            started=end.started,
            task=self.title(),
            stack=self.stack,
            **facts,
        )
        self.sink._finish_stopped(error)

    def read_partial(self, default: Any = None) -> Any:
        """Return what the task published last, or *default*."""
        if self.partial is None:
            return default
        try:
            return wire.loads(self.partial)
        except Exception:
            log.exception("the partial result of %s does not unpickle", self.name)
            return default
