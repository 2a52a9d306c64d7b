"""How many workers there are: spawning, boots that fail, retiring, and the end of it all.

1. No spawn while the last ones failed, until a back-off has passed: no storm of processes.
2. Each worker that owes something (boot, leave, die) has a due.
3. A broken pool runs what runs to its end and starts nothing more.
"""

import math

from stoppable.core.ends import End
from stoppable.core.events import Finished, Retire, Spawn, WorkerId
from stoppable.core.records import Task, Worker
from stoppable.core.sending import Sending
from stoppable.core.tables import TaskState, WorkerMove, WorkerState

_FAILURES = 3  # in a row, with nobody alive: no worker will ever come
_KILLS = 8  # boots in a row that others ended, tried again at once; later ones wait


class Staffing(Sending):
    """A pool that keeps as many workers as its work needs."""

    def staff(self) -> None:
        """Spawn what is missing."""
        self.staffing = False
        if self.retry_at is not None:
            if self.now < self.retry_at:
                return
            self.retry_at = None
        for _ in range(self.missing()):
            self.spawn()

    def missing(self) -> int:
        """Return how many workers are to be spawned; 0 or less for none."""
        if self.broken or self.emptying:
            return 0
        count = self.count
        wanted = min(self.size, len(self.tasks))
        have = count[WorkerState.STARTING] + len(self.idle)
        if self.closing:
            have += self.seated  # nobody is kept warm for what will not come
        else:
            have += count[WorkerState.BUSY]
            if self.booted:
                wanted += self.spares
        return wanted - have

    def spawn(self) -> None:
        self.spawned += 1
        worker = Worker(WorkerId(self.spawned))
        self.crew[worker.id] = worker
        self.count[WorkerState.STARTING] += 1
        self.dues.set(worker, self.now + self.boot_s)
        self.out.append(Spawn(worker.id))

    def ready(self, worker: Worker) -> None:
        """*worker* has booted."""
        self.booted = self.staffing = True
        self.failures, self.kills, self.retry_at = 0, 0, None
        self.dues.set(worker, math.inf)
        self.move(worker, WorkerMove.BOOT)

    def boot_failed(self) -> None:
        """One more did not boot: wait before the next try, or give up if nobody is alive."""
        self.failures += 1
        self.back_off(self.failures)
        if self.failures >= _FAILURES and self.nobody_works():
            self.break_down()

    def boot_killed(self) -> None:
        """One more was killed while it booted, by others. That says little about the next.

        But the system kills what needs too much memory to boot, too, and that must not go on for ever:
        so it ends when nobody has booted for as long as one may take.
        """
        self.kills += 1
        self.staffing = True
        if self.kills == 1:
            self.killed_since = self.now
        elif self.now - self.killed_since >= self.boot_s and self.nobody_works():
            self.break_down()
            return
        if self.kills > _KILLS:
            self.back_off(self.kills - _KILLS)

    def back_off(self, tries: int) -> None:
        """Spawn nobody for a while, longer with each of *tries* in vain."""
        self.retry_at = self.now + min(self.backoff_most_s, self.backoff_s * 2.0 ** min(tries - 1, 10))

    def nobody_works(self) -> bool:
        """Say whether there is no worker that has booted and can still be given a task."""
        return not self.idle and not self.count[WorkerState.BUSY]

    def break_down(self) -> None:
        """No worker can be had: what waits ends, what runs goes on."""
        self.broken, self.retry_at = True, None
        for task in self.waiting():
            self.resolve(task, End.BROKEN, started=False)

    def waiting(self) -> list[Task]:
        """Return the tasks in the queue."""
        return [task for task in self.queue if task.state is TaskState.QUEUED]

    def retire(self, worker: Worker) -> None:
        """Tell *worker* to leave, and see in `retire_s` that it has."""
        self.move(worker, WorkerMove.RETIRE)
        self.reroom(worker)
        self.dues.set(worker, self.now + self.retire_s)
        self.out.append(Retire(worker.id))

    def gone(self, worker: Worker, *, killed: bool = False) -> None:
        """Forget *worker*."""
        starting = worker.state is WorkerState.STARTING
        self.move(worker, WorkerMove.EXIT)
        self.reroom(worker)
        self.dues.set(worker, math.inf)
        del self.crew[worker.id]
        self.count[WorkerState.GONE] = 0
        if starting:
            if killed:
                self.boot_killed()
            else:
                self.boot_failed()

    def worker_due(self, worker: Worker) -> None:
        """*worker* did not do what it owed."""
        if worker.state is WorkerState.DOOMED and worker.killed:
            self.lose(worker)
            return
        starting = worker.state is WorkerState.STARTING
        self.kill(worker, None)
        if starting:
            self.boot_failed()

    def wind_down(self) -> None:
        """Send home those that will have nothing to do, and say so when the last has left."""
        if self.tasks and not self.broken:
            return
        while self.idle:
            self.retire(self.idle.popitem()[0])
        if self.closing and not self.tasks and not self.finished and len(self.crew) == self.count[WorkerState.LOST]:
            self.finished = True
            self.out.append(Finished())
