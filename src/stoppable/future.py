"""The future of a task in our pool: a standard one whose running task can be stopped.

Invariants:
1. `done()` only after the work has really ended. 2. An outcome never changes. 3. Nothing here waits
but what says so. 4. A future with no pool behind it is the standard one.
"""

import concurrent.futures
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stoppable import markup
from stoppable.bare import ENDED, UNOWNED, BareFuture
from stoppable.core.ladder import StopPolicy
from stoppable.errors import TaskStopped
from stoppable.latch import Latch
from stoppable.reason import StopKind, StopReason, new_reason
from stoppable.rung import Rung
from stoppable.shell.feed import Feed
from stoppable.shell.task import Report, Task, log

if TYPE_CHECKING:
    from stoppable.shell.reactor import Reactor

T = TypeVar("T")
_STACK_WAIT_S = 2.0


class Future(BareFuture[T], Generic[T]):
    """What a task will give, and the handle to stop it.

    It is made by `submit`; made by hand it is a standard future, which no pool stands behind.
    """

    _task: Task | None = None
    _reactor: "Reactor | None" = None
    _sent = False  # a worker has it, and may start it at any moment: only the machine can say that it has not
    _stop_error: TaskStopped | None = None  # what ended it, if it was a stop of ours
    _feed: Feed | None = None  # of a streaming task: where its items are

    # --- stopping ----------------------------------------------------------------------------

    def cancel(self) -> bool:
        """Stop the task: one that waits never starts; one that runs is taken up the ladder.

        Does not wait: `cancelled()` becomes True when the stop has ended the task. A second call
        changes nothing. A running task that finishes first keeps its result.

        Returns:
            False only if the task has ended already (or runs, in a future with no pool behind it).
        """
        if self._reactor is None:
            return super().cancel()
        return self.stop() or self.cancelled()

    def stop(
        self, reason: "str | StopReason | None" = None, *, at: Rung | str = Rung.ASK, policy: StopPolicy | None = None
    ) -> bool:
        """Stop the task: one that waits never starts; one that runs is taken up the ladder.

        Does not wait. A later stop can only hasten an earlier one.

        Args:
            reason: text, or a whole reason, shown to the task and in the error.
            at: the first rung.
            policy: the graces, instead of the task's own.

        Returns:
            False if the task has ended already; nothing is done then.

        Raises:
            ValueError: *at* names no rung.
        """
        rung = Rung.parse(at)
        reactor, task = self._reactor, self._task
        if reactor is None or task is None:
            return super().cancel()
        given = reason if isinstance(reason, StopReason) else None
        if given is None:
            given = new_reason(StopKind.STOP, None if reason is None else str(reason))
        self._regain()
        with self._condition:
            if self._state in ENDED:
                return False
            if task.reason is None:
                task.reason = given
            # One that runs out of time fails and is not cancelled, whether it had begun or not: the reactor says so.
            pending = self._state == PENDING and not self._sent and given.kind is not StopKind.DEADLINE
            if pending:
                self._set_cancelled(self._never_started(task, given))
        try:
            if not pending and rung is Rung.ASK and (task.patient if policy is None else policy.ask > 0):
                reactor.ask(task)
        finally:  # who is asked is also pursued, whatever a signal handler raises between the two
            reactor.stop(task, rung, policy, given.kind)
        if pending:
            self._invoke_callbacks()
            self._call_on_stopped()
        return True

    def kill(self, reason: "str | StopReason | None" = None) -> bool:
        """Kill the task's process with all its descendants: `stop(at="kill")`."""
        return self.stop(reason, at=Rung.KILL)

    def stop_and_wait(self, timeout: float | None = None, reason: "str | StopReason | None" = None) -> bool:
        """Stop the task and wait until it has ended, at most *timeout* seconds.

        Returns:
            Whether it has ended.

        Raises:
            RuntimeError: called from a future's callback, where waiting would wait for itself.
        """
        self.stop(reason)
        if self._reactor is not None and self._reactor.mine and not self.done():
            raise RuntimeError("stop_and_wait() would wait for itself in a callback; use stop()")
        concurrent.futures.wait([self], timeout)
        return self.done()

    # --- pausing -----------------------------------------------------------------------------

    def pause(self) -> bool:
        """Have the running task stand still, with all the processes that it has started, until `resume()`.

        Does not wait. `running()` stays True, and the task keeps its worker. Its timeout and its watchdog stand
        still with it; its deadline does not. A stop of any kind resumes it first. While it is paused, nothing
        that waits for its end gets on: not `result()`, nor `shutdown()`.

        Returns:
            False, and nothing is done, if it does not run (yet, or any more), or is being stopped.
        """
        if self._reactor is None or self._task is None or not self.running() or self.stop_requested:
            return False
        self._reactor.pause(self._task)
        return True

    def resume(self) -> bool:
        """Let a paused task go on. Does not wait; on one that is not paused it does nothing.

        Processes of the task that something else had stopped go on too.

        Returns:
            False if it does not run (yet, or any more).
        """
        if self._reactor is None or self._task is None or not self.running():
            return False
        self._reactor.resume(self._task)
        return True

    @property
    def paused(self) -> bool:
        """Whether the order to stand still was given, and none to go on."""
        return self._task is not None and self._task.paused and self.running()

    # --- what is known of it -----------------------------------------------------------------

    @property
    def stop_requested(self) -> bool:
        """Whether anybody asked for the task's stop; it may have finished all the same."""
        return self._task is not None and self._task.reason is not None

    def stopped(self) -> bool:
        """Return whether a stop is what ended the task (a timeout is one)."""
        return self.cancelled() or (self._state == FINISHED and self._stop_error is not None)

    def partial(self, default: Any = None) -> Any:
        """Return what the task gave to `publish()` last, or *default*; also while it runs, and after a kill."""
        return default if self._task is None else self._task.read_partial(default)

    @property
    def progress(self) -> tuple[float, float | None] | None:
        """What the task said with `progress()` last: (done, total or None), or None if it said nothing."""
        task, reactor = self._task, self._reactor
        if task is None or reactor is None:
            return None
        channel = reactor.hands.channels.get(task.worker or 0)
        if self.running() and channel is not None:
            return channel.progress(task.id) or task.progress
        return task.progress

    @property
    def report(self) -> Report:
        """What is known of the task so far: its name and running time; the reason, rungs with times and stack of a stop."""
        return Report(None, (), None) if self._task is None else self._task.report()

    def stack(self) -> str | None:
        """Return where the task's threads are now, as text, also while C code holds its GIL.

        Returns:
            None if it does not run now, is paused, or its process does not answer within 250 ms.
        """
        reactor, task = self._reactor, self._task
        if reactor is None or task is None or not self.running():
            return None
        if reactor.mine:
            return reactor.hands.delivery.stack_of(task.id)
        found: list[str | None] = []
        ready = Latch()

        def look() -> None:
            found.append(reactor.hands.delivery.stack_of(task.id))
            ready.set()

        reactor.call(look)
        ready.wait(_STACK_WAIT_S)
        return found[0] if found else None

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the task, its state, and what is known of its progress and its stop."""
        task, report = self._task, self.report
        state = str(self._state).lower().replace("_and_notified", "")
        rows = [("state", "paused" if self.paused else "stopping" if self.running() and report.reason else state)]
        rows += [("progress", markup.part(self.progress))] if self.progress else []
        rows += [("stop asked for", str(report.reason))] if report.reason else []
        rows += [("rung", str(report.rung))] if report.rung else []
        error = self._stop_error or self._exception
        rows += [("ended by", type(error).__name__)] if error else []
        return markup.table("a future" if task is None else task.title(), rows)

    # --- the standard class, with our error in place of a bare CancelledError --------------------

    def result(self, timeout: float | None = None) -> T:
        """Return the task's value, or raise what ended it; wait at most *timeout* seconds.

        Raises:
            TaskStopped: it was stopped (a CancelledError).
            TaskTimeout: its own timeout or deadline passed.
            WorkerDied: its worker died.
            TimeoutError: *timeout* ran out; that stops nothing.
            BaseException: whatever the task raised; the worker's traceback is its cause.
        """
        try:
            self._await_end(timeout)
            if self._exception is not None:
                raise self._exception
            value: T = self._result
            return value
        finally:
            del self  # no cycle: the traceback of what is raised holds this frame

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the task raised, or None; wait at most *timeout* seconds.

        Raises:
            TaskStopped: it was stopped (a CancelledError).
            TimeoutError: *timeout* ran out; that stops nothing.
        """
        self._await_end(timeout)
        return self._exception

    def _await_end(self, timeout: float | None) -> None:
        self._wait_done(timeout)
        if self._state != FINISHED:
            raise self._stop_error or CancelledError()

    # --- told by the reactor -------------------------------------------------------------------

    def _withdraw(self, reason: StopReason) -> None:
        """Have the task never start; one that has started runs on. Does not wait."""
        reactor, task = self._reactor, self._task
        if reactor is None or task is None:
            return
        self._regain()
        with self._condition:
            if self._state != PENDING:
                return
            task.withdrawn = reason
            waits = not self._sent
            if waits:
                task.reason = reason
                self._set_cancelled(self._never_started(task, reason))
        reactor.withdraw(task, reason.kind)
        if waits:
            self._invoke_callbacks()
            self._call_on_stopped()

    def _left_by(self, thread: int) -> None:
        """Stop the task if it waits for *thread* to take its items, which waits for the task."""
        if self._feed is not None and self._feed.taker == thread:
            self.stop("who took its items waits for its end")

    def _bind(self, task: Task, reactor: "Reactor") -> None:
        self._task, self._reactor = task, reactor

    def _send(self) -> bool:
        """Take note that a worker is being sent the task; False if it was cancelled meanwhile, and must not be."""
        with UNOWNED:
            if self._own is None:
                self._sent = True
                return self._state not in ENDED
        self._regain()
        with self._condition:
            self._sent = True
            return self._state not in ENDED

    def _begin(self) -> None:
        if self._state == PENDING:  # nobody else moves a future that was sent
            self._state = RUNNING

    def _requeue(self) -> None:
        self._regain()
        with self._condition:
            self._sent = False
            if self._state == RUNNING:
                self._state = PENDING

    def _publish(self, raw: Any) -> None:
        """Take note of a new partial result (the task keeps it)."""

    def _finish_error(self, error: BaseException) -> None:
        self._regain()
        if not self.done():
            self.set_exception(error)

    def _finish_stopped(self, error: TaskStopped) -> None:
        """End for a stop: as cancelled, or as failed if it is one that nobody asked for (a limit was passed)."""
        self._regain()
        barked = error.reason is not None and error.reason.kind is StopKind.WATCHDOG
        if barked or type(error) is not TaskStopped:
            if not self.done():
                self._stop_error = error
                self.set_exception(error)
                self._call_on_stopped()
            return
        with self._condition:
            if self._state in ENDED:
                return
            self._set_cancelled(error)
        self._invoke_callbacks()
        self._call_on_stopped()

    def _set_cancelled(self, error: TaskStopped) -> None:
        """End as cancelled. The caller holds the condition, and calls the callbacks after."""
        self._stop_error = error
        self._state = CANCELLED_AND_NOTIFIED
        for waiter in self._waiters:
            waiter.add_cancelled(self)
        self._condition.notify_all()

    def _never_started(self, task: Task, reason: StopReason) -> TaskStopped:
        return TaskStopped(reason=reason, started=False, task=task.title())

    def _call_on_stopped(self) -> None:
        task = self._task
        if task is None or task.on_stopped is None:
            return
        call: Callable[[Any], object] = task.on_stopped
        task.on_stopped = None
        try:
            call(self)
        except Exception:
            log.exception("on_stopped of %s raised", task.name)
