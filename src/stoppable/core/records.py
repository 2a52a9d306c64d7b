"""What the machine knows of one task and of one worker. Records only: `Pool` and its kin change them."""

import math

from stoppable.core.events import TaskId, WorkerId
from stoppable.core.ladder import Climb, StopPolicy
from stoppable.core.tables import TaskState, WorkerState
from stoppable.reason import StopKind

_QUEUED = TaskState.QUEUED


class Task:
    """A task that has not ended. Once it has, nothing here remembers it.

    The class holds what most tasks never change: to set all of it in each would cost as much as to send one.
    """

    timeout_s: float | None = None
    deadline: float | None = None
    watchdog_s: float | None = None
    memory_bytes: int | None = None
    timed = False  # something counts from its start
    probing = False  # a Probe is out, not yet answered
    asked = False  # Ask was said
    unwanted: StopKind | None = None  # ends if it is found not to have started; else it runs on
    began = math.inf  # the earliest that it can have started
    paused_at = 0.0
    paused_s = 0.0  # in all pauses that are over
    alive_at = 0.0  # its last known sign of life
    heavy = False  # was found to be over its memory; to be stopped if it has started
    look_at = math.inf  # when its page is to be read again

    def __init__(
        self,
        id: TaskId,
        policy: StopPolicy,
        timeout_s: float | None = None,
        deadline: float | None = None,
        watchdog_s: float | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self.id = id
        self.policy = policy
        self.state = _QUEUED
        self.worker: Worker | None = None
        self.climb: Climb | None = None
        self.due: float | None = None  # of its entry in Dues that counts
        self.shown = False  # Started was said, and not taken back by Requeued
        self.claimed = False  # known to have started; never goes back
        self.recalling = False  # a Recall is out, not yet answered
        self.held = False  # is paused, or is to be
        if timeout_s is not None or deadline is not None or watchdog_s is not None or memory_bytes is not None:
            self.timeout_s, self.deadline = timeout_s, deadline
            self.watchdog_s, self.memory_bytes = watchdog_s, memory_bytes
            self.timed = timeout_s is not None or watchdog_s is not None

    def __repr__(self) -> str:
        return f"<task {self.id} {self.state.value}>"


class Worker:
    """A worker that is not gone."""

    __slots__ = ("due", "id", "killed", "line", "sent", "slot", "state", "worn")

    def __init__(self, id: WorkerId) -> None:
        self.id = id
        self.state = WorkerState.STARTING
        self.line: list[Task] = []  # sent and not ended; the first is the one that may run
        self.sent = 0  # tasks sent to it and not taken back
        self.worn = False  # interrupted, or unfit by its own word: nothing more for it
        self.killed = False
        self.slot = 0  # its bucket in Pool.room; 0: in none
        self.due: float | None = None

    def __repr__(self) -> str:
        return f"<worker {self.id} {self.state.value} {self.line}>"
