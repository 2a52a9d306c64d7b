"""What is known of a pool, and the small steps in which it changes: the ground floor of the machine.

The machine is six storeys, each a subclass that calls only itself and those below:
`Pool` (here), `Pausing`, `Stopping`, `Sending`, `Staffing`, `Machine`. Nothing here decides anything; nothing
in any of them may look at a clock, do I/O, or walk over all tasks or all workers for one event.
"""

import math
from collections import OrderedDict, deque

from stoppable.core.dues import Dues
from stoppable.core.ends import End
from stoppable.core.events import (
    Abandon,
    Action,
    Kill,
    Probe,
    Recall,
    Resolve,
    Started,
    TaskId,
    WorkerId,
)
from stoppable.core.records import Task, Worker
from stoppable.core.tables import TaskMove, TaskState, WorkerMove, WorkerState, move_task, move_worker
from stoppable.reason import StopKind
from stoppable.rung import Rung

# Looking a member up on its class costs several times a global, and these are in the path of every task.
_QUEUED, _END = TaskState.QUEUED, TaskMove.END
_IDLE, _BUSY, _LOST = WorkerState.IDLE, WorkerState.BUSY, WorkerState.LOST

_FEW = 64  # ended tasks in the queue that are not worth a clean-up


class Pool:
    """The state of a pool. See `Machine` for the arguments."""

    def __init__(
        self,
        size: int,
        *,
        spares: int = 1,
        ahead: int = 1,
        max_tasks_per_child: int | None = None,
        boot_s: float = 60.0,
        retire_s: float = 5.0,
        kill_s: float = 10.0,
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, was {size!r}")
        if max_tasks_per_child is not None and max_tasks_per_child < 1:
            raise ValueError(f"max_tasks_per_child must be at least 1, was {max_tasks_per_child!r}")
        self.size, self.spares, self.ahead = size, spares, ahead
        self.most: float = math.inf if max_tasks_per_child is None else max_tasks_per_child
        self.boot_s, self.retire_s, self.kill_s = boot_s, retire_s, kill_s
        self.backoff_s, self.backoff_most_s = 0.1, 2.0  # after a worker that did not boot; doubled each time
        self.recheck_s = 0.05  # the least time between two looks at a task that has not started
        self.now = -math.inf
        self.tasks: dict[TaskId, Task] = {}
        self.crew: dict[WorkerId, Worker] = {}  # every worker that is not gone
        self.queue: deque[Task] = deque()  # may hold ended tasks too
        self.over = 0  # how many of those
        # Used as a stack: the one that worked last is the warmest, and one that has not worked yet the coldest.
        self.idle: OrderedDict[Worker, None] = OrderedDict()
        self.tails: dict[Worker, None] = {}  # may have a task behind its head that can be recalled
        self.room: list[dict[Worker, None]] = [{}]  # by length of line: busy workers that may be sent more
        self.low = 1  # no bucket of room below this one holds a worker
        self.dues = Dues()
        self.count = dict.fromkeys(WorkerState, 0)
        self.seated = 0  # workers with a line, but for the lost ones: at most `size`
        self.coming = 0  # recalls not answered yet
        self.spawned = 0
        self.booted = False  # one worker has booted, ever
        self.failures = 0  # workers in a row that did not boot by their own doing
        self.kills = 0  # workers in a row that others killed before they had booted
        self.killed_since = 0.0  # the first of those
        self.retry_at: float | None = None  # no spawn before that
        self.closing = False
        self.refusing = False  # what has not started never will
        self.broken = False
        self.finished = False
        self.staffing = False  # something has changed that may call for more workers
        self.emptying = False  # all that there is, is being stopped: nobody is to be born for it
        self.out: list[Action] = []

    # --- tasks -----------------------------------------------------------------------------

    def resolve(self, task: Task, end: End, *, started: bool = True, confirmed: bool = True) -> None:
        """End *task*: the only place that does."""
        if task.state is _QUEUED:
            self.over += 1
            if self.over > _FEW and self.over * 2 > len(self.queue):
                self.queue = deque(each for each in self.queue if each.state is _QUEUED and each is not task)
                self.over = 0
        task.state = move_task(task.state, _END)
        del self.tasks[task.id]
        if task.due is not None:
            self.dues.set(task, math.inf)
        climb = task.climb
        rung = kind = None
        if climb is not None:
            kind = climb.kind
            if started:
                rung = climb.rung or (Rung.ASK if task.asked else None)
        elif end is End.STOPPED:
            kind = task.unwanted
        if started and not task.shown:
            self.out.append(Started(task.id))
        self.out.append(Resolve(task.id, end, rung, started, confirmed, kind))

    def resolve_unstarted(self, task: Task, kind: StopKind) -> None:
        """End a task that is certain not to have started."""
        task.unwanted = kind
        self.resolve(task, End.STOPPED, started=False)

    def schedule(self, task: Task) -> None:
        """Let *task* be due when its limit passes or its stop is to climb. Not while a probe is out: that tells."""
        if task.probing:
            self.dues.set(task, math.inf)
            return
        due = self.limit(task)
        if task.state is TaskState.STOPPING and task.climb is not None:
            due = min(due, task.climb.due)
        elif task.climb is None and task.look_at < due:
            due = task.look_at
        self.dues.set(task, due)

    def limit(self, task: Task) -> float:
        """Return when its time is up, as far as it is known when it started. A pause stops its timeout."""
        limit = math.inf if task.deadline is None else task.deadline
        if task.timeout_s is None or task.state is TaskState.PAUSED:
            return limit
        return min(limit, task.began + task.timeout_s + task.paused_s)

    def clear_tail(self, worker: Worker) -> None:
        """Recall what waits behind the first of the line; last first, so that they come back in order."""
        for task in reversed(worker.line[1:]):
            self.recall(task)

    def recall(self, task: Task) -> None:
        """Try to take *task* back from its worker, unless that is known to be in vain or under way."""
        assert task.worker is not None
        if not task.claimed and not task.recalling:
            task.recalling = True
            self.coming += 1
            self.out.append(Recall(task.worker.id, task.id))

    def recall_over(self, task: Task) -> None:
        """Note that the recall of *task*, if there was one, is answered by whatever just came."""
        if task.recalling:
            task.recalling = False
            self.coming -= 1

    def probe(self, task: Task) -> None:
        """Have the worker's channel and page read before anything is done to *task*."""
        assert task.worker is not None
        if not task.probing:
            task.probing = True
            self.schedule(task)
            self.out.append(Probe(task.worker.id, task.id))

    # --- workers ---------------------------------------------------------------------------

    def move(self, worker: Worker, move: WorkerMove) -> None:
        """Change a worker's state: the only place that does."""
        old = worker.state
        new = worker.state = move_worker(old, move)
        self.count[old] -= 1
        self.count[new] += 1
        if new is _IDLE:
            self.idle[worker] = None
            if old is WorkerState.STARTING:
                self.idle.move_to_end(worker, last=False)
        elif old is _IDLE:
            self.idle.pop(worker, None)
        if new is not _IDLE and new is not _BUSY:
            self.staffing = True

    def reroom(self, worker: Worker) -> None:
        """Put *worker* where its length of line says, or nowhere if it may be sent nothing."""
        line = worker.line
        slot = len(line)
        spent = worker.state is not _BUSY or worker.worn or worker.sent >= self.most
        if spent or line[0].climb is not None or line[0].held:
            slot = 0
        if slot == worker.slot:
            return
        if worker.slot:
            del self.room[worker.slot][worker]
        worker.slot = slot
        if slot:
            while slot >= len(self.room):
                self.room.append({})
            self.room[slot][worker] = None
            self.low = min(self.low, slot)

    def leave_line(self, worker: Worker, task: Task) -> None:
        """Take *task* out of the line of *worker*, and the seat back if it was the last."""
        line = worker.line
        if line[0] is task:
            del line[0]
        else:
            line.remove(task)
        task.worker = None
        if not line:
            self.seated -= worker.state is not _LOST
        if len(line) < 2 and self.tails:
            self.tails.pop(worker, None)

    def doom(self, worker: Worker) -> None:
        """Give *worker* up: it is sent nothing more."""
        if worker.state is not WorkerState.DOOMED:
            self.move(worker, WorkerMove.DOOM)
            self.reroom(worker)

    def kill(self, worker: Worker, task: Task | None) -> None:
        """Kill *worker*, and look in `kill_s` whether it is gone."""
        self.doom(worker)
        worker.killed = True
        self.dues.set(worker, self.now + self.kill_s)
        self.out.append(Kill(worker.id, None if task is None else task.id))

    def lose(self, worker: Worker) -> None:
        """It was killed and is not seen to die: end what it held, and give its seat to another."""
        for task in list(worker.line):
            self.recall_over(task)
            self.leave_line(worker, task)
            self.resolve(task, End.DIED if task.climb is None else End.STOPPED, confirmed=False)
        self.move(worker, WorkerMove.LOSE)
        self.out.append(Abandon(worker.id))
