"""What each rung does to a task and its worker, what is noted of it, and what is said in the log.

Used by the reactor's thread only, but for `ask_ahead`. It decides nothing: the machine says which rung, and when.
"""

import logging
import time
from collections.abc import Callable, Mapping

from stoppable import wire
from stoppable.core import events as ev
from stoppable.reason import StopKind, new_reason
from stoppable.rung import Rung
from stoppable.shell.channel import Channel
from stoppable.shell.control import Op
from stoppable.shell.insist import Insistence
from stoppable.shell.task import Task
from stoppable.worker import page as pages

log = logging.getLogger("stoppable")


class Delivery:
    """The rungs, delivered.

    Args:
        tasks: of the pool, by id; changed by others.
        channels: to its workers, by id; changed by others.
        order: have an order carried out on a worker's process.
    """

    def __init__(
        self, tasks: Mapping[int, Task], channels: Mapping[int, Channel], order: Callable[[Op, int], None]
    ) -> None:
        self._tasks, self._channels, self._order = tasks, channels, order
        self.insistence = Insistence(lambda worker: order(Op.INTERRUPT, worker), self._interrupt_wanted)

    # --- the rungs ---------------------------------------------------------------------------

    def ask_ahead(self, task: Task) -> None:
        """Ask *task*, if it runs, before the machine has heard of the stop; any thread may.

        The task's answer is on its way then while the machine does what it does in any case, and a task that loops does
        not keep the reactor's thread from a processor. Of what the machine decides nothing is anticipated: each task
        that runs is asked, before all else. Not if its stack is to be taken first; nor if others wait behind it, which
        the machine takes back before it asks: else the worker goes on to the next, which the caller may be about to stop.
        """
        channel, reason = self._channels.get(task.worker or 0), task.reason
        if channel is None or reason is None or reason.kind in (StopKind.DEADLINE, StopKind.WATCHDOG):
            return
        if len(channel.positions) > 1:
            return
        asking = channel.asking
        if not asking.acquire(blocking=False):
            return  # never wait here: who has it may be waiting for us, and the machine's ask comes in any case
        try:
            if channel.page.u64[pages.CURRENT_TASK] == task.id:
                task.asked_at = task.asked_at or time.monotonic()
                # The machine may ask for this when the task has heard it, and is not there any more.
                task.looked = task.looked or bool(channel.page.u8[pages.LOOKED])
                channel.page.ask(task.id, reason)
        finally:
            asking.release()

    def answers_soon(self, task_id: int) -> bool:
        """Say whether the task was asked ahead and looks at that flag, and not at a token, which the machine's ask sets."""
        task = self._tasks.get(task_id)
        channel = self._channels.get(task.worker or 0) if task is not None else None
        if task is None or channel is None or task.asked_at is None:
            return False
        return task.looked and channel.page.u64[pages.TOKEN_TASK] != task_id

    def ask(self, action: ev.Ask) -> None:
        channel, task = self._channels[action.worker], self._tasks[action.task]
        if task.reason is None:
            task.reason = new_reason(action.kind, task.over_limit(action.kind))
        if task.reason.kind in (StopKind.DEADLINE, StopKind.WATCHDOG):
            task.stack = self.read_stack(channel)
        if task.reason.kind is StopKind.WATCHDOG:
            log.warning("%s: %s; it is at:\n%s", task.title(), task.reason.message, task.stack or "(not known)")
        task.rungs += ((Rung.ASK, task.asked_at or time.monotonic()),)
        channel.ask(task.id, task.reason)
        token = channel.page.bound_token(task.id)
        if token is not None:
            try:
                channel.token = wire.loads(token)
                channel.token.stop(task.reason)
            except BaseException:
                log.exception("the token of %s cannot be reached", task.name)

    def interrupt(self, action: ev.Interrupt) -> None:
        self._channels[action.worker].page.u64[pages.INTERRUPT_TASK] = action.task
        self._order(Op.INTERRUPT, action.worker)
        self.insistence.begin(action.worker, action.task, time.monotonic())
        self._climbed(Rung.INTERRUPT, action.worker, action.task)

    def _interrupt_wanted(self, worker: int, task: int) -> bool | None:
        channel = self._channels.get(worker)
        if task not in self._tasks or channel is None or channel.started_at(task) is None:
            return None
        return channel.is_deaf(task)

    def terminate(self, action: ev.Terminate) -> None:
        self._keep_stack(action.worker, action.task)
        self._order(Op.TERMINATE, action.worker)
        self._climbed(Rung.TERMINATE, action.worker, action.task)

    def kill(self, action: ev.Kill) -> None:
        self._keep_stack(action.worker, action.task, killing=True)
        if (channel := self._channels.get(action.worker)) is not None:
            channel.killed = True
        self._order(Op.KILL, action.worker)
        self._climbed(Rung.KILL, action.worker, action.task)

    def _keep_stack(self, worker: int, task_id: int | None, *, killing: bool = False) -> None:
        """Take the stack of a task whose process is about to end."""
        task, channel = self._tasks.get(task_id or 0), self._channels.get(worker)
        if task is not None and channel is not None and task.stack is None:
            task.stack = self.read_stack(channel, killing=killing)

    def _climbed(self, rung: Rung, worker: int, task_id: int | None) -> None:
        """Note the rung, and warn of it: when it has been ordered, since a log may take its time."""
        task, channel = self._tasks.get(task_id or 0), self._channels.get(worker)
        if task is None or channel is None:
            return
        now = time.monotonic()
        asked_at = task.rungs[0][1] if task.rungs else now
        task.rungs += ((rung, now),)
        heard = bool(channel.page.u8[pages.LOOKED] & pages.HEARD)
        log.warning("%s", task.climbed_text(rung, now - asked_at, heard))

    # --- pauses ------------------------------------------------------------------------------

    def suspend(self, action: ev.Suspend) -> None:
        self._tasks[action.task].paused = True
        self._order(Op.SUSPEND, action.worker)

    def go_on(self, action: ev.Continue) -> None:
        self._tasks[action.task].paused = False
        self._order(Op.CONTINUE, action.worker)

    # --- where a task is -----------------------------------------------------------------------

    def read_stack(self, channel: Channel, *, killing: bool = False) -> str | None:
        """Return where the worker's threads are, or None if it does not say so in time.

        Args:
            killing: SIGKILL comes next, so the way that is quick in every case may be taken at once. It has ended
                workers by SIGSEGV (see `open_stack_file`), and one that is only terminated has its cleanup to do.
        """
        if channel.pid is None or channel.ended:
            return None
        if not killing:
            channel.request_text()
            self._order(Op.STACK, channel.worker)
            text, in_c = channel.read_text()
            if not in_c:
                return text
        channel.request_dump()
        self._order(Op.DUMP, channel.worker)
        return channel.read_dump()

    def stack_of(self, task_id: int) -> str | None:
        """Return where the task is now, or None if it does not run: nobody who stands still can say it."""
        task = self._tasks.get(task_id)
        channel = self._channels.get(task.worker) if task is not None and task.worker is not None else None
        if task is None or channel is None or task.paused or channel.started_at(task_id) is None:
            return None
        return self.read_stack(channel)
