"""The gate: the only place where an interrupt may enter a task.

An interrupt is SIGINT. Python runs the handler in the main thread between two bytecodes, at a
moment nobody can choose, possibly long after the signal was sent. So the signal alone means
nothing: the handler raises only if the page names the task that the gate is open for. That is why
an interrupt cannot hit the next task, nor the loop itself, however late it is.

Invariants:
1. `StopInterrupt` is raised at most once for a task (`landed`), and only while `task` is not 0. One that
   Python itself has swallowed counts as not raised.
2. While sealed (our own writes to the socket) nothing is raised: half a frame would break the
   channel. What came meanwhile is raised when the seal opens. The same for shields, until their limit.
3. What comes before the gate opens (while the task's function is imported) is raised when it does.
4. Only the main thread of the worker uses this object, except that the handler reads the page.
"""

import time
from types import FrameType

from stoppable.requested import StopInterrupt
from stoppable.worker.page import ASKED_TASK, HEARD_TASK, INTERRUPT_TASK, SHIELD_UNTIL, Page


class Gate:
    """Whether, and for which task, an interrupt may be raised now."""

    __slots__ = ("landed", "page", "pending", "seals", "shields", "task")

    def __init__(self, page: Page) -> None:
        self.page = page
        self.task = 0  # the task that may be interrupted now; 0 = none
        self.landed = False  # its interrupt was raised
        self.pending = False  # its interrupt came while it could not be raised
        self.seals = 0
        self.shields = 0

    def reset(self) -> None:
        """Forget the previous task. The gate must be shut."""
        self.landed = self.pending = False
        self.seals = self.shields = 0
        if self.page.f64[SHIELD_UNTIL]:
            self.page.f64[SHIELD_UNTIL] = 0.0

    def open(self, task: int) -> None:
        """Let interrupts of *task* in; raise the one that came while its function was still being read."""
        self.task = task
        if self.page.u64[INTERRUPT_TASK] == task and not self.landed:
            self._land()

    def on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        """Handle SIGINT."""
        task = self.task
        if not task or self.landed or self.page.u64[INTERRUPT_TASK] != task:
            return
        if self.seals or self.shielded():
            self.page.u64[HEARD_TASK] = task
            self.pending = True
            return
        self._land()

    def shielded(self) -> bool:
        """Say whether a shield is up whose limit has not passed."""
        return self.shields > 0 and time.monotonic() < self.page.f64[SHIELD_UNTIL]

    def seal(self) -> None:
        """Let nothing be raised until `unseal`."""
        self.seals += 1

    def unseal(self) -> None:
        """Open the seal; raise what came meanwhile."""
        self.seals -= 1
        if self.pending:
            self.release()

    def release(self) -> None:
        """Raise a pending interrupt if nothing holds it back any more."""
        if self.pending and not self.landed and self.task and not self.seals and not self.shielded():
            self._land()

    def swallowed(self, error: BaseException | None) -> bool:
        """Take back an interrupt that no code of the task has seen; False if *error* is something else.

        Python drops what is raised in a destructor, in a weak reference's callback (each import runs some)
        or in a hook of a fork. Measured: 1 interrupt of 300 during imports. The parent sends it again, as
        it does with one that was not heard.
        """
        if not (isinstance(error, StopInterrupt) and self.landed and self.task):
            return False
        self.page.u64[HEARD_TASK] = 0
        self.landed = False
        return True

    def _land(self) -> None:
        page = self.page
        self.landed = True
        page.u64[HEARD_TASK] = self.task
        if page.u64[ASKED_TASK] == self.task:
            page.asked.set_and_wake()  # the task may have been about to do so: see `forget_stale_ask`
        raise StopInterrupt(page.reason())
