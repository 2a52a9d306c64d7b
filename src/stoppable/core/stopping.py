"""How a stop finds its task and climbs, and how time limits become stops.

1. A rung is climbed only by the first of a line, known to have started, right after its worker's
   channel was read (Probed), and while no other of that line is unsure (each recall answered):
   so no rung can hit a neighbour, and an ending that is in the channel wins.
2. Ask is said once for each stopped task that runs, before any other rung.
3. A timeout counts from the real start: what is not known to have started is looked at again.
"""

from typing import assert_never

from stoppable.core.events import Ask, Interrupt, Probed, Terminate
from stoppable.core.ladder import Climb, StopPolicy
from stoppable.core.pool import Pool
from stoppable.core.records import Task, Worker
from stoppable.core.tables import TaskMove, TaskState, move_task
from stoppable.reason import StopKind
from stoppable.rung import Rung

_RECHECK_S = 0.05  # the least time between two looks at a task that has not started


class Stopping(Pool):
    """A pool that can stop its tasks."""

    def stop(self, task: Task, at: Rung, policy: StopPolicy | None, kind: StopKind) -> None:
        """Start the ladder of *task*, or hasten the one it is on."""
        if task.state is TaskState.QUEUED:
            self.resolve_unstarted(task, kind)
            return
        self.want(task, at, policy, kind)
        self.pursue(task)

    def withdraw(self, task: Task, kind: StopKind) -> None:
        """Let *task* never start, if it has not."""
        if task.state is TaskState.QUEUED:
            self.resolve_unstarted(task, kind)
        elif task.state is TaskState.SENT and not task.claimed:
            task.unwanted = kind
            self.recall(task)

    def want(self, task: Task, at: Rung, policy: StopPolicy | None, kind: StopKind) -> None:
        """Note that *task* is to be stopped, or to be stopped sooner."""
        if task.climb is None:
            task.climb = Climb(policy or task.policy, at, self.now, kind)
        else:
            task.climb.hasten(at, policy or task.policy, self.now)
        assert task.worker is not None
        self.reroom(task.worker)

    def pursue(self, task: Task) -> None:
        """Do the next thing that brings the stop of *task* on. Harmless to call at any time."""
        worker, climb = task.worker, task.climb
        assert worker is not None
        if climb is None:
            return
        if not task.claimed:
            self.recall(task)
            return
        if worker.line[0] is not task:
            self.probe(task)  # the ending of the one before it must be in the channel
            return
        if task.state is TaskState.RUNNING:
            task.state = move_task(task.state, TaskMove.STOP)
        self.clear_tail(worker)
        if climb.due <= self.now:
            self.probe(task)
        else:
            self.schedule(task)

    def clear_tail(self, worker: Worker) -> None:
        """Recall what waits behind the first of the line; last first, so that they come back in order."""
        for task in reversed(worker.line[1:]):
            self.recall(task)

    def probed(self, event: Probed) -> None:
        """Use what the page said: whether the task has started, and what a rung would meet."""
        task = self.tasks.get(event.task)
        if task is None or task.worker is None or task.worker.id != event.worker:
            return
        task.probing = False
        if event.started_at is not None:
            task.claimed, task.began = True, event.started_at
        elif not task.claimed and task.timeout_s is not None:
            # It starts after now if at all, so looking again then is exact; the least is against spinning.
            task.began = max(self.now, self.now + _RECHECK_S - task.timeout_s)
        if task.claimed and self.limit(task) <= self.now:
            task.deadline = task.timeout_s = None
            self.want(task, Rung.ASK, None, StopKind.DEADLINE)
        if task.climb is None:
            self.schedule(task)
        else:
            self.try_climb(task, event.looked, event.shield_until)

    def try_climb(self, task: Task, looked: bool, shield_until: float) -> None:
        """Climb one rung if nothing stands against it, using facts that were read just now."""
        worker, climb = task.worker, task.climb
        assert worker is not None
        assert climb is not None
        if not task.claimed or worker.line[0] is not task:
            if not task.claimed:
                self.pursue(task)
            return  # not the first: it will be, and is pursued then
        if task.state is TaskState.RUNNING:
            task.state = move_task(task.state, TaskMove.STOP)
        self.clear_tail(worker)
        if any(other.recalling for other in worker.line):
            return  # the answer brings us back
        if climb.due <= self.now and not task.asked:
            task.asked = True
            self.out.append(Ask(worker.id, task.id))
        rung = climb.climb(self.now, looked, shield_until)
        if rung is not None:
            self.deliver(worker, task, rung)
        self.schedule(task)

    def deliver(self, worker: Worker, task: Task, rung: Rung) -> None:
        """Say the action of *rung*, and note what it makes of the worker."""
        match rung:
            case Rung.ASK:
                pass  # said already: it comes before every other rung too
            case Rung.INTERRUPT:
                worker.worn = True
                self.out.append(Interrupt(worker.id, task.id))
            case Rung.TERMINATE:
                self.doom(worker)
                self.out.append(Terminate(worker.id, task.id))
            case Rung.KILL:
                self.kill(worker, task)
            case _:
                assert_never(rung)

    def expire(self, task: Task) -> None:
        """The time of *task* is up: stop it, once."""
        task.deadline = task.timeout_s = None
        self.stop(task, Rung.ASK, None, StopKind.DEADLINE)

    def task_due(self, task: Task) -> None:
        """Something of *task* is due: its limit, or the next rung."""
        if self.limit(task) <= self.now:
            if task.state is TaskState.QUEUED or (task.deadline is not None and task.deadline <= self.now):
                self.expire(task)
            else:
                self.probe(task)  # its timeout, if it started when we think
        elif task.climb is not None and task.climb.due <= self.now:
            self.pursue(task)
        if task.state is not TaskState.DONE:
            self.schedule(task)
