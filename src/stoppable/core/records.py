"""What the machine knows of one task and of one worker. Records only: `Pool` and its kin change them."""

import math

from stoppable.core.events import TaskId, WorkerId
from stoppable.core.ladder import Climb, StopPolicy
from stoppable.core.tables import TaskState, WorkerState
from stoppable.reason import StopKind


class Task:
    """A task that has not ended. Once it has, nothing here remembers it."""

    __slots__ = (
        "alive_at",
        "asked",
        "began",
        "claimed",
        "climb",
        "deadline",
        "due",
        "heavy",
        "held",
        "id",
        "look_at",
        "memory_bytes",
        "paused_at",
        "paused_s",
        "policy",
        "probing",
        "recalling",
        "shown",
        "state",
        "timed",
        "timeout_s",
        "unwanted",
        "watchdog_s",
        "worker",
    )

    def __init__(
        self,
        id: TaskId,
        policy: StopPolicy,
        timeout_s: float | None,
        deadline: float | None,
        watchdog_s: float | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self.id = id
        self.policy = policy
        self.timeout_s = timeout_s
        self.deadline = deadline
        self.watchdog_s = watchdog_s
        self.memory_bytes = memory_bytes
        self.timed = timeout_s is not None or watchdog_s is not None  # something counts from its start
        self.state = TaskState.QUEUED
        self.worker: Worker | None = None
        self.shown = False  # Started was said, and not taken back by Requeued
        self.claimed = False  # known to have started; never goes back
        self.recalling = False  # a Recall is out, not yet answered
        self.probing = False  # a Probe is out, not yet answered
        self.asked = False  # Ask was said
        self.climb: Climb | None = None
        self.unwanted: StopKind | None = None  # ends if it is found not to have started; else it runs on
        self.began = math.inf  # the earliest that it can have started
        self.held = False  # is paused, or is to be
        self.paused_at = 0.0
        self.paused_s = 0.0  # in all pauses that are over
        self.alive_at = 0.0  # its last known sign of life
        self.heavy = False  # was found to be over its memory; to be stopped if it has started
        self.look_at = math.inf  # when its page is to be read again
        self.due: float | None = None  # of its entry in Dues that counts

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
