"""The pool as a pure machine: an event and the time go in, actions come out.

A run can be replayed, and every reachable state of a small pool is visited by a test. It must never
look at a clock, do I/O, keep a thread, or choose by chance. What holds after every step:

1. A task ends exactly once; one that has ended is not remembered.
2. A task that is sent, running or stopping is in exactly one worker's line, and in no other place.
3. At most `size` workers that are not lost have a line.
4. Idle, starting, retiring and lost workers have no line.
5. A worker that owes something (its boot, its leave, its death) has a due, or its stop has.
6. No step walks over all tasks or workers, except one that concerns them all.
7. A paused task is alone on its worker, has started, and is not being stopped.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

from stoppable.core.ends import End
from stoppable.core.events import (
    Action,
    Answered,
    Booted,
    BootFailed,
    Claimed,
    Event,
    Exited,
    Pause,
    Probed,
    Recalled,
    Resume,
    Shutdown,
    SpawnFailed,
    Stop,
    StopAll,
    Submit,
    TaskId,
    Tick,
    Weighed,
    Withdraw,
    WorkerId,
)
from stoppable.core.records import Task, Worker
from stoppable.core.staffing import Staffing
from stoppable.core.tables import TaskState, WorkerState
from stoppable.reason import StopKind
from stoppable.rung import Rung

_BUSY = WorkerState.BUSY


class Machine(Staffing):
    """Decide what a pool does; do none of it.

    Args:
        size: the most tasks that run at once, at least 1.
        spares: booted workers kept beyond those, so that the next one is instant.
        ahead: the most tasks in one worker's line, the running one included. May be changed at any time.
        max_tasks_per_child: tasks after which a worker is replaced; None: never.
        boot_s: seconds a worker may take to boot.
        retire_s: seconds a worker may take to leave.
        kill_s: seconds to wait for a killed worker's death before it is given up.
        checked: verify the invariants after every step (slow; for tests).
    """

    def __init__(self, size: int, *, checked: bool = False, **options: Any) -> None:
        super().__init__(size, **options)
        self.checked = checked

    # --- the whole interface -----------------------------------------------------------------

    def step(self, event: Event, now: float) -> list[Action]:
        """Take one event at *now* (seconds, never going back); return what to do, in order."""
        self.now = now
        self.HANDLERS[type(event)](self, event)
        heap = self.dues.heap
        if heap and heap[0][0] <= now:
            self._catch_up()
        if self.idle and self.seated < self.size:
            if self.queue:
                self.fill()
            if self.tails:
                self.rebalance()
        elif self.queue and (self.low < self.ahead or self.over):
            self.fill()
        if self.staffing or self.retry_at is not None:
            self.staff()
        if self.closing or self.broken:
            self.wind_down()
        if self.checked:
            self.check()
        out, self.out = self.out, []
        return out

    def deadline(self) -> float | None:
        """Return when to `step(Tick(), now)` if nothing happens first; None: never."""
        first = self.dues.first()
        if self.retry_at is None:
            return first
        return self.retry_at if first is None else min(first, self.retry_at)

    def state(self, task: TaskId) -> TaskState:
        """Return the state of *task*; one that is not known has ended."""
        found = self.tasks.get(task)
        return TaskState.DONE if found is None else found.state

    @property
    def queued(self) -> int:
        """How many tasks no worker has."""
        return len(self.queue) - self.over

    @property
    def running(self) -> int:
        """How many workers have work."""
        return self.seated

    @property
    def unfinished(self) -> int:
        """How many tasks have not ended."""
        return len(self.tasks)

    def workers(self) -> list[WorkerId]:
        """Return the ids of all workers that are not gone, the lost ones included."""
        return list(self.crew)

    def worker_state(self, worker: WorkerId) -> WorkerState:
        """Return the state of *worker*; one that is not known is gone."""
        found = self.crew.get(worker)
        return WorkerState.GONE if found is None else found.state

    def line(self, worker: WorkerId) -> list[TaskId]:
        """Return what *worker* has and has not ended, in order."""
        found = self.crew.get(worker)
        return [] if found is None else [task.id for task in found.line]

    # --- events --------------------------------------------------------------------------------

    def _submit(self, event: Submit) -> None:
        id = event.task
        tasks = self.tasks
        if id in tasks:
            raise ValueError(f"task {id} was submitted before")
        task = tasks[id] = Task(*event)
        self.queue.append(task)
        if self.emptying and not self.closing:
            self.emptying, self.staffing = False, True
        if len(tasks) <= self.size:
            self.staffing = True
        if self.broken:
            self.resolve(task, End.BROKEN, started=False)
        elif self.closing:
            self.resolve_unstarted(task, StopKind.SHUTDOWN)
        elif event.deadline is not None:
            self.schedule(task)

    def _stop(self, event: Stop) -> None:
        task = self.tasks.get(event.task)
        if task is not None:
            self.stop(task, event.at, event.policy, event.kind)

    def _withdraw(self, event: Withdraw) -> None:
        task = self.tasks.get(event.task)
        if task is not None:
            self.withdraw(task, event.kind)

    def _stop_all(self, event: StopAll) -> None:
        self.emptying = True
        for task in self.waiting():
            self.resolve_unstarted(task, event.kind)
        for task in list(self.tasks.values()):
            self.stop(task, event.at, task.policy.within(event.within_s), event.kind)

    def _pause(self, event: Pause) -> None:
        task = self.tasks.get(event.task)
        if task is not None:
            self.pause(task)

    def _resume(self, event: Resume) -> None:
        task = self.tasks.get(event.task)
        if task is not None and task.held:
            self.resume(task)

    def _weighed(self, event: Weighed) -> None:
        task = self._held(event.worker, event.task)
        if task is not None:
            self.weighed(task, event.size_bytes)

    def _booted(self, event: Booted) -> None:
        worker = self.crew.get(event.worker)
        if worker is not None and worker.state is WorkerState.STARTING:
            self.ready(worker)

    def _boot_failed(self, event: BootFailed) -> None:
        worker = self.crew.get(event.worker)
        if worker is not None and worker.state is WorkerState.STARTING:
            self.retire(worker)
            self.break_down()

    def _spawn_failed(self, event: SpawnFailed) -> None:
        worker = self.crew.get(event.worker)
        if worker is not None:
            self.gone(worker)

    def _held(self, worker: WorkerId, task: TaskId) -> Task | None:
        """Return *task* if that worker still has it; what comes late about others is no news."""
        found = self.tasks.get(task)
        return found if found is not None and found.worker is not None and found.worker.id == worker else None

    def _recalled(self, event: Recalled) -> None:
        task = self._held(event.worker, event.task)
        if task is not None and task.recalling:
            self.recalled(self.crew[event.worker], task)

    def _claimed(self, event: Claimed) -> None:
        task = self._held(event.worker, event.task)
        if task is not None:
            self.claimed(self.crew[event.worker], task)

    def _probed(self, event: Probed) -> None:
        self.probed(event)

    def _answered(self, event: Answered) -> None:
        of, id, stopped, fit, began = event
        task = self.tasks.get(id)
        if task is None:
            return
        worker = task.worker
        if worker is None or worker.id != of:
            return
        usual = not stopped and fit and worker.state is _BUSY and not worker.worn and worker.line[0] is task
        if usual and task.climb is None and task.due is None and not task.recalling and not task.held:
            self.done(worker, task)
            return
        if stopped and worker.killed:
            task.claimed = True  # it gave way as its worker, with all its processes, was killed
            return  # and is over when those are
        if not fit:
            worker.worn = True
        if task.recalling:
            self.recall_over(task)
        task.claimed = True
        if task.held:
            self.resume(task)  # it answered before it was suspended; its worker has to go on
        if began:
            self.resolve(task, End.STOPPED if stopped else End.ANSWERED)
        else:
            self.resolve_unstarted(task, task.unwanted or StopKind.STOP)
        self.take_off(worker, task)

    def _exited(self, event: Exited) -> None:
        worker = self.crew.get(event.worker)
        if worker is not None:
            if worker.line:
                self.bury(worker, event)
            self.gone(worker, killed=event.killed)

    def _shutdown(self, event: Shutdown) -> None:
        self.closing = True
        if not event.cancel_pending or self.refusing:
            return
        self.refusing = True
        for task in self.waiting():
            self.resolve_unstarted(task, StopKind.SHUTDOWN)
        for task in list(self.tasks.values()):
            self.withdraw(task, StopKind.SHUTDOWN)

    def _tick(self, event: Tick) -> None:
        pass

    HANDLERS: ClassVar[dict[type, Callable[..., None]]] = {
        Submit: _submit,
        Stop: _stop,
        Withdraw: _withdraw,
        StopAll: _stop_all,
        Pause: _pause,
        Resume: _resume,
        Weighed: _weighed,
        Booted: _booted,
        BootFailed: _boot_failed,
        SpawnFailed: _spawn_failed,
        Recalled: _recalled,
        Claimed: _claimed,
        Probed: _probed,
        Answered: _answered,
        Exited: _exited,
        Shutdown: _shutdown,
        Tick: _tick,
    }

    # --- time ----------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        while (owner := self.dues.pop(self.now)) is not None:
            if isinstance(owner, Task):
                self.task_due(owner)
            else:
                self.worker_due(owner)

    # --- invariants ----------------------------------------------------------------------------

    def check(self) -> None:
        """Verify the invariants of this file's head; an AssertionError names the one that fails."""
        held = [task for worker in self.crew.values() for task in worker.line]
        waiting = [task for task in self.queue if task.state is TaskState.QUEUED]
        assert len(self.queue) - len(waiting) == self.over, "1: ended tasks in the queue are counted"
        assert sorted(t.id for t in held + waiting) == sorted(self.tasks), "2: each task is in one place"
        assert all(task.state is not TaskState.QUEUED and task.worker is not None for task in held), "2: held"
        assert all(task.worker is None for task in waiting), "2: waiting"
        seats = sum(bool(worker.line) for worker in self.crew.values())
        assert seats == self.seated <= self.size, "3: seats"
        assert self.coming == sum(task.recalling for task in held), "recalls are counted"
        assert self.retry_at is not None or self.missing() <= 0, "workers are missing"
        assert not any(self.room[1 : self.low]), "room below the lowest"
        for worker in self.crew.values():
            self._check_worker(worker)
        for state, number in self.count.items():
            assert number == sum(w.state is state for w in self.crew.values()), f"workers {state} are counted"

    def _check_worker(self, worker: Worker) -> None:
        state, line = worker.state, worker.line
        assert bool(line) == (state is WorkerState.BUSY) or state is WorkerState.DOOMED, f"4: {worker}"
        assert (worker in self.idle) == (state is WorkerState.IDLE), f"4: {worker}"
        for number, task in enumerate(line):
            assert task.worker is worker, f"2: {task}"
            assert (task.state is TaskState.SENT) == (number > 0), f"2: {worker}"
            paused = task.state is TaskState.PAUSED
            assert not paused or (task.held and task.claimed and task.climb is None and len(line) == 1), f"7: {task}"
        owing = state in (WorkerState.STARTING, WorkerState.RETIRING, WorkerState.DOOMED)
        stays = bool(line) and line[0].climb is not None and line[0].climb.rung in (Rung.ASK, Rung.INTERRUPT)
        stays = stays or (bool(line) and (line[0].probing or line[0].due is not None))
        forever = bool(line) and line[0].climb is not None and line[0].climb.due == math.inf
        assert not owing or worker.due is not None or stays or forever, f"5: {worker} owes and has no due"
        if worker.slot:
            assert worker in self.room[worker.slot], f"room: {worker}"
            assert worker.slot == len(line), f"room: {worker}"
