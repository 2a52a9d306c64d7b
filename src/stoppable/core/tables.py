"""The states of a task and of a worker, and every move between them.

The tables know nothing of time, ladders or queues: those only choose which move to make. A state
changes by `move_task` and `move_worker` alone; a move that has no row raises. The diagrams in the
docs are drawn from here.
"""

from enum import Enum
from typing import Final


class _Quick(Enum):
    # Enum's own hash is a Python function, several times slower than this one, and each move looks
    # up two of them. Members are single objects, so identity is right.
    __hash__ = object.__hash__


class TaskState(_Quick):
    QUEUED = "queued"  # no worker has it
    SENT = "sent"  # a worker has it, behind another
    RUNNING = "running"  # first in its worker's line
    PAUSED = "paused"  # it has started, and stands still with its worker
    STOPPING = "stopping"  # it has started, and a stop is climbing
    DONE = "done"


class WorkerState(_Quick):
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RETIRING = "retiring"  # told to leave by itself
    DOOMED = "doomed"  # told to die, not yet seen to
    LOST = "lost"  # killed, and not seen to die in time; no longer counted
    GONE = "gone"


class TaskMove(_Quick):
    START = "start"  # handed to an idle worker
    SEND = "send"  # handed to a busy one
    LEAD = "lead"  # those before it have ended
    REQUEUE = "requeue"  # taken back, not started
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    END = "end"


class WorkerMove(_Quick):
    BOOT = "boot"
    GIVE = "give"
    FREE = "free"
    RETIRE = "retire"
    DOOM = "doom"
    LOSE = "lose"
    EXIT = "exit"


TASK_MOVES: Final[dict[TaskState, dict[TaskMove, TaskState]]] = {
    TaskState.QUEUED: {
        TaskMove.START: TaskState.RUNNING,
        TaskMove.SEND: TaskState.SENT,
        TaskMove.END: TaskState.DONE,
    },
    TaskState.SENT: {
        TaskMove.LEAD: TaskState.RUNNING,
        TaskMove.REQUEUE: TaskState.QUEUED,
        TaskMove.END: TaskState.DONE,
    },
    TaskState.RUNNING: {
        TaskMove.PAUSE: TaskState.PAUSED,
        TaskMove.STOP: TaskState.STOPPING,
        TaskMove.REQUEUE: TaskState.QUEUED,
        TaskMove.END: TaskState.DONE,
    },
    # A stop resumes first, so that no stop ever waits for somebody to do that.
    TaskState.PAUSED: {
        TaskMove.RESUME: TaskState.RUNNING,
        TaskMove.END: TaskState.DONE,
    },
    TaskState.STOPPING: {TaskMove.END: TaskState.DONE},
    TaskState.DONE: {},
}

WORKER_MOVES: Final[dict[WorkerState, dict[WorkerMove, WorkerState]]] = {
    WorkerState.STARTING: {
        WorkerMove.BOOT: WorkerState.IDLE,
        WorkerMove.RETIRE: WorkerState.RETIRING,
        WorkerMove.DOOM: WorkerState.DOOMED,
        WorkerMove.EXIT: WorkerState.GONE,
    },
    WorkerState.IDLE: {
        WorkerMove.GIVE: WorkerState.BUSY,
        WorkerMove.RETIRE: WorkerState.RETIRING,
        WorkerMove.EXIT: WorkerState.GONE,
    },
    WorkerState.BUSY: {
        WorkerMove.FREE: WorkerState.IDLE,
        WorkerMove.RETIRE: WorkerState.RETIRING,
        WorkerMove.DOOM: WorkerState.DOOMED,
        WorkerMove.EXIT: WorkerState.GONE,
    },
    WorkerState.RETIRING: {WorkerMove.DOOM: WorkerState.DOOMED, WorkerMove.EXIT: WorkerState.GONE},
    WorkerState.DOOMED: {WorkerMove.LOSE: WorkerState.LOST, WorkerMove.EXIT: WorkerState.GONE},
    WorkerState.LOST: {WorkerMove.EXIT: WorkerState.GONE},
    WorkerState.GONE: {},
}


class IllegalMove(AssertionError):
    """A move that has no row: the machine has a bug. Nothing outside can cause it."""


def move_task(state: TaskState, move: TaskMove) -> TaskState:
    """Return the state after *move*. Raises IllegalMove if the table has no such row."""
    try:
        return TASK_MOVES[state][move]
    except KeyError:
        raise IllegalMove(f"a {state.value} task cannot {move.value}") from None


def move_worker(state: WorkerState, move: WorkerMove) -> WorkerState:
    """Return the state after *move*. Raises IllegalMove if the table has no such row."""
    try:
        return WORKER_MOVES[state][move]
    except KeyError:
        raise IllegalMove(f"a {state.value} worker cannot {move.value}") from None
