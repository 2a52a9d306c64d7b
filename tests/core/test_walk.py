"""Long random walks of larger pools through the same hostile world, with the machine's invariants checked each step."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proc import Config
from stoppable.rung import Rung
from world import World

HELPFUL = ("reply", "read", "boot", "exited", "die", "take", "return")


RARE = {"stop all": 0.002, "shutdown": 0.005, "crash": 0.1, "stop": 0.3, "tick": 0.3}  # against 1 for every other kind


def wander(world: World, chance: random.Random, moves: int) -> None:
    for _ in range(moves):
        choice = list(world.moves())
        if not choice:
            return
        # First the kind: else most moves would be stops.
        kinds = sorted({str(move[0]) for move in choice})
        kind = chance.choices(kinds, [RARE.get(name, 1.0) for name in kinds])[0]
        world.play(chance.choice([move for move in choice if move[0] == kind]))


def finish(world: World) -> int:
    """Play only what helps, and time; return how many moves it took until all is over."""
    world.all, world.crashes, world.spawn_fails, world.boot_fails = (), 0, 0, 0
    world.stops.clear()
    if not world.closed:
        world.play(("shutdown", False))
    for number in range(20_000):
        if world.finished:
            return number
        choice = [move for move in world.moves() if move[0] in HELPFUL]
        choice.sort(key=lambda move: HELPFUL.index(move[0]))
        world.play(choice[0] if choice else ("tick",))
    raise AssertionError("it never ends")


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 5),
    ahead=st.integers(1, 6),
    spares=st.integers(0, 2),
    most=st.none() | st.integers(1, 4),
    timeout_s=st.none() | st.integers(1, 4),
    deadline=st.none() | st.integers(1, 20),
    slow=st.booleans(),
)
def test_fifty_tasks_end_once_each_whatever_the_world_does(
    seed: int,
    size: int,
    ahead: int,
    spares: int,
    most: int | None,
    timeout_s: int | None,
    deadline: int | None,
    slow: bool,
) -> None:
    """Behaviours 43, 48, 49, 104, 105."""
    config = Config(
        tasks=50,
        size=size,
        ahead=ahead,
        spares=spares,
        most=most,
        crashes=10,
        stops=tuple(Rung),
        stoppable=25,
        all=(Rung.ASK, Rung.KILL),
        shutdown=(False, True),
        looks=True,
        shields=2,
        spawn_fails=2,
        timeout_s=timeout_s,
        deadline=deadline,
        limited=20,
        slow=slow,
    )
    world = World(config)
    wander(world, random.Random(seed), 400)
    world.copy().alone()
    finish(world)
    assert len(world.ended) == 50


def test_the_depth_of_the_lines_may_change_while_they_are_full() -> None:
    """Behaviour 104."""
    chance = random.Random(7)
    world = World(Config(tasks=30, size=3, spares=1, crashes=3, stops=(Rung.KILL,), stoppable=10, shutdown=(False,)))
    for ahead in (1, 4, 2, 8, 1, 3):
        world.machine.ahead = ahead
        wander(world, chance, 40)
    finish(world)
    assert len(world.ended) == 30
