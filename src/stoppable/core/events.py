"""What can happen to a pool (events), and what a pool wants done (actions). Data only.

The shell turns the world into events and actions into system calls. These are NamedTuples and not
frozen dataclasses because several are made for every task: a NamedTuple is made in a third of the time.

Contract of the shell towards the machine:
1. one `step` at a time; 2. `now` never goes back; 3. a worker's events come in the order it made
them; 4. `Exited` comes only after the worker's channel was read to its end; 5. actions are done in
order, and one that fails becomes an event; 6. an interrupt is accepted only by the task it names.
"""

import math
from typing import NamedTuple, NewType

from stoppable.core.ends import End
from stoppable.core.ladder import StopPolicy
from stoppable.reason import StopKind
from stoppable.rung import Rung

TaskId = NewType("TaskId", int)
WorkerId = NewType("WorkerId", int)


# --- events: the world speaks ----------------------------------------------------------------


class Submit(NamedTuple):
    """A new task. Times are seconds; `deadline` is absolute, `timeout_s` counts from the start, pauses left out.

    watchdog_s: the most that may pass without a sign of life. memory_bytes: the most that its processes may have.
    """

    task: TaskId
    policy: StopPolicy
    timeout_s: float | None = None
    deadline: float | None = None
    watchdog_s: float | None = None
    memory_bytes: int | None = None


class Stop(NamedTuple):
    """Someone wants *task* ended, starting at rung *at*. A later one can only hasten an earlier one."""

    task: TaskId
    at: Rung = Rung.ASK
    policy: StopPolicy | None = None  # None: the task's own
    kind: StopKind = StopKind.STOP


class Withdraw(NamedTuple):
    """End *task* if it has not started. One that runs is left alone."""

    task: TaskId
    kind: StopKind


class StopAll(NamedTuple):
    """Stop every task: the waiting ones first, so none of them starts, then all running ones at once.

    within_s: seconds that no ladder may take more of, whatever the policies say.
    """

    at: Rung = Rung.ASK
    kind: StopKind = StopKind.SHUTDOWN
    within_s: float = math.inf


class Pause(NamedTuple):
    """Someone wants *task* to stand still until Resume; nothing if it is being stopped."""

    task: TaskId


class Resume(NamedTuple):
    """Someone wants *task* to go on; nothing if it is not paused, nor about to be."""

    task: TaskId


class Booted(NamedTuple):
    """The worker is ready for its first task."""

    worker: WorkerId


class BootFailed(NamedTuple):
    """The worker says it can never be ready: initializer or `__main__` failed. It will exit by itself."""

    worker: WorkerId


class SpawnFailed(NamedTuple):
    """A `Spawn` could not be done at all (no memory, no process to be had)."""

    worker: WorkerId


class Recalled(NamedTuple):
    """Answer to `Recall`: the task had not started, and now never will on that worker."""

    worker: WorkerId
    task: TaskId


class Claimed(NamedTuple):
    """Answer to `Recall`: too late, the worker had started (or even ended) the task."""

    worker: WorkerId
    task: TaskId


class Probed(NamedTuple):
    """Answer to `Probe`, given after the worker's channel was read: what its shared page says.
    Also comes by itself when a task that is being stopped has left its shield.

    looked: the task has received its token or called an in-task function since it started.
    shield_until: the moment its shield's limit ends; 0 when there is none.
    started_at: when the task really started, or None if it has not.
    alive_at: the last sign of life, at the latest; may lie ahead, if the task said so. Matters with a watchdog only.
    """

    worker: WorkerId
    task: TaskId
    looked: bool
    shield_until: float
    started_at: float | None
    alive_at: float = 0.0


class Weighed(NamedTuple):
    """The processes of *worker* have so many bytes, measured while *task* was the first of its line."""

    worker: WorkerId
    task: TaskId
    size_bytes: int


class Answered(NamedTuple):
    """The worker says the task has ended; `stopped` when it ended because its stop was asked for.

    fit: False when the worker should run nothing more (it was interrupted, or says so itself).
    began: False when it was stopped before its body ran.
    """

    worker: WorkerId
    task: TaskId
    stopped: bool
    fit: bool = True
    began: bool = True


class Exited(NamedTuple):
    """The worker is gone. *claimed* is the task it had started and not answered, if any.

    killed: somebody else ended it (SIGKILL, or its warden was lost), so it says little about the next one.
    """

    worker: WorkerId
    claimed: TaskId | None
    killed: bool = False


class Shutdown(NamedTuple):
    """No more tasks will come. With *cancel_pending*, those not started never will."""

    cancel_pending: bool = False


class Tick(NamedTuple):
    """Nothing happened but time."""


Event = (
    Submit
    | Stop
    | Withdraw
    | StopAll
    | Pause
    | Resume
    | Weighed
    | Booted
    | BootFailed
    | SpawnFailed
    | Recalled
    | Claimed
    | Probed
    | Answered
    | Exited
    | Shutdown
    | Tick
)


# --- actions: the pool speaks ----------------------------------------------------------------


class Spawn(NamedTuple):
    worker: WorkerId


class Send(NamedTuple):
    """Hand the task to the worker. It starts when those sent before it have ended."""

    worker: WorkerId
    task: TaskId


class Started(NamedTuple):
    """The task is now first in its worker's line: its future shows running."""

    task: TaskId


class Requeued(NamedTuple):
    """The task is certain not to have started, and waits again: its future shows pending."""

    task: TaskId


class Recall(NamedTuple):
    """Take a sent task back if it has not started. Answered by exactly one Recalled or Claimed,
    or by Answered (it was already over) or Exited."""

    worker: WorkerId
    task: TaskId


class Probe(NamedTuple):
    """Read the worker's channel, then its page. Answered by Answered, Exited or Probed."""

    worker: WorkerId
    task: TaskId


class Suspend(NamedTuple):
    """Have the worker's whole tree stand still. The task is its only one."""

    worker: WorkerId
    task: TaskId


class Continue(NamedTuple):
    """Have what was suspended go on."""

    worker: WorkerId
    task: TaskId


class Ask(NamedTuple):
    """Set the task's token. *kind*: why; the machine starts some stops by itself."""

    worker: WorkerId
    task: TaskId
    kind: StopKind = StopKind.STOP


class Interrupt(NamedTuple):
    worker: WorkerId
    task: TaskId


class Terminate(NamedTuple):
    """SIGTERM to the worker's whole tree. *task* is the one being stopped, None for a worker unfit."""

    worker: WorkerId
    task: TaskId | None


class Kill(NamedTuple):
    """SIGKILL to the worker's whole tree."""

    worker: WorkerId
    task: TaskId | None


class Retire(NamedTuple):
    """Tell an idle worker to leave by itself."""

    worker: WorkerId


class Resolve(NamedTuple):
    """The task has ended. *rung*: the last one climbed, if a stop was under way and it started.

    started: False says for certain that its body never ran.
    confirmed: False when its worker was killed but never seen to die.
    kind: of the first stop asked for, or None when there was none.
    """

    task: TaskId
    end: End
    rung: Rung | None = None
    started: bool = True
    confirmed: bool = True
    kind: StopKind | None = None


class Abandon(NamedTuple):
    """The worker was killed and not seen to die in time; its seat is given to another."""

    worker: WorkerId


class Finished(NamedTuple):
    """After Shutdown: every task has ended, and every worker is gone or abandoned."""


Action = (
    Spawn
    | Send
    | Started
    | Requeued
    | Recall
    | Probe
    | Suspend
    | Continue
    | Ask
    | Interrupt
    | Terminate
    | Kill
    | Retire
    | Resolve
    | Abandon
    | Finished
)
