"""Short names for move lists: what the tests of the machine are written in."""

from typing import Any

from stoppable.core.events import Action, Event, Spawn, Submit, TaskId, WorkerId
from stoppable.core.ladder import StopPolicy
from stoppable.core.machine import Machine

LADDER = StopPolicy(ask=5, interrupt=2, terminate=2)


def task(number: int) -> TaskId:
    return TaskId(number)


def worker(number: int) -> WorkerId:
    return WorkerId(number)


def submit(number: int, policy: StopPolicy = LADDER, **limits: Any) -> Submit:
    return Submit(TaskId(number), policy, **limits)


class Game:
    """A machine and a clock; `play` returns the actions, spawns left out unless asked for."""

    def __init__(self, size: int = 1, **options: Any) -> None:
        self.machine = Machine(size, checked=True, **options)
        self.now = 0.0
        self.spawned: list[WorkerId] = []

    def play(self, *events: Event, after: float = 0.0) -> list[Action]:
        """Let *after* seconds pass, then step each event; return all actions but spawns."""
        self.now += after
        actions = [action for event in events for action in self.machine.step(event, self.now)]
        self.spawned += [action.worker for action in actions if isinstance(action, Spawn)]
        return [action for action in actions if not isinstance(action, Spawn)]
