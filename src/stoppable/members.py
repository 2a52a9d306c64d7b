"""Who belongs to a task group, what became of each, and what that means for the others.

It decides and it stops; it never waits. What waits stands above it: `groups.py` with a thread.

Invariants:
1. A future is entered before its task is submitted, so that none can run unseen.
2. `complete()` only when every member has really ended, and its failure, if it is one, has been taken in.
3. No lock is held while a future is stopped or the user's `stop_when` runs.
"""

import concurrent.futures
import threading
import weakref
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal

from stoppable.errors import StopRequested, TaskStopped
from stoppable.future import Future
from stoppable.reason import StopKind, StopReason, new_reason
from stoppable.rung import Rung
from stoppable.worker.scopes import Scope

OnError = Literal["stop", "drain", "ignore"]
# Stops that nobody asked for: a task that ends by one has failed.
_FAULTS = (StopKind.DEADLINE, StopKind.WATCHDOG, StopKind.MEMORY)
_SHOWN = 200  # characters of a failure in the reason that it gives to its siblings


class Left(Enum):
    """What the block of a group was left by."""

    ENDED = "nothing"
    STOPPED = "the stop of the group, which ends here"
    PASSING = "a stop from outside, which passes"
    PRESSED = "Ctrl-C, which passes bare"
    EXITING = "the end of the program, or an interrupt of the task it is in, which pass bare"
    FAILED = "an exception of its own, which is a failure of the group"


class Members:
    """The futures of one group.

    Args:
        scope: whose token stops the group.
        name: of the group.
        on_error: what the first failure does to the others.
        stop_when: called with each member that ended by itself or failed; True stops the others.
        kind: of the stop that a failure or *stop_when* starts.
        changed: called when no member is left that has not ended, in whatever thread; must not block.
    """

    def __init__(
        self,
        scope: Scope,
        name: str,
        on_error: OnError,
        stop_when: Callable[[Future[Any]], object] | None,
        kind: StopKind,
        changed: Callable[[], object],
    ) -> None:
        self.scope, self.name, self.kind = scope, name, kind
        self.on_error, self._stop_when, self._changed = on_error, stop_when, changed
        self.futures: list[Future[Any]] = []  # in the order of their submission
        self.failures: list[BaseException] = []  # in the order of their arrival
        self.cut = False  # a stop has ended a member
        self._faults: list[BaseException] = []  # of `stop_when`: raised whatever `on_error` says
        self._drained: StopReason | None = None
        self._lock = threading.RLock()  # a signal handler may submit while its thread does
        self.unended = 0  # members that have not ended
        self._closed = False

    # --- coming and going --------------------------------------------------------------------

    def enter(self, future: Future[Any]) -> None:
        """Take in *future*, whose task is not submitted yet.

        Raises:
            RuntimeError: the group is over.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self.name} is over: it takes no more tasks")
            self.futures.append(future)
            self.unended += 1
        # Weakly: a future keeps its callbacks, and results would live until the garbage collector comes.
        here = weakref.ref(self)

        def ended(future: concurrent.futures.Future[Any]) -> None:
            members = here()
            if members is not None and isinstance(future, Future):
                members._consider(future, ending(future))

        def told() -> None:
            members = here()
            if members is not None:
                members._leave()

        future.add_done_callback(ended)
        future._afterwards = told  # so that callbacks of the user's, which come after ours, may submit more

    def withdraw(self, future: Future[Any]) -> None:
        """*future* could not be submitted: let it be over, and forget it."""
        future.cancel()
        self.futures.remove(future)

    def refusal(self) -> StopReason | None:
        """Return why no task is started any more, or None."""
        return self.scope.token.reason or self._drained

    def submitted(self, future: Future[Any]) -> None:
        """The task of *future* was submitted: stop it, if the group was stopped just then."""
        reason = self.refusal()
        if reason is not None and self.scope.token.is_set():
            future.stop(reason)
        elif reason is not None:
            future._withdraw(reason)

    def complete(self) -> bool:
        """Say whether every member has ended."""
        return self.unended == 0

    def close(self) -> bool:
        """Take no more members; False if there are some that have not ended, and then nothing is changed."""
        with self._lock:
            self._closed = self._closed or self.unended == 0
            return self._closed

    # --- stopping ----------------------------------------------------------------------------

    def stop(self, reason: StopReason, at: Rung = Rung.ASK) -> bool:
        """Stop all members: those that wait first, so that none of them starts. Never blocks.

        Returns:
            Whether this was the first stop.
        """
        first = self.scope.token.stop(reason)
        self.obey(at)
        return first

    def obey(self, at: Rung = Rung.ASK) -> None:
        """Stop all members, for the reason for which the token is set."""
        reason = self.scope.token.reason
        alive = self._alive()
        for future in [each for each in alive if not each.running()]:
            future.stop(reason, at=at)
        for future in alive:
            future.stop(reason, at=at)

    def drain(self, reason: StopReason) -> None:
        """Let those that run finish, and nothing more start."""
        if self._drained is None:
            self._drained = reason
            for future in self._alive():
                future._withdraw(reason)

    def _alive(self) -> list[Future[Any]]:
        # One that is being submitted just now is seen to by `submitted`.
        return [future for future in list(self.futures) if future._task is not None and not future.done()]

    # --- what becomes of them ----------------------------------------------------------------

    def _leave(self) -> None:
        with self._lock:
            self.unended -= 1
            over = not self.unended
        if over:
            self._changed()

    def _consider(self, future: Future[Any], error: BaseException | None) -> None:
        if isinstance(error, TaskStopped):
            self.cut = True
        if error is not None and self._is_failure(future, error):
            self.failures.append(error)
            if self.on_error != "ignore":
                reason = self.because(f"{_title(future)} failed: {type(error).__name__}: {error}")
                if self.on_error == "stop":
                    self.stop(reason)
                else:
                    self.drain(reason)
        if self._stop_when is None or future.cancelled() or self.scope.token.is_set():
            return
        try:
            enough = self._stop_when(future)
        except Exception as fault:
            fault.add_note(f"(raised by stop_when of {self.name})")
            self._faults.append(fault)
            enough = True
        if enough:
            self.stop(self.because(f"stop_when was true after {_title(future)}"))

    def _is_failure(self, future: Future[Any], error: BaseException) -> bool:
        """Say whether *error* is more than a stop that somebody asked for."""
        if not future.stopped():
            return True  # it raised it, whatever it is
        return isinstance(error, TaskStopped) and self._is_fault(error.reason)

    def _is_fault(self, reason: StopReason | None) -> bool:
        """Say whether a stop for *reason* is one that nobody asked for."""
        outer = self.scope.outer
        if reason is not None and outer is not None and outer.reason is not None and reason.at == outer.reason.at:
            return False  # the time of somebody outside was up, and it is for them to say so
        return reason is not None and reason.kind in _FAULTS

    def because(self, message: str) -> StopReason:
        """Return a reason for a stop that the group starts."""
        return new_reason(self.kind, message if len(message) <= _SHOWN else message[: _SHOWN - 1] + "…")

    # --- the end -------------------------------------------------------------------------------

    def left_by(self, error: BaseException | None) -> Left:
        """Say how the block was left, if by *error*."""
        if error is None:
            return Left.ENDED
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            return Left.EXITING if isinstance(error, (StopRequested, SystemExit)) else Left.PRESSED
        if isinstance(error, TaskStopped) and self._is_fault(error.reason):
            return Left.FAILED
        if self.scope.owns(error) or (isinstance(error, TaskStopped) and self.scope.set_for(error.reason)):
            return Left.STOPPED
        passing = isinstance(error, (TaskStopped, StopRequested, concurrent.futures.CancelledError, GeneratorExit))
        return Left.PASSING if passing else Left.FAILED

    def block_left(self, error: BaseException | None, left: Left) -> None:
        """Stop the members if the block was left by an *error* of its own. A Ctrl-C is for those who wait to heed."""
        if left in (Left.PASSING, Left.EXITING, Left.FAILED):
            self.stop(self.because(f"the block of {self.name} raised {type(error).__name__}"))

    def verdict(self, error: BaseException | None, left: Left) -> BaseException | None:
        """Return what leaving the group raises, if its block was *left* by *error*; call it once all has ended.

        Returns:
            *error* itself if it is to pass, an exception group, or None if nothing is raised.
        """
        if left in (Left.PRESSED, Left.EXITING):
            return error
        ignore = self.on_error == "ignore"
        errors = [*([] if ignore else self.failures), *self._faults]
        if left is Left.STOPPED and self.scope.timed_out() and not ignore:
            errors.append(TimeoutError(f"the time of {self.name} was up while its block ran"))
        elif left is Left.FAILED and error is not None and all(error is not each for each in errors):
            errors.append(error)
        if errors:
            return BaseExceptionGroup(f"failures in {self.name}", errors)
        return None if left is Left.STOPPED else error


def ending(future: Future[Any]) -> BaseException | None:
    """Return what ended *future*, which has ended; None for a value."""
    if future.cancelled():
        return future._stop_error or concurrent.futures.CancelledError()
    return future.exception()


def _title(future: Future[Any]) -> str:
    return "a task" if future._task is None else future._task.title()
