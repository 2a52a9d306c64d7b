"""What is raised in a task that is to stop. Workers import it, so it must not cost them anything more."""

from stoppable.reason import StopReason


class StopRequested(BaseException):
    """Raised in a task by `check()` and `sleep()` once its stop was asked for.

    It is a BaseException, so `except Exception` in the task's libraries does not swallow it. Let it
    pass, after cleaning up; or catch it and return what is done so far, and that value is the result.

    Attributes:
        reason: the `StopReason`, or None when raised by hand.
    """

    def __init__(self, reason: StopReason | None = None) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return "stop requested" if self.reason is None else f"stop requested ({self.reason})"


class StopInterrupt(StopRequested, KeyboardInterrupt):
    """Raised in a task by the interrupt rung, wherever the task is, so that its `finally` runs."""
