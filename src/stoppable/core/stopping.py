"""How a stop finds its task and climbs, and how limits (of time, of silence, of memory) become stops.

1. A rung is climbed only by the first of a line, known to have started, right after its worker's
   channel was read (Probed), and while no other of that line is unsure (each recall answered):
   so no rung can hit a neighbour, and an ending that is in the channel wins.
2. Ask is said once for each stopped task that runs, before any other rung.
3. A timeout counts from the real start: what is not known to have started is looked at again. So
   does a watchdog; and no task is stopped for memory that its worker had before the task began.
"""

import math
from typing import assert_never

from stoppable.core.events import Ask, Interrupt, Probed, Terminate
from stoppable.core.ladder import Climb, StopPolicy
from stoppable.core.pausing import Pausing
from stoppable.core.records import Task, Worker
from stoppable.core.tables import TaskMove, TaskState, move_task
from stoppable.reason import StopKind
from stoppable.rung import Rung

_LOOKS = 4  # in one period of a watchdog: it fires after at most a quarter more than its time
_LOOK_LEAST_S = 0.005


class Stopping(Pausing):
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
        """Note that *task* is to be stopped, or to be stopped sooner. It can only hear that if it is not paused."""
        if task.held:
            self.resume(task)
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
            if task.held:
                self.press(task)
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
            task.began = max(self.now, self.now + self.recheck_s - task.timeout_s)
        self.enforce(task, event.alive_at)
        if task.climb is not None:
            self.try_climb(task, event.looked, event.shield_until)
            return
        if task.held:
            self.try_pause(task)
        self.schedule(task)

    def enforce(self, task: Task, alive_at: float) -> None:
        """Have *task* stopped if it is over one of its limits, using facts that were read just now."""
        if task.claimed and task.heavy:
            self.want(task, Rung.KILL, None, StopKind.MEMORY)  # any milder rung would let it grow on
        task.heavy = False
        if task.claimed and self.limit(task) <= self.now:
            task.deadline = task.timeout_s = None
            self.want(task, Rung.ASK, None, StopKind.DEADLINE)
        if task.watchdog_s is not None and task.climb is None and task.state is TaskState.RUNNING:
            self.watch(task, task.watchdog_s, alive_at)

    def watch(self, task: Task, watchdog_s: float, alive_at: float) -> None:
        """Stop *task* if it has been silent for too long; else say when to look again."""
        task.alive_at = max(task.alive_at, alive_at)
        last = max(task.alive_at, task.began)
        if task.claimed and last + watchdog_s <= self.now:
            self.want(task, Rung.INTERRUPT, None, StopKind.WATCHDOG)  # who does not look hears no ask
            return
        step = max(_LOOK_LEAST_S, watchdog_s / _LOOKS)
        task.look_at = max(self.now, last if task.claimed else 0.0) + step

    def begin(self, task: Task) -> None:
        """*task* has come to be the first of its line: what counts from its start may count from now."""
        task.began = min(task.began, self.now)
        if task.watchdog_s is not None:
            task.look_at = self.now + max(_LOOK_LEAST_S, task.watchdog_s / _LOOKS)
        self.schedule(task)

    def weighed(self, task: Task, size_bytes: int) -> None:
        """*task*, if it has started, uses so much memory: stop it if that is too much."""
        if task.memory_bytes is not None and size_bytes > task.memory_bytes and task.worker is not None:
            task.heavy = True
            self.probe(task)

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
            self.out.append(Ask(worker.id, task.id, climb.kind))
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
        elif task.climb is not None:
            if task.climb.due <= self.now:
                self.pursue(task)
        elif task.look_at <= self.now:
            task.look_at = math.inf
            self.probe(task)
        if task.state is not TaskState.DONE:
            self.schedule(task)
