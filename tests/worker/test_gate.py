"""Where an interrupt may land: the gate, called as the signal handler calls it."""

import os
import time

import pytest

from stoppable.errors import StopInterrupt
from stoppable.reason import StopReason, new_reason
from stoppable.worker import page as pages
from stoppable.worker.gate import Gate
from stoppable.worker.page import Page

ONE, TWO = 1, 2


@pytest.fixture
def page() -> Page:
    fd = Page.make()
    made = Page(fd)
    os.close(fd)
    return made


@pytest.fixture
def gate(page: Page) -> Gate:
    made = Gate(page)
    made.reset()
    return made


def interrupt(gate: Gate, task: int) -> None:
    """Do what the parent does to interrupt *task*; the signal comes at once."""
    gate.page.u64[pages.INTERRUPT_TASK] = task
    gate.on_signal(2, None)


def test_an_interrupt_lands_in_the_task_that_it_names_with_the_reason(gate: Gate) -> None:
    reason: StopReason = new_reason(message="enough")
    gate.page.ask(ONE, reason)
    gate.open(ONE)
    with pytest.raises(StopInterrupt) as caught:
        interrupt(gate, ONE)
    assert caught.value.reason == reason


def test_an_interrupt_for_one_task_does_not_land_in_the_next(gate: Gate) -> None:
    """Behaviour 44. However late the signal is."""
    gate.open(TWO)
    interrupt(gate, ONE)
    assert not gate.landed
    assert not gate.pending


def test_an_interrupt_does_not_land_outside_a_task(gate: Gate) -> None:
    interrupt(gate, ONE)
    assert not gate.landed


def test_an_interrupt_that_came_before_the_gate_opened_lands_when_it_does(gate: Gate) -> None:
    interrupt(gate, ONE)
    with pytest.raises(StopInterrupt):
        gate.open(ONE)


def test_an_interrupt_lands_once(gate: Gate) -> None:
    """Behaviour 62."""
    gate.open(ONE)
    with pytest.raises(StopInterrupt):
        interrupt(gate, ONE)
    interrupt(gate, ONE)


def test_an_interrupt_during_a_write_lands_after_it(gate: Gate) -> None:
    """Half a frame would break the channel."""
    gate.open(ONE)
    gate.seal()
    interrupt(gate, ONE)
    assert gate.pending
    with pytest.raises(StopInterrupt):
        gate.unseal()


def test_an_interrupt_in_a_shield_is_kept_until_the_shield_ends(gate: Gate) -> None:
    """Behaviour 71."""
    gate.open(ONE)
    gate.shields = 1
    gate.page.f64[pages.SHIELD_UNTIL] = time.monotonic() + 1000
    interrupt(gate, ONE)
    assert gate.pending
    gate.release()
    gate.shields = 0
    with pytest.raises(StopInterrupt):
        gate.release()


def test_an_interrupt_lands_in_a_shield_whose_limit_has_passed(gate: Gate) -> None:
    """Behaviour 72."""
    gate.open(ONE)
    gate.shields = 1
    gate.page.f64[pages.SHIELD_UNTIL] = time.monotonic() - 1
    with pytest.raises(StopInterrupt):
        interrupt(gate, ONE)


def test_a_new_task_inherits_nothing_of_the_one_before(gate: Gate) -> None:
    gate.open(ONE)
    gate.seal()
    interrupt(gate, ONE)
    gate.task = 0
    gate.reset()
    gate.open(TWO)
    gate.release()
    assert (gate.pending, gate.landed, gate.seals, gate.shields) == (False, False, 0, 0)


def test_an_ask_for_an_earlier_task_is_not_one_for_this(page: Page) -> None:
    """Behaviour 44. The flag is lowered, and a later ask for this task raises it again."""
    page.ask(ONE, new_reason())
    assert not page.forget_stale_ask(TWO)
    assert not page.asked.is_set()
    page.ask(TWO, new_reason())
    assert page.asked.is_set()
    assert page.forget_stale_ask(TWO)


def test_the_page_says_that_an_interrupt_was_heard_and_not_before(gate: Gate) -> None:
    """So it can be sent again: one that comes just before `time.sleep` begins to sleep is not heard."""
    gate.open(ONE)
    gate.shields = 1
    gate.page.f64[pages.SHIELD_UNTIL] = time.monotonic() + 1000
    assert gate.page.u64[pages.HEARD_TASK] != ONE
    interrupt(gate, TWO)
    assert gate.page.u64[pages.HEARD_TASK] != ONE
    interrupt(gate, ONE)
    assert gate.page.u64[pages.HEARD_TASK] == ONE


def test_an_interrupt_that_python_has_swallowed_may_land_again(gate: Gate) -> None:
    """In a destructor, say: the parent sees that nobody heard it, and sends it again."""
    gate.open(ONE)
    with pytest.raises(StopInterrupt) as caught:
        interrupt(gate, ONE)
    assert not gate.swallowed(ValueError())
    assert gate.swallowed(caught.value)
    assert gate.page.u64[pages.HEARD_TASK] != ONE
    with pytest.raises(StopInterrupt):
        interrupt(gate, ONE)
    gate.task = 0
    assert not gate.swallowed(caught.value)
