"""The checker of the chaos can see: each history below is doctored in one way, and that is found."""

import dataclasses
import re
from collections.abc import Callable
from signal import SIGKILL, SIGSTOP
from typing import Any

import pytest

import chaos_plan
from chaos_checks import verify
from chaos_history import HarmDone, History, Outcome, Record, StopMade
from chaos_plan import Kind, Order
from chaos_tasks import BEAT, BEGUN, DEEDS, ENDED, SHIELDED, UNSHIELDED, exit_code

WORKER, OTHER, CHILD = 500, 501, 502


def history() -> History:
    """Return a history in which all is as promised: one task of each important kind of end."""
    orders = [
        Order(1, Kind.NOOP),
        Order(2, Kind.POLITE),
        Order(3, Kind.RAISE),
        Order(4, Kind.EXIT),
        Order(5, Kind.NAP),
        Order(6, Kind.SHIELDS),
        Order(7, Kind.DEAF, timeout_s=0.5),
        Order(8, Kind.NAP),
        Order(9, Kind.FORKS),
        Order(10, Kind.NAP),
    ]
    made = History({order.number: order for order in orders}, workers=2)
    for number, order in made.orders.items():
        at = float(number)
        if number != 8:
            made.records.append(Record(number * 100, BEGUN, number, WORKER, 0, at))
        if order.kind is Kind.SHIELDS:
            made.records.append(Record(number * 100 + 24, SHIELDED, number, WORKER, 0, at))
            made.records.append(Record(number * 100 + 48, UNSHIELDED, number, WORKER, 0, at))
        if number == 1:
            made.records.append(Record(number * 100 + 72, ENDED, number, WORKER, 0, at))
        if number == 9:
            made.records.append(Record(number * 100 + 24, BEAT, number, CHILD, 0, at))
        end = Outcome(number, "value", at - 0.1, at + 0.5, number * 100 + 99)
        made.outcomes.append(dataclasses.replace(end, **ENDS.get(number, {})))
    made.stops = [
        StopMade(2, "ask", 2.1, True),
        StopMade(6, "ask", 6.1, True),
        StopMade(8, "cancel", 8.1, True),
        StopMade(9, "kill", 9.1, True),
    ]
    made.harms = [
        HarmDone(WORKER, SIGKILL, 5.2, 5.2),
        HarmDone(OTHER, SIGSTOP, 6.2, 6.2),
        HarmDone(700, SIGKILL, 10.2, 10.2, warden=True),
    ]
    return made


ENDS: dict[int, dict[str, Any]] = {
    2: {"end": "stopped", "rung": 1, "rungs": (1,), "cancelled": True, "message": "chaos 2"},
    3: {"end": "error", "error": "ValueError"},
    4: {"end": "died", "code": exit_code(4)},
    5: {"end": "died", "code": -SIGKILL},
    6: {"end": "stopped", "rung": 2, "rungs": (1, 2), "cancelled": True, "message": "chaos 6"},
    7: {"end": "timeout", "rung": 2, "rungs": (1, 2)},
    8: {"end": "stopped", "rung": None, "started": False, "cancelled": True},
    9: {"end": "stopped", "rung": 4, "rungs": (1, 4), "cancelled": True, "message": "chaos 9"},
    10: {"end": "died", "code": None},
}


def ends(number: int, **changes: Any) -> Callable[[History], None]:
    """Return what makes the outcome of task *number* another."""

    def doctor(made: History) -> None:
        made.outcomes[number - 1] = dataclasses.replace(made.outcomes[number - 1], **changes)

    return doctor


def wrote(what: int, number: int, place: int, pid: int = WORKER, at: float | None = None) -> Callable[[History], None]:
    """Return what adds a record."""
    return lambda made: made.records.append(Record(place, what, number, pid, 0, number if at is None else at))


def without(what: int, number: int) -> Callable[[History], None]:
    """Return what takes a record away."""

    def doctor(made: History) -> None:
        made.records = [record for record in made.records if (record.what, record.number) != (what, number)]

    return doctor


def harmed(*harms: HarmDone) -> Callable[[History], None]:
    def doctor(made: History) -> None:
        made.harms = list(harms)

    return doctor


def stopped(*stops: StopMade) -> Callable[[History], None]:
    def doctor(made: History) -> None:
        made.stops = [stop for stop in made.stops if stop.number not in {new.number for new in stops}] + list(stops)

    return doctor


WARDEN = HarmDone(700, SIGKILL, 10.2, 10.2, warden=True)

DOCTORED: dict[str, tuple[Callable[[History], None], str]] = {
    "a task has no end": (lambda made: made.outcomes.pop(), "task 10 .* 0 outcomes"),
    "a task has two ends": (lambda made: made.outcomes.append(made.outcomes[0]), "task 1 .* 2 outcomes"),
    "a task was never done": (ends(1, end="never"), "task 1 .* never done"),
    "a pool is broken": (ends(1, end="broken"), "task 1 .* refused"),
    "a task runs twice": (wrote(BEGUN, 1, 150, OTHER), "task 1 .* began 2 times"),
    "a task runs again after it was lost": (wrote(BEGUN, 5, 550, OTHER), "task 5 .* began 2 times"),
    "a value comes from nowhere": (without(BEGUN, 1), "task 1 .* begun 0 and ended 1"),
    "a value comes too early": (without(ENDED, 1), "task 1 .* begun 1 and ended 0"),
    "an error comes from nowhere": (without(BEGUN, 3), "task 3 .* never began"),
    "a value is wrong": (ends(1, fault="has a wrong value"), "task 1 .* wrong value"),
    "a failure is lost": (ends(3, end="value"), "task 3 .* has a value"),
    "an error is another's": (ends(3, error="KeyError"), "task 3 .* raised KeyError"),
    "an innocent is stopped": (stopped(StopMade(2, "ask", 2.9, True)), "task 2 .* nobody asked"),
    "an innocent is out of time": (ends(2, end="timeout", cancelled=False), "task 2 .* had no timeout"),
    "a stopped one is not cancelled": (ends(2, cancelled=False), r"task 2 .* cancelled\(\) is False"),
    "one that went on is cancelled": (ends(1, cancelled=True), r"task 1 .* is cancelled\(\)"),
    "an end was not seen": (ends(9, confirmed=False), "task 9 .* not seen to end"),
    "a started one has no rung": (ends(2, rung=None), "task 2 .* the rung is None"),
    "one that never started did": (wrote(BEGUN, 8, 850), "task 8 .* never started, and it has"),
    "a rung is another than the report's": (ends(9, rung=3), r"task 9 .* rung 3"),
    "rungs go down": (ends(9, rungs=(1, 2, 2, 4)), r"task 9 .* do not go up"),
    "a reason is another's": (ends(2, message="chaos 9"), "task 2 .* reason of another"),
    "a stop is refused": (stopped(StopMade(9, "kill", 5.0, False)), "kill of task 9 was refused"),
    "stop_and_wait gives up": (stopped(StopMade(9, "wait", 8.0, False)), "task 9 ran out"),
    "an innocent's worker dies": (harmed(WARDEN), "task 5 .* lost its worker"),
    "another worker was killed": (harmed(WARDEN, HarmDone(OTHER, SIGKILL, 5.2, 5.2)), "task 5 .* lost its worker"),
    "the kill came later": (harmed(WARDEN, HarmDone(WORKER, SIGKILL, 5.6, 5.6)), "task 5 .* lost its worker"),
    "the kill came before it began": (harmed(WARDEN, HarmDone(WORKER, SIGKILL, 4.6, 4.6)), "task 5 .* lost its worker"),
    "it was only halted": (harmed(WARDEN, HarmDone(WORKER, SIGSTOP, 5.2, 5.2)), "task 5 .* lost its worker"),
    "one kill costs two tasks": (
        ends(8, end="died", code=-SIGKILL, cancelled=False, at=5.4),
        "task 8 .* lost its worker",
    ),
    "an exit code is another's": (ends(4, code=99), "task 4 .* lost its worker"),
    "one who ended its worker has a value": (ends(4, end="error", error="OSError"), "task 4 .* ended its worker"),
    "it writes after its end": (wrote(BEAT, 2, 299 + 1), "task 2 .* wrote 3 after that"),
    "it begins after it was cancelled": (wrote(BEGUN, 8, 900), "task 8 .* wrote 1 after that"),
    "its child outlives it": (wrote(BEAT, 9, 2000, CHILD, at=9.7), "a child of task 9"),
    "a shield is broken": (without(UNSHIELDED, 6), "task 6, .* inside a shield"),
    "something is left": (lambda made: made.left_behind.append("process 9"), "left behind: process 9"),
}


def test_a_history_in_which_all_is_as_promised_passes() -> None:
    assert verify(history()) == []


@pytest.mark.parametrize("name", DOCTORED)
def test_what_breaks_a_promise_is_seen(name: str) -> None:
    """Behaviour 105. The checks that the chaos rests on can fail."""
    doctor, line = DOCTORED[name]
    made = history()
    doctor(made)
    found = verify(made)
    assert any(re.search(line, each) for each in found), found


def test_a_plan_is_the_same_for_the_same_seed_and_no_other() -> None:
    assert chaos_plan.make(7, 300) == chaos_plan.make(7, 300)
    assert chaos_plan.make(7, 300) != chaos_plan.make(8, 300)


def test_there_is_a_deed_for_each_kind_of_task() -> None:
    assert set(DEEDS) == set(Kind)


def test_a_long_plan_has_tasks_of_every_kind_and_results_of_every_size() -> None:
    orders = chaos_plan.make(1, 10_000).orders()
    assert [order.number for order in orders] == list(range(1, 10_001))
    assert {order.kind for order in orders} == set(Kind)
    sizes = [order.size for order in orders if order.kind is Kind.BYTES]
    assert min(sizes) < 100
    assert max(sizes) > 8 << 20
    assert {stop.how for order in orders for stop in order.stops} == set(chaos_plan.HOWS)
