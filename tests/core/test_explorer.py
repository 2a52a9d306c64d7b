"""Every reachable state of small pools: no promise is broken in any of them, and none is a dead end."""

import pytest

from copying import WORKER_FIELDS, copy_machine
from explorer import explore
from proc import Config
from stoppable.core.machine import Machine
from stoppable.rung import Rung
from world import World

ASK, INTERRUPT, TERMINATE, KILL = Rung

CONFIGS = {
    "a crash, and a stop made stronger": (Config(tasks=1, crashes=1, stops=(ASK, KILL)), 2500),
    "every stop, one after the other": (Config(tasks=1, stops=(ASK, INTERRUPT, TERMINATE, KILL)), 1800),
    "a task sent ahead beside a stop": (Config(tasks=2, ahead=2, crashes=1, stops=(INTERRUPT,), stoppable=1), 2000),
    "a task sent ahead is stopped": (Config(tasks=2, ahead=2, crashes=1, stops=(KILL,)), 3000),
    "taken back for an idle worker": (Config(tasks=3, size=2, ahead=2, crashes=1, stops=()), 1000),
    "two seats, two stops": (Config(tasks=2, size=2, ahead=2, stops=(TERMINATE,), stoppable=1), 1400),
    "a spare takes over": (Config(tasks=2, spares=1, stops=(INTERRUPT,), stoppable=1), 450),
    "one task a worker": (Config(tasks=2, most=1, stops=(KILL,), crashes=1, stoppable=1), 700),
    "two tasks a worker": (Config(tasks=3, ahead=2, most=2, stops=(), crashes=1, shutdown=(False,)), 300),
    "tasks that look, and shields": (Config(tasks=1, looks=True, shields=1), 1700),
    "a timeout and a deadline": (Config(tasks=1, stops=(), timeout_s=2, deadline=3, crashes=1), 1300),
    "a deadline in the line": (Config(tasks=2, ahead=2, stops=(), deadline=1, crashes=1), 2000),
    "a stop and a timeout": (Config(tasks=1, stops=(ASK,), timeout_s=2), 600),
    "a shutdown": (Config(tasks=1, shutdown=(False, True), stops=(ASK,)), 900),
    "a shutdown with tasks ahead": (Config(tasks=3, ahead=2, shutdown=(False, True), stops=(), crashes=1), 350),
    "a shutdown beside a stop": (Config(tasks=2, shutdown=(False,), stops=(TERMINATE,), stoppable=1), 450),
    "all are stopped": (Config(tasks=2, ahead=2, shutdown=(False,), all=(ASK, KILL), stops=()), 1500),
    "no worker to be had": (Config(tasks=1, stops=(), spawn_fails=3, boot_fails=1), 120),
    "pauses, a crash and a kill": (Config(tasks=1, pauses=1, crashes=1, stops=(ASK,)), 1000),
    "a pause beside a task sent ahead": (Config(tasks=2, ahead=2, pauses=2, crashes=1, stops=()), 1400),
    "a pause beside a stop": (Config(tasks=2, ahead=2, pauses=1, stops=(INTERRUPT,), stoppable=1), 2800),
    "pauses of a task with a timeout": (Config(tasks=1, stops=(), pauses=1, waits=1, timeout_s=2), 800),
    "a pause until the deadline": (Config(tasks=1, stops=(), pauses=1, timeout_s=2, deadline=3), 2400),
    "a pause and a shutdown": (Config(tasks=1, stops=(), pauses=1, shutdown=(False, True)), 100),
    "a watchdog": (Config(tasks=1, stops=(), watchdog_s=4, crashes=1, beats=1), 500),
    "a watchdog and pauses": (Config(tasks=1, stops=(), watchdog_s=4, pauses=1, waits=1, beats=1), 500),
    "a watchdog beside a stop": (Config(tasks=1, stops=(ASK,), watchdog_s=4), 300),
    "too much memory": (Config(tasks=2, ahead=2, stops=(), heavy=1, crashes=1), 500),
    "too much memory, paused": (Config(tasks=1, stops=(), heavy=1, pauses=1, crashes=1), 700),
    "a token that was set before": (Config(tasks=2, ahead=2, stops=(ASK,), stoppable=1, declines=1, crashes=1), 2000),
    "slow boots": (Config(tasks=1, stops=(), slow=True, crashes=1, spawn_fails=1, shutdown=(False,)), 3800),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_no_promise_is_broken_in_any_reachable_state(name: str) -> None:
    """Behaviours 43, 49, 59, 60, 104. And each stop ends by time alone, whatever the workers do."""
    config, least = CONFIGS[name]
    found = explore(config)
    print(f"{name}: {found}")
    assert found.states >= least, "the world has shrunk: it no longer does what this configuration is for"
    assert found.good, "the end is never reached"
    assert found.most_steps <= 16


def test_a_copy_is_a_machine_of_its_own_and_misses_no_field() -> None:
    world = World(Config(tasks=3, ahead=2))
    copy = world.copy()
    assert copy.key() == world.key()
    for move in (("boot", 1), ("take", 1), ("stop", 0, KILL)):
        copy.play(move)
    assert copy.key() != world.key()
    assert world.machine.unfinished == 3
    assert "line" not in WORKER_FIELDS
    twin = copy_machine(copy.machine)
    theirs = {id(task) for task in copy.machine.tasks.values()} | {id(each) for each in copy.machine.crew.values()}
    assert not theirs & {id(each) for each in (*twin.tasks.values(), *twin.crew.values())}
    assert set(twin.__dict__) == set(Machine(1).__dict__) | {"backoff_s"}
    for name, value in twin.__dict__.items():
        if isinstance(value, dict | list) or name in ("queue", "dues"):
            assert value is not copy.machine.__dict__[name], f"{name} is shared by the copies"
