"""Who works on what: the queue, the lines of the workers, and taking back what was sent ahead.

1. At most `size` workers hold a line (seats). A lost worker's seat is given on.
2. A task goes back to the queue only if it is certain not to have started: Recalled, or not
   claimed when its worker was gone. So none runs twice.
3. Nothing is sent behind a task that is being stopped, or to a worker that is worn out.
"""

import math

from stoppable.core.ends import End
from stoppable.core.events import Exited, Requeued, Resolve, Send, Started
from stoppable.core.records import Task, Worker
from stoppable.core.stopping import Stopping
from stoppable.core.tables import TaskMove, TaskState, WorkerMove, WorkerState, move_task
from stoppable.reason import StopKind
from stoppable.rung import Rung

_ANSWERED, _QUEUED, _SENT, _BUSY = End.ANSWERED, TaskState.QUEUED, TaskState.SENT, WorkerState.BUSY
_START, _SEND, _LEAD, _END, _GIVE = TaskMove.START, TaskMove.SEND, TaskMove.LEAD, TaskMove.END, WorkerMove.GIVE


class Sending(Stopping):
    """A pool that can give its tasks to its workers, and take them back."""

    def fill(self) -> None:
        """Send what waits: first to idle workers with a seat, then ahead to busy ones."""
        queue = self.queue
        while queue:
            if queue[0].state is not _QUEUED:
                queue.popleft()
                self.over -= 1
            elif self.idle and self.seated < self.size:
                worker = self.idle.popitem()[0]
                self.move(worker, _GIVE)
                self.start(worker, queue.popleft())
            else:
                roomy = self.roomy() if self.ahead > self.low else None
                if roomy is None:
                    return
                self.send_ahead(roomy, queue.popleft())

    def roomy(self) -> Worker | None:
        """Return a busy worker with one of the shortest lines, if one is short enough."""
        end = min(self.ahead, len(self.room))
        while self.low < end:
            bucket = self.room[self.low]
            if bucket:
                # popitem and not reversed(): that one walks over the holes that deletions at the end leave
                worker = bucket.popitem()[0]
                worker.slot = 0
                return worker
            self.low += 1  # paid for by what made it low
        return None

    def start(self, worker: Worker, task: Task) -> None:
        """Give *task* to a busy worker that has nothing yet."""
        self.seated += 1
        worker.line.append(task)
        worker.sent += 1
        task.worker = worker
        task.state = move_task(task.state, _START)
        task.shown = True
        self.out.append(Send(worker.id, task.id))
        self.out.append(Started(task.id))
        if task.timed:
            task.began = self.now
            self.begin(task)
        self.reroom(worker)
        if task.held:
            self.press(task)

    def send_ahead(self, worker: Worker, task: Task) -> None:
        """Put *task* behind what a busy worker has."""
        self.queue_up(worker, task)
        self.reroom(worker)

    def queue_up(self, worker: Worker, task: Task) -> None:
        worker.line.append(task)
        worker.sent += 1
        task.worker = worker
        task.state = move_task(task.state, _SEND)
        self.tails[worker] = None
        self.out.append(Send(worker.id, task.id))

    def lead(self, worker: Worker) -> None:
        """Those before it have ended: the next of the line is the first."""
        task = worker.line[0]
        if task.state is _SENT:
            task.state = move_task(task.state, _LEAD)
            if not task.shown:
                task.shown = True
                self.out.append(Started(task.id))
            if task.timed:
                self.begin(task)
        if task.climb is not None or task.held:
            self.pursue(task)

    def take_off(self, worker: Worker, task: Task) -> None:
        """*task* has left the worker (ended, or taken back): see what the worker does next."""
        was_first = worker.line[0] is task
        self.leave_line(worker, task)
        if worker.line:
            if worker.worn:
                for each in reversed(worker.line):
                    self.recall(each)
            if was_first:
                self.lead(worker)
            self.reroom(worker)
        elif worker.state is _BUSY:
            self.free(worker)
        elif worker.state is WorkerState.DOOMED:
            self.staffing = True  # its seat is free, and it will not fill it
            if not worker.killed:
                # Its task is over, so its climb is too; but it was told to die, and must.
                due = self.now + self.retire_s
                self.dues.set(worker, due if task.climb is None else min(due, task.climb.due))

    def done(self, worker: Worker, task: Task) -> None:
        """The first of a line has been answered, and nothing else is up with it or its worker.

        It is what `resolve` and `take_off` come to then, in a third of their time: nearly every task ends here.
        """
        line, queue = worker.line, self.queue
        task.state = move_task(task.state, _END)
        task.worker = None
        del self.tasks[task.id], line[0]
        self.out.append(Resolve(task.id, _ANSWERED))
        if not line:
            self.seated -= 1
            self.free(worker)
            return
        self.lead(worker)
        head = line[0]
        plain = worker.slot and head.climb is None and not head.held and worker.sent < self.most
        if plain and queue and queue[0].state is _QUEUED and len(line) < self.ahead:
            self.queue_up(worker, queue.popleft())  # the line is as long as it was, so its place in `room` is right
        else:
            if len(line) < 2:
                self.tails.pop(worker, None)
            self.reroom(worker)

    def free(self, worker: Worker) -> None:
        """The line of *worker* is empty: it is idle, or has worked enough."""
        if worker.worn or worker.sent >= self.most:
            self.retire(worker)
        elif self.queue and self.queue[0].state is _QUEUED and self.seated < self.size:
            # The usual case under load; by way of idle it would be this worker too, the last to become so.
            self.start(worker, self.queue.popleft())
        else:
            self.move(worker, WorkerMove.FREE)
            self.reroom(worker)

    def retire(self, worker: Worker) -> None:
        """Overridden above: tell it to leave."""
        raise NotImplementedError

    def requeue(self, task: Task) -> None:
        """*task* is off its worker and certain not to have started: it waits again, or ends for that."""
        self.recall_over(task)
        task.probing = False
        if task.climb is not None:
            self.resolve_unstarted(task, task.climb.kind)
        elif task.unwanted is not None or self.refusing:
            self.resolve_unstarted(task, task.unwanted or StopKind.SHUTDOWN)
        elif self.broken:
            self.resolve(task, End.BROKEN, started=False)
        else:
            task.state = move_task(task.state, TaskMove.REQUEUE)
            self.queue.appendleft(task)
            if task.timed:
                task.began = math.inf
            task.look_at = math.inf
            task.heavy = False
            self.schedule(task)
            if task.shown:
                task.shown = False
                self.out.append(Requeued(task.id))

    def recalled(self, worker: Worker, task: Task) -> None:
        """It is certain that *task* did not start, and never will there."""
        worker.sent -= 1
        head = worker.line[0]
        self.requeue(task)  # first: else a worker that is free by this would begin one that came later
        self.take_off(worker, task)
        if head is not task:
            self.pursue(head)  # it may have waited for this answer

    def claimed(self, worker: Worker, task: Task) -> None:
        """It is certain that *task* has started."""
        self.recall_over(task)
        task.claimed, task.unwanted = True, None
        if task.climb is not None:
            self.pursue(task)
        if worker.line[0] is not task:
            self.pursue(worker.line[0])

    def rebalance(self) -> None:
        """Take back what waits behind others while a worker idles, one for each that could start it."""
        wanted = min(len(self.idle), self.size - self.seated)
        while self.coming < wanted and self.tails:
            worker = self.tails.popitem()[0]
            for task in reversed(worker.line[1:]):
                if not task.claimed and not task.recalling:
                    self.recall(task)
                    if len(worker.line) > 2:
                        self.tails[worker] = None  # it may have more
                    break

    def bury(self, worker: Worker, event: Exited) -> None:
        """*worker* is gone: what it had started ends with it, all else waits again, in order."""
        back = []
        for task in list(worker.line):
            self.recall_over(task)
            self.leave_line(worker, task)
            if not task.claimed and task.id != event.claimed:
                back.append(task)
            elif task.climb is not None and (task.climb.rung or Rung.ASK) >= Rung.TERMINATE:
                self.resolve(task, End.STOPPED)
            else:
                self.resolve(task, End.DIED)
        for task in reversed(back):
            self.requeue(task)
