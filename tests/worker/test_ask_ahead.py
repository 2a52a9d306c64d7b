"""Asking a task in the caller's thread, before the machine has heard of its stop."""

import threading
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from stoppable.core.events import Ask, Event, Pause, Shutdown, Stop, TaskId, Withdraw, WorkerId
from stoppable.reason import StopKind, new_reason
from stoppable.rung import Rung
from stoppable.shell import channel as channels
from stoppable.shell.channel import Channel
from stoppable.shell.deliver import Delivery
from stoppable.shell.reactor import Reactor
from stoppable.shell.task import Task
from stoppable.worker import page as pages
from stoppable.worker.page import Page

WORKER, ONE, TWO = 7, 1, 2


@pytest.fixture
def channel() -> Iterator[Channel]:
    made = Channel(WORKER)
    yield made
    made.close()


@pytest.fixture
def delivery(channel: Channel) -> Delivery:
    return Delivery({}, {WORKER: channel}, lambda *_: None)


def stopped(number: int, kind: StopKind = StopKind.STOP) -> Task:
    """Return a task whose stop was asked for, and which its worker has."""
    task = Task(number, "it", (), b"", None)  # type: ignore[arg-type]  # nobody is told
    task.worker, task.reason = WORKER, new_reason(kind, "enough")
    return task


def runs(page: Page, number: int) -> None:
    page.u64[pages.CURRENT_TASK] = number


@pytest.mark.parametrize("looked", [False, True])
def test_the_task_that_runs_is_asked_and_whether_it_had_looked_is_kept(
    looked: bool, channel: Channel, delivery: Delivery
) -> None:
    """Behaviours 55, 150. It may be gone when the machine comes to ask whether it had."""
    task, page = stopped(ONE), channel.page
    runs(page, ONE)
    page.u8[pages.LOOKED] = looked
    delivery.ask_ahead(task)
    assert page.asked.is_set()
    assert page.forget_stale_ask(ONE)
    assert page.reason() == task.reason
    assert task.looked is looked
    assert task.asked_at is not None


def test_its_report_says_that_and_when_it_was_asked_before_and_after_the_machine_does(
    channel: Channel, delivery: Delivery
) -> None:
    """Behaviour 150."""
    task = stopped(ONE)
    delivery._tasks[ONE] = task  # type: ignore[index]
    assert task.report().rungs == ()
    runs(channel.page, ONE)
    delivery.ask_ahead(task)
    asked = task.report().rungs
    assert asked == ((Rung.ASK, task.asked_at),)
    delivery.ask(Ask(WorkerId(WORKER), TaskId(ONE), StopKind.STOP))
    assert task.report().rungs == asked


@pytest.mark.parametrize("current", [0, TWO])
def test_a_task_that_does_not_run_is_not_asked(current: int, channel: Channel, delivery: Delivery) -> None:
    task = stopped(ONE)
    runs(channel.page, current)
    delivery.ask_ahead(task)
    assert not channel.page.asked.is_set()
    assert task.asked_at is None


def test_a_task_that_others_wait_behind_is_left_to_the_machine(channel: Channel, delivery: Delivery) -> None:
    """Behaviour 150. It takes them back first: else the worker would start the next, though that is about to be stopped."""
    channel.send_task(ONE, b"", (b"",))
    channel.send_task(TWO, b"", (b"",))
    runs(channel.page, ONE)
    delivery.ask_ahead(stopped(ONE))
    assert not channel.page.asked.is_set()
    assert channel.recall(TWO)
    delivery.ask_ahead(stopped(ONE))
    assert channel.page.asked.is_set()


@pytest.mark.parametrize("kind", [StopKind.DEADLINE, StopKind.WATCHDOG])
def test_a_task_whose_stack_is_wanted_is_left_to_the_machine(
    kind: StopKind, channel: Channel, delivery: Delivery
) -> None:
    runs(channel.page, ONE)
    delivery.ask_ahead(stopped(ONE, kind))
    assert not channel.page.asked.is_set()


def test_an_ask_of_a_task_that_is_gone_does_not_make_the_next_one_deaf(channel: Channel, delivery: Delivery) -> None:
    """Behaviour 55. That one has looked, and does not say so again."""
    page, task = channel.page, stopped(ONE)
    delivery._tasks[ONE] = task  # type: ignore[index]
    runs(page, TWO)
    page.u8[pages.LOOKED] = 1
    delivery.ask(Ask(WorkerId(WORKER), TaskId(ONE), StopKind.STOP))
    assert page.u8[pages.LOOKED]


def test_nobody_waits_for_a_lock_that_is_never_given_back(
    channel: Channel, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a Ctrl-C may leave it. The machine's ask comes through all the same, and those after it."""
    monkeypatch.setattr(channels, "_ASK_S", 0.01)
    page, task = channel.page, stopped(ONE)
    runs(page, ONE)
    taker = threading.Thread(target=channel.asking.acquire)
    taker.start()
    taker.join()
    delivery.ask_ahead(task)
    assert not page.asked.is_set()
    assert task.reason is not None
    channel.ask(ONE, task.reason)
    assert page.forget_stale_ask(ONE)
    runs(page, TWO)
    delivery.ask_ahead(stopped(TWO))
    assert page.forget_stale_ask(TWO)


@pytest.mark.parametrize(
    ("mail", "owes"),
    [
        ([], False),
        ([Stop(TaskId(TWO))], False),  # it has ended
        ([Stop(TaskId(ONE))], True),
        ([Pause(TaskId(ONE))], False),
        ([Withdraw(TaskId(ONE), StopKind.GROUP)], True),
        ([Pause(TaskId(ONE)), Shutdown(cancel_pending=True)], True),
        ([Pause(TaskId(ONE))] * 65, True),  # too much to look through
    ],
)
def test_nobody_is_asked_before_mail_by_which_tasks_are_taken_back_is_done(mail: list[Event], owes: bool) -> None:
    """Behaviours 38, 150. The task of it may be on its way to the worker, and in no line yet."""
    reactor, task = Reactor.__new__(Reactor), stopped(ONE)
    reactor.hands = SimpleNamespace(tasks={ONE: task})  # type: ignore[assignment]
    reactor._mail = deque((event, None) for event in mail)
    assert reactor._owes_recalls() is owes
    if mail[:1] == [Stop(TaskId(ONE))]:
        task.asked_at = 1.0  # it runs, so it is not taken back
        assert not reactor._owes_recalls()
    reactor._mail.append(lambda: None)
    assert reactor._owes_recalls()
