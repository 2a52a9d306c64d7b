"""Copy a machine fast, and say its state as a canonical tuple: two machines that behave alike have one key.

Both know the machine's inside on purpose; a field that is added there and forgotten here fails `test_explorer.py`.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Mapping

from stoppable.core.dues import Dues
from stoppable.core.events import WorkerId
from stoppable.core.ladder import Climb
from stoppable.core.machine import Machine
from stoppable.core.records import Task, Worker
from stoppable.core.tables import TaskState

WORKER_FIELDS = tuple(name for name in Worker.__slots__ if name != "line")


def copy_climb(climb: Climb | None) -> Climb | None:
    if climb is None:
        return None
    new = Climb.__new__(type(climb))
    new.kind, new.rung, new.at_s, new.patience = climb.kind, climb.rung, list(climb.at_s), climb.patience
    return new


def copy_machine(old: Machine) -> Machine:
    """Return an independent copy; stale entries of heaps and queues are not copied."""
    new = Machine.__new__(type(old))
    new.__dict__.update(old.__dict__)
    tasks: dict[int, Task] = {}
    crew: dict[int, Worker] = {}
    dues = new.dues = Dues()
    for id, task in old.tasks.items():
        twin = tasks[id] = Task.__new__(Task)
        twin.__dict__.update(task.__dict__)
        twin.worker, twin.climb = None, copy_climb(task.climb)
        if twin.due is not None:
            due, twin.due = twin.due, None
            dues.set(twin, due)
    for number, worker in old.crew.items():
        other = crew[number] = Worker.__new__(Worker)
        for name in WORKER_FIELDS:
            setattr(other, name, getattr(worker, name))
        other.line = [tasks[task.id] for task in worker.line]
        for twin in other.line:
            twin.worker = other
        if other.due is not None:
            due, other.due = other.due, None
            dues.set(other, due)
    new.tasks, new.crew = tasks, crew  # type: ignore[assignment]
    new.queue = deque(tasks[task.id] for task in old.queue if task.id in tasks)
    new.over = 0
    new.idle = OrderedDict((crew[worker.id], None) for worker in old.idle)
    new.tails = {crew[worker.id]: None for worker in old.tails}
    new.room = [{crew[worker.id]: None for worker in bucket} for bucket in old.room]
    new.count = dict(old.count)
    new.out = []
    return new


def machine_key(machine: Machine, rank: Mapping[WorkerId, int]) -> tuple[object, ...]:
    """Return its state with times relative to now and workers by *rank*."""
    now = machine.now

    def since(moment: float | None) -> float | None:
        return None if moment is None else moment if math.isinf(moment) else round(moment - now, 3)

    def climb_key(climb: Climb | None) -> object:
        if climb is None:
            return None
        patience = None if climb.patience is None else (climb.patience[0], since(climb.patience[1]))
        return climb.kind.value, climb.rung, tuple(since(at) for at in climb.at_s), patience

    return (
        tuple(
            (
                task.id,
                task.state.value,
                None if task.worker is None else rank[task.worker.id],
                task.shown,
                task.claimed,
                task.recalling,
                task.probing,
                task.asked,
                task.unwanted,
                since(task.deadline),
                max(-5, since(task.began) or 0) if task.timed else None,
                task.held,
                since(task.paused_at) if task.state is TaskState.PAUSED else None,
                task.paused_s if task.timeout_s is not None else 0,
                None if task.watchdog_s is None else max(-5, since(task.alive_at) or 0),
                since(task.look_at),
                task.heavy,
                since(task.due),
                climb_key(task.climb),
            )
            for task in machine.tasks.values()
        ),
        tuple(
            (
                worker.state.value,
                tuple(task.id for task in worker.line),
                worker.sent if machine.most < math.inf else 0,
                worker.worn,
                worker.killed,
                since(worker.due),
            )
            for worker in machine.crew.values()
        ),
        tuple(task.id for task in machine.queue if task.id in machine.tasks),
        tuple(rank[worker.id] for worker in machine.idle),
        tuple(rank[worker.id] for worker in machine.tails),
        machine.booted,
        min(machine.failures, 4),
        since(machine.retry_at),
        machine.closing,
        machine.refusing,
        machine.broken,
        machine.finished,
        machine.emptying,
    )
