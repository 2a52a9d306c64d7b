"""The cost of a step does not grow with the pool: counted in lines of Python that are run, not in time."""

import gc
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from moves import LADDER, submit, task
from stoppable.core import events as ev
from stoppable.core.machine import Machine
from stoppable.core.records import Task
from stoppable.rung import Rung

CORE = str(Path(ev.__file__).parent)


def tasks_alive() -> int:
    return sum(isinstance(each, Task) for each in gc.get_objects())


def lines_of(machine: Machine, event: ev.Event, now: float = 0.0) -> int:
    """Return how many lines of the machine one step runs: what a signal or a thread runs in between is not its own."""
    count = 0

    def trace(frame: FrameType, what: str, argument: Any) -> Any:
        nonlocal count
        count += what == "line" and frame.f_code.co_filename.startswith(CORE)
        return trace

    before = sys.gettrace()
    gc.disable()  # its callbacks are lines of Python, too, and whose they are is chance
    sys.settrace(trace)
    try:
        machine.step(event, now)
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def pool(workers: int, queued: int, ahead: int = 1) -> Machine:
    """Return a machine with all workers busy, a few more idle, and a queue."""
    machine = Machine(workers, spares=3, ahead=ahead)
    total = workers * ahead + queued
    for number in range(total):
        machine.step(submit(number), 0.0)
    for _ in range(4):
        for worker in machine.workers():
            machine.step(ev.Booted(worker), 0.0)
    assert machine.running == workers
    assert machine.queued == queued
    return machine


def cost(workers: int, queued: int, ahead: int) -> dict[str, int]:
    machine = pool(workers, queued, ahead)
    crew = machine.workers()
    heads = [machine.line(worker) for worker in crew]
    busy = [(worker, line) for worker, line in zip(crew, heads, strict=True) if line]
    (one, first), (two, second), (three, third), (four, fourth) = busy[:4]
    return {
        "submit": lines_of(machine, submit(10**7)),
        "submit with a deadline": lines_of(machine, ev.Submit(task(10**7 + 1), LADDER, deadline=50.0)),
        "stop of a queued task": lines_of(machine, ev.Stop(task(10**7))),
        "answer": lines_of(machine, ev.Answered(one, first[0], stopped=False)),
        "exit": lines_of(machine, ev.Exited(two, second[0])),
        "stop": lines_of(machine, ev.Stop(third[0])),
        "claimed": lines_of(machine, ev.Claimed(three, third[0])),
        "probed": lines_of(machine, ev.Probed(three, third[0], False, 0.0, 0.0)),
        "kill": lines_of(machine, ev.Stop(third[0], Rung.KILL)),
        "unfit": lines_of(machine, ev.Answered(four, fourth[0], stopped=False, fit=False)),
        "tick": lines_of(machine, ev.Tick(), 3.0),
    }


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [1, 3])
def test_a_step_of_ten_thousand_workers_runs_no_more_lines_than_one_of_ten(ahead: int) -> None:
    small, large = cost(10, 20, ahead), cost(10_000, 20_000, ahead)
    assert large == small
    assert max(large.values()) < 400


@pytest.mark.slow
def test_ten_thousand_idle_workers_take_back_at_a_flat_cost() -> None:
    machine = pool(10_000, 0, ahead=2)
    spent = []
    for count, worker in enumerate(machine.workers()[:9_000]):
        for number in machine.line(worker):
            answer = ev.Answered(worker, number, stopped=False)
            if count % 10:
                machine.step(answer, 0.0)
            else:
                spent.append(lines_of(machine, answer))
    assert len(spent) > 1_000
    assert max(spent) < 250


@pytest.mark.slow
def test_ended_tasks_are_not_remembered() -> None:
    """Behaviour 112: what was stopped in the queue, or had a deadline far off, leaves nothing behind."""
    gc.collect()
    before = tasks_alive()  # a test that failed keeps its own, in its traceback
    machine = Machine(1)
    for number in range(20_000):
        machine.step(ev.Submit(task(number), LADDER, deadline=10.0**6), 0.0)
    for number in range(1, 20_000):
        machine.step(ev.Stop(task(number)), 0.0)
    assert machine.unfinished == 1
    assert machine.queued == 1
    assert len(machine.queue) < 200
    assert len(machine.dues) < 200
    gc.collect()
    assert tasks_alive() < before + 400
