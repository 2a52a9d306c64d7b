"""Counting what becomes of a pool's tasks: `ProcessPoolExecutor.statistics()`.

Only the reactor's thread counts. A task that returned a value, without a stop, is not looked at: its number is what is left.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from stoppable.core.ends import End
from stoppable.frozen import Frozen
from stoppable.reason import StopKind
from stoppable.rung import Rung
from stoppable.shell.task import Task

if TYPE_CHECKING:
    from stoppable.core.events import Resolve

_NEVER = "never started"


class Statistics(Frozen):
    """Numbers of a pool since it was made, all of about the same moment.

    Attributes:
        submitted: tasks taken in; each is in exactly one of pending, running, returned, failed, died and stopped.
        pending: wait for a worker.
        running: workers that have work.
        returned: ended with a value.
        failed: raised, or could not be run at all.
        died: lost with their worker.
        stopped: ended by a stop, by the name of the last rung that was needed, or "never started".
        timed_out: those of the stopped whose time was up.
        climbed: rungs, by name, that tasks which have ended by now were taken up; also those that then returned.
        workers: processes alive, with the spare one.
        workers_started: processes ever started.
        workers_retired: those told to leave, as worn out or no longer needed.
    """

    __slots__ = (
        "submitted",
        "pending",
        "running",
        "returned",
        "failed",
        "died",
        "stopped",
        "timed_out",
        "climbed",
        "workers",
        "workers_started",
        "workers_retired",
    )
    submitted: int
    pending: int
    running: int
    returned: int
    failed: int
    died: int
    stopped: Mapping[str, int]
    timed_out: int
    climbed: Mapping[str, int]
    workers: int
    workers_started: int
    workers_retired: int

    def __init__(
        self,
        submitted: int = 0,
        pending: int = 0,
        running: int = 0,
        returned: int = 0,
        failed: int = 0,
        died: int = 0,
        stopped: Mapping[str, int] | None = None,
        timed_out: int = 0,
        climbed: Mapping[str, int] | None = None,
        workers: int = 0,
        workers_started: int = 0,
        workers_retired: int = 0,
    ) -> None:
        ended = returned, failed, died, stopped or {}, timed_out, climbed or {}
        super().__init__(submitted, pending, running, *ended, workers, workers_started, workers_retired)


class Tally:
    """What is counted as it happens."""

    __slots__ = ("climbed", "died", "ended", "failed", "retired", "stopped", "timed_out")

    def __init__(self) -> None:
        self.ended = self.failed = self.died = self.timed_out = self.retired = 0
        self.stopped: Counter[str] = Counter()
        self.climbed: Counter[str] = Counter()

    def note(self, task: Task, end: "Resolve") -> None:
        """Count an ended task that did not simply return a value."""
        self.climb(task)
        if end.end is End.DIED:
            self.died += 1
        elif end.end is End.STOPPED:
            self.stopped[str(end.rung or Rung.ASK) if end.started else _NEVER] += 1
            self.timed_out += task.reason is not None and task.reason.kind is StopKind.DEADLINE
        else:
            self.failed += 1

    def climb(self, task: Task) -> None:
        """Count the rungs that an ended task was taken up."""
        for rung, _ in task.rungs:
            self.climbed[str(rung)] += 1

    def read(self, unfinished: int, running: int, workers: int, started: int) -> Statistics:
        """Return the numbers, with those that others know."""
        stopped = dict(self.stopped)
        gone = self.failed + self.died + sum(stopped.values())
        return Statistics(
            submitted=self.ended + unfinished,
            pending=max(0, unfinished - running),
            running=min(running, unfinished),
            returned=max(0, self.ended - gone),
            failed=self.failed,
            died=self.died,
            stopped=stopped,
            timed_out=self.timed_out,
            climbed=dict(self.climbed),
            workers=workers,
            workers_started=started,
            workers_retired=self.retired,
        )
