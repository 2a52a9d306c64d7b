"""The reactor: one thread that feeds the machine and does what it says. All of a pool's state belongs to it.

User threads never touch that state: they post mail. A KeyboardInterrupt can be raised in the main
thread at any bytecode, so whatever the main thread changes in two steps can be left half changed;
appending to a deque is one step, and this thread is never the main one.

Invariants (the contract of the machine, see `core/events.py`):
1. One step at a time, `now` never goes back.
2. A worker's events come in the order it made them; its Exited after its channel was drained.
3. Actions are done in order; one that fails becomes an event.
4. Futures are told after the steps, so that workers get their next task before callbacks run; and
   who is to leave hears of it after that, so that nobody's end keeps who waits for a future from a CPU.
5. Mail stays in the mailbox until all of it is done.
"""

import logging
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from stoppable.core.events import Event, Pause, Resume, Shutdown, Stop, StopAll, Submit, TaskId, Tick, Withdraw
from stoppable.core.ladder import StopPolicy
from stoppable.core.machine import Machine
from stoppable.latch import Latch
from stoppable.reason import StopKind, StopReason
from stoppable.rung import Rung
from stoppable.shell.hands import Hands
from stoppable.shell.launch import WardenLauncher
from stoppable.shell.leaving import wait_out_at_exit
from stoppable.shell.relay import Relay
from stoppable.shell.task import Task
from stoppable.shell.wake import Wake
from stoppable.shell.watch import Watch

log = logging.getLogger("stoppable")
_MAIL = 128  # at most so much in one turn: the workers are not to wait until a flood is over
_NEAR_S = 0.001  # most tasks that look at their flag in a loop answer within a fifth of it
_LOOKED_THROUGH = 64  # mail; where there is more, the machine is not far away
Mail = tuple[Event, "Task | None"] | Callable[[], object]


class Reactor:
    """The thread, its mailbox, and what it waits for.

    Args:
        machine: decides.
        launcher: starts workers.
        name: of the pool; the thread carries it.
        relay: takes what workers say besides their answers.
    """

    def __init__(self, machine: Machine, launcher: WardenLauncher, name: str, relay: Relay | None = None) -> None:
        self.machine = machine
        self.launcher = launcher
        self.name = name
        self.pid = os.getpid()
        self.finished = Latch()
        self.watch = Watch()
        self.relay = relay or Relay(name)
        self.hands = Hands(self, launcher)
        self._insistence = self.hands.delivery.insistence
        self._mail: deque[Mail] = deque()
        self._wake = Wake()
        self._sleep = 0  # the number of the sleep that the thread is in, or 0 while it is awake
        self._slept = 0  # the number of its last sleep
        self._woken = 0  # the number of the last sleep that somebody woke it from
        self.over = False  # it takes no more mail: the pool has ended, or its thread has failed
        self._feeding = False  # an event is being fed
        self._later: deque[Event] = deque()  # those to be fed after it
        self._step, self._deeds = machine.step, self.hands.deeds
        # A daemon, so that nothing but `at_exit` decides when the interpreter waits for it.
        self._thread = threading.Thread(target=self._run, name=f"{name}-reactor", daemon=True)
        _wait_for_pools_at_exit()

    # --- any thread --------------------------------------------------------------------------

    def start(self) -> None:
        """Start the launcher, if it must be before there is a thread, and then the thread.

        Raises:
            OSError: no process, descriptor or memory is to be had.
            RuntimeError: no thread is to be had.
        """
        try:
            self.watch.put_bell(self._wake.fileno(), self._wake.clear)
            self.hands.prepare()
        except BaseException:
            self._close()
            raise
        _live.add(self)
        # A Ctrl-C inside `Thread.start` can leave the lock of its event held, and the new thread, which has
        # to set that event, would wait for ever.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread.start()
        except RuntimeError:  # no thread is to be had
            self._close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    # What a pool and its futures have to say. None of it blocks.

    def submit(
        self, task: Task, policy: StopPolicy, limits: tuple[float | None, float | None, float | None, int | None]
    ) -> None:
        """Have *task* run; *limits* are its timeout, its deadline, its watchdog and its memory, as in a `Submit`."""
        self._post(Submit(TaskId(task.id), policy, *limits), task)

    def stop(self, task: Task, rung: Rung, policy: StopPolicy | None, kind: StopKind) -> None:
        """Have *task* taken up the ladder, from *rung* on; *policy*: None is the task's own."""
        self._post(Stop(TaskId(task.id), rung, policy, kind))

    def withdraw(self, task: Task, kind: StopKind) -> None:
        """Have *task* end if it has not begun."""
        self._post(Withdraw(TaskId(task.id), kind))

    def pause(self, task: Task) -> None:
        """Have *task* stand still."""
        self._post(Pause(TaskId(task.id)))

    def resume(self, task: Task) -> None:
        """Have *task* go on."""
        self._post(Resume(TaskId(task.id)))

    def wind_down(self, *, cancel: bool = False) -> None:
        """Take no more tasks, and be over when those there are have ended; *cancel*: those that wait never start."""
        self._post(Shutdown(cancel))

    def _post(self, event: Event, task: Task | None = None) -> None:
        """Have *event* fed to the machine; *task* comes with a Submit. Never blocks."""
        self._mail.append((event, task))
        self._rouse()

    def call(self, function: Callable[[], object]) -> None:
        """Have *function* run in the reactor's thread. Never blocks."""
        self._mail.append(function)
        self._rouse()

    def _rouse(self) -> None:
        """Have the mail that was just posted looked at."""
        if self.over:
            self._refuse_mail()
            return
        # Once for each sleep, since a write costs as much as the rest of a submit. The number, and not a
        # flag that is lowered here: whoever is late to note that he woke an earlier sleep does no harm.
        sleep = self._sleep
        if sleep and sleep != self._woken:
            self._wake.set()
            self._woken = sleep

    def ask(self, task: Task) -> None:
        """Let *task*, if it runs, see now what the machine is about to let it see: that its stop was asked for.

        Not while others wait: they may have been stopped before it, or be about to, and would start when it ends.
        """
        forked = self.pid != os.getpid()
        if not forked and not self.machine.queue and not self._owes_recalls():
            self.hands.delivery.ask_ahead(task)

    def _owes_recalls(self) -> bool:
        """Return whether there may be mail by which tasks have to be taken back."""
        if not self._mail:
            return False
        if len(self._mail) > _LOOKED_THROUGH:
            return True
        try:
            posted = list(self._mail)
        except RuntimeError:  # it changed meanwhile
            return True
        return any(callable(mail) or self._takes_back(mail[0]) for mail in posted)

    def _takes_back(self, event: Event) -> bool:
        if isinstance(event, Stop):
            task = self.hands.tasks.get(event.task)
            return task is not None and task.asked_at is None  # who was asked has begun
        return isinstance(event, Withdraw | Shutdown)

    def stop_all(self, rung: Rung, reason: StopReason, within_s: float = math.inf) -> None:
        """Have all tasks stopped, those that wait first, by ladders of at most *within_s* seconds. Never blocks."""

        def note() -> None:
            for task in list(self.hands.tasks.values()):
                if task.reason is None:
                    task.reason = reason

        def stop_all() -> None:
            note()  # again: there may be tasks that had not come here
            self.feed(StopAll(rung, reason.kind, within_s))

        note()  # now: whoever stops a task after this call is not the first
        self.call(stop_all)

    def unfinished(self) -> int:
        """Return how many tasks have not ended, as far as the reactor has heard of them."""
        return len(self.hands.tasks)

    @property
    def mine(self) -> bool:
        """Whether the caller is the reactor's own thread (a future's callback, say)."""
        return threading.current_thread() is self._thread

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the pool is over; False if that took longer than *timeout* seconds."""
        if self.mine:
            return self.finished.is_set()
        self.call(partial(self._left_by, threading.get_ident()))
        # Not `Thread.join` alone: before Python 3.13, one that a Ctrl-C interrupts takes the thread for ended.
        if not self.finished.wait(timeout):
            return False
        self._thread.join()
        return True

    # --- its own thread ----------------------------------------------------------------------

    def _left_by(self, thread: int) -> None:
        """Stop the streams that wait for *thread* to take their items, since it now waits for all tasks."""
        for task in list(self.hands.tasks.values()):
            task.sink._left_by(thread)

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)  # for what callbacks start
        try:
            while not self.hands.finished:
                self._turn()
        except BaseException as error:
            # A bug of ours, or no memory. Nobody else could end what waits for us, so every future is told.
            log.critical("the pool's reactor has failed; all its tasks are given up", exc_info=True)
            self.hands.give_up(error)
        finally:
            self.over = True  # before the mailbox is looked at for the last time, so that nothing is left in it
            self._refuse_mail()
            try:
                self._close()
            finally:
                self.finished.set()

    def _refuse_mail(self) -> None:
        """Fail the tasks that came too late; any thread may do it, once `over` is set."""
        while True:
            try:
                mail = self._mail.popleft()
            except IndexError:
                return
            if not callable(mail) and mail[1] is not None:
                mail[1].sink._finish_error(RuntimeError("cannot schedule new futures after shutdown"))

    def _close(self) -> None:
        self.hands.close()
        self.relay.close()
        self.watch.close()
        self._wake.close()
        _live.discard(self)

    def _turn(self) -> None:
        self.watch.wait(self._patience())
        if self._mail and self._answer_is_near():
            # With the answer, there is nothing left to decide; without it, recalls, probes and deadlines.
            self._fall_asleep()
            self.watch.wait(_NEAR_S)
        self._sleep = 0
        if self._mail:
            self._take_mail()
        due = self.machine.deadline()
        if due is not None and due <= time.monotonic():
            self.feed(Tick())
        if self._insistence:
            self._insistence.look(time.monotonic())
        self.hands.flush()
        self.hands.verdicts.tell()
        self.hands.dismiss()

    def _patience(self) -> float | None:
        """Return how long to sleep; from here on, whoever posts mail wakes us."""
        self._fall_asleep()
        if self._mail or self.hands.verdicts.waiting:
            return 0.0
        due = self.machine.deadline()
        if self._insistence:
            due = min(each for each in (due, self._insistence.due()) if each is not None)
        return None if due is None else max(0.0, due - time.monotonic())

    def _fall_asleep(self) -> None:
        self._slept += 1
        self._sleep = self._slept

    def _answer_is_near(self) -> bool:
        """Say whether all our mail is the stop of a task that has been asked, and looks whether it was."""
        if len(self._mail) > 1 or callable(mail := self._mail[0]):
            return False
        return isinstance(mail[0], Stop) and self.hands.delivery.answers_soon(mail[0].task)

    def _take_mail(self) -> None:
        for _ in range(min(len(self._mail), _MAIL)):
            mail = self._mail[0]
            if callable(mail):
                mail()
            else:
                event, task = mail
                if task is not None and isinstance(event, Submit):
                    self.hands.tasks[task.id] = task
                self.feed(event)
            self._mail.popleft()

    def feed(self, event: Event) -> None:
        """Give *event* to the machine and do what it says, and so on until it says nothing more."""
        if self._feeding:
            self._later.append(event)  # we are inside the loop below, doing an action: it waits its turn
            return
        self._feeding = True
        while True:
            for action in self._step(event, time.monotonic()):
                self._deeds[type(action)](action)
            if not self._later:
                break
            event = self._later.popleft()
        self._feeding = False

    def later(self, event: Event) -> None:
        """Queue *event* behind the actions under way."""
        self._later.append(event)


# Not a WeakSet: that cannot be read while another thread adds to it.
_live: set[Reactor] = set()
_registered: list[int] = []


def _wait_for_pools_at_exit() -> None:
    """Have the interpreter wait for the pools' tasks before it ends, as the standard executor does."""
    if os.getpid() in _registered:
        return
    _registered[:] = [os.getpid()]
    register: Any = getattr(threading, "_register_atexit", None)
    if register is None:
        import atexit

        register = atexit.register
    try:
        register(_end_all)
    except RuntimeError:
        raise RuntimeError("cannot make a pool: the interpreter is shutting down") from None


def _end_all() -> None:
    wait_out_at_exit(_pools)


def _pools() -> "list[Reactor]":
    """Return the reactors of this process that are at work; a Ctrl-C may have kept one from its start."""
    return [reactor for reactor in list(_live) if reactor.pid == os.getpid() and reactor._thread.ident is not None]


def stop_pools(rung: Rung, reason: StopReason, within_s: float = math.inf) -> None:
    """Have all pools of this process take no more tasks, and stop those that they have. Never blocks."""
    for reactor in _pools():
        reactor.stop_all(rung, reason, within_s)
        reactor.wind_down()
