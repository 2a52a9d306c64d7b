"""What `check` does in a task: what it notes, what it asks, and what it leaves out for speed."""

import gc
import os
from collections.abc import Iterator

import pytest

from stoppable import StopToken
from stoppable.flags import slab
from stoppable.flags.words import Word
from stoppable.reason import new_reason
from stoppable.requested import StopInterrupt, StopRequested
from stoppable.worker import intask
from stoppable.worker import page as pages
from stoppable.worker.gate import Gate
from stoppable.worker.intask import Running, check
from stoppable.worker.page import Page

ONE, TWO = 1, 2


@pytest.fixture
def task() -> Iterator[Running]:
    fd = Page.make()
    page = Page(fd)
    os.close(fd)
    gate = Gate(page)
    gate.reset()
    made = Running(ONE, print, page, gate, lambda *_: None)
    yield made
    intask.leave()
    made.token = None
    gc.collect()
    slab.trim()  # it was pickled, so its memory is kept


def looked(task: Running) -> bool:
    """Say whether it has looked since this was asked last."""
    byte = task.page.u8[pages.LOOKED]
    task.page.u8[pages.LOOKED] = 0
    return bool(byte)


def test_the_first_look_of_a_task_is_noted_and_then_its_flag_is_asked_itself(task: Running) -> None:
    intask.enter(task)
    assert not looked(task)
    check()
    assert looked(task)
    assert intask._asked is task.page.asked.is_set
    check()
    assert not looked(task)


def test_each_look_of_a_task_with_a_watchdog_is_noted(task: Running) -> None:
    """Behaviour 100."""
    task.watched = True
    intask.enter(task)
    for _ in range(3):
        check()
        assert looked(task)


def test_a_look_since_the_stop_was_asked_for_is_noted(task: Running) -> None:
    """Behaviour 68."""
    intask.enter(task)
    check()
    assert task.page.u8[pages.LOOKED] == 1
    task.page.ask(ONE, new_reason(message="enough"))
    with pytest.raises(StopRequested, match="enough"):
        check()
    assert task.page.u8[pages.LOOKED] & pages.HEARD


def test_the_flag_of_the_tasks_token_is_asked_beside_its_own(task: Running) -> None:
    intask.enter(task)
    check()
    token = intask.current_token()
    assert intask._also is token.is_set
    token.stop("by the token")
    with pytest.raises(StopRequested, match="by the token"):
        check()


def test_after_a_task_nothing_is_asked(task: Running) -> None:
    intask.enter(task)
    check()
    task.page.ask(ONE, new_reason())
    intask.leave()
    check()
    assert intask._asked is intask._also is bool


def test_a_thread_that_has_outlived_its_task_does_not_lower_the_flag_of_the_next(task: Running) -> None:
    page = task.page
    page.u64[pages.CURRENT_TASK] = TWO
    page.ask(TWO, new_reason())
    assert not task.asked()
    assert page.asked.is_set()
    page.u64[pages.CURRENT_TASK] = ONE
    assert not task.asked()  # it is the one that runs now: what is asked is over
    assert not page.asked.is_set()


def test_a_thread_that_has_outlived_its_task_leaves_the_first_look_to_the_next(
    task: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Running(TWO, print, task.page, task.gate, lambda *_: None)
    intask.enter(task)

    class Slow:
        """The page of a task that ends while its thread looks."""

        def __init__(self, page: Page) -> None:
            self.looked = page.looked

        @property
        def asked(self) -> Word:
            intask.leave()
            intask.enter(other)
            looked(other)
            return other.page.asked

    monkeypatch.setattr(task, "page", Slow(task.page))
    check()
    monkeypatch.undo()
    check()
    assert looked(task)


def test_a_recall_of_what_is_claimed_freezes_nothing(task: Running) -> None:
    page = task.page
    page.offer(1)
    page.offer(2)
    assert page.claim(1, 0) == (True, 0)
    assert not page.recall(1)
    assert page.u32[pages.FREEZE] == 0
    assert page.recall(2)
    assert page.u32[pages.FREEZE] == 2
    assert page.claim(2, 0) == (False, 2)


def test_an_interrupt_that_breaks_off_the_look_at_an_earlier_tasks_flag_does_not_lose_its_own_ask(
    task: Running,
) -> None:
    """Behaviour 56. The ask comes after the look at whose the flag is, the interrupt when the flag was lowered."""
    page = task.page
    page.u64[pages.CURRENT_TASK] = task.gate.task = ONE
    page.ask(TWO, new_reason())

    class Flag(Word):
        def clear(self) -> None:
            page.ask(ONE, new_reason(message="mine"))
            page.u64[pages.INTERRUPT_TASK] = ONE
            super().clear()
            task.gate.on_signal(0, None)

    page.asked = Flag(page._map, pages.ASKED * 4)
    with pytest.raises(StopInterrupt, match="mine"):
        task.asked()
    assert task.asked()


def test_a_thread_that_has_outlived_its_task_does_not_show_its_token_as_that_of_the_next(task: Running) -> None:
    """Else the stop of the next one would not reach what it has given its token to."""
    next_one = Running(TWO, print, task.page, task.gate, lambda *_: None)
    intask.enter(next_one)
    intask.current_token()
    shown = task.page.bound_token(TWO)
    assert shown
    intask._show(task, StopToken())
    assert task.page.bound_token(TWO) == shown
    next_one.token = None
