"""Sending an interrupt again until it is heard.

Python looks for signals between bytecodes and when a system call is interrupted. One that arrives in
the instant between, when `time.sleep` has been called and has not yet begun to sleep, wakes nothing:
the handler would run when the sleep ends. That was seen once in some thousand stops on a busy machine.
A second signal costs nothing, since the gate lets an interrupt land only once.

Used by the reactor's thread only.
"""

from collections.abc import Callable

_FIRST_S = 0.005  # an interrupt that is heard is heard within one
_TIMES = 8  # each after twice as long as the one before: 1.3 s in all


class Insistence:
    """The interrupts that were sent and are not known to have been heard.

    Args:
        again: send the interrupt to this worker once more.
        wanted: whether the worker, which runs that task, has not heard it; None once it does not run that task.
    """

    def __init__(self, again: Callable[[int], None], wanted: Callable[[int, int], bool | None]) -> None:
        self._again, self._wanted = again, wanted
        self._sent: dict[int, tuple[int, float, float]] = {}  # worker -> (task, when to look, how long after)

    def begin(self, worker: int, task: int, now: float) -> None:
        """The interrupt was sent for the first time."""
        self._sent[worker] = (task, now + _FIRST_S, _FIRST_S)

    def __bool__(self) -> bool:
        return bool(self._sent)

    def due(self) -> float | None:
        """Return when to `look`, or None while there is nothing to look at."""
        return min((when for _, when, _ in self._sent.values()), default=None)

    def look(self, now: float) -> None:
        """Send again what is due and was not heard; forget those whose task is over.

        What was heard is looked at again, too: Python may have swallowed it since (see `Gate.swallowed`).
        """
        for worker, (task, when, after) in list(self._sent.items()):
            if when > now:
                continue
            wanted = self._wanted(worker, task)
            if wanted is None or after >= _FIRST_S * 2**_TIMES:
                del self._sent[worker]
                continue
            self._sent[worker] = (task, now + 2 * after, 2 * after)
            if wanted:
                self._again(worker)
