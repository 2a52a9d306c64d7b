"""Everything that runs a pool, put together: loaded when the first pool of a process is made."""

import concurrent.futures.process  # noqa: F401  # programs that have a pool name its errors by that path
from multiprocessing.context import BaseContext

from stoppable.core.machine import Machine
from stoppable.shell.contexts import launcher
from stoppable.shell.reactor import Reactor
from stoppable.shell.relay import Relay
from stoppable.worker.records import levels
from stoppable.worker.setup import Setup

# Positions in a worker's line are 32 bits, and one that is taken back uses up one, too.
_MOST_TASKS = 1 << 31


def build(
    setup: Setup, context: BaseContext | None, workers: int, tasks_each: int | None, *, logs: bool, output: str | None
) -> Reactor:
    """Return a reactor, not started, and all that it needs.

    Args:
        setup: what each worker sets up.
        context: where workers come from; None: a warden of our own.
        workers: most that run tasks at once.
        tasks_each: a worker is replaced after so many; None: never.
        logs: what workers log and warn of comes to this process.
        output: how what tasks print does; None: it does not.
    """
    setup.levels, setup.lines = levels() if logs else None, output is not None
    machine = Machine(workers, max_tasks_per_child=min(tasks_each or _MOST_TASKS, _MOST_TASKS))
    return Reactor(machine, launcher(setup, context), setup.name, Relay(setup.name, named=output == "named"))
