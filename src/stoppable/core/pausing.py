"""Letting a task stand still, and go on.

1. Only the first of a line is suspended, known to have started, right after its worker's channel was
   read (Probed) and when nothing waits behind it: so no neighbour is suspended in its place.
2. No time passes for a paused task: its timeout and its watchdog stand still too. Its deadline does not.
3. Whatever ends, stops or frees a paused task has its worker go on first.
"""

from stoppable.core.events import Continue, Suspend
from stoppable.core.pool import Pool
from stoppable.core.records import Task
from stoppable.core.tables import TaskMove, TaskState, move_task


class Pausing(Pool):
    """A pool that can pause its tasks."""

    def pause(self, task: Task) -> None:
        """Pause *task* as soon as it may be; one that has not started, once it has. Not one that is being stopped."""
        if task.climb is None:
            task.held = True
            self.press(task)

    def press(self, task: Task) -> None:
        """Do the next thing that brings the pause of *task* on. Harmless to call at any time."""
        worker = task.worker
        if worker is None or worker.line[0] is not task or task.state is not TaskState.RUNNING:
            return  # not the first: it will be, and is pressed then
        self.reroom(worker)
        self.clear_tail(worker)
        if not any(other.recalling for other in worker.line):
            self.probe(task)  # else the answer brings us back

    def try_pause(self, task: Task) -> None:
        """Suspend *task* if nothing stands against it, using facts that were read just now."""
        worker = task.worker
        assert worker is not None
        if worker.line[0] is not task or task.state is not TaskState.RUNNING:
            return
        if not task.claimed:
            task.look_at = self.now + self.recheck_s
            return
        if any(other.recalling for other in worker.line):
            return
        task.state = move_task(task.state, TaskMove.PAUSE)
        task.paused_at = self.now
        task.look_at = float("inf")
        self.out.append(Suspend(worker.id, task.id))

    def resume(self, task: Task) -> None:
        """Let *task* go on, or no longer be about to be paused."""
        task.held = False
        worker = task.worker
        if worker is None:
            return
        if task.state is TaskState.PAUSED:
            task.state = move_task(task.state, TaskMove.RESUME)
            task.paused_s += self.now - task.paused_at
            self.out.append(Continue(worker.id, task.id))
            if task.watchdog_s is not None:
                task.alive_at = task.look_at = self.now  # it is given its whole time anew
        self.reroom(worker)
        self.schedule(task)
