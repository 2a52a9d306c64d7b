"""An interrupt raced against what a task does at that instant: it hits that task or nothing, and is never lost.

Each round runs one task, stops it at the rung interrupt a moment after it has begun, and has another
task right behind it in the same worker. The moments come from a seed, so they are the same in each
run; what the machine makes of them is not. `make races` does 1,000 rounds of each.
"""

import itertools
import logging
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

import racing
from stoppable import Event, Future, ProcessPoolExecutor, Rung, StopPolicy, TaskStopped
from watching import make_quick

TIMES = int(os.environ.get("STOPPABLE_TIMES", "30"))
SEED = os.environ.get("STOPPABLE_SEED", "1")
BOUND_S = 60.0
POLICY = StopPolicy(ask=0, interrupt=40.0, terminate=40.0)


def wait_a_moment(seconds: float) -> None:
    """Wait, more exactly than a sleep does."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def end_of(future: "Future[int]", number: int) -> str:
    """Return how the task ended: value, unstarted, or the rung; fail on any other end."""
    try:
        said = future.result(BOUND_S)
    except TaskStopped as stopped:
        return str(stopped.rung) if stopped.started else "unstarted"
    assert said == racing.value(number)
    return "value"


class Race:
    """Rounds in one pool with one worker, so that the next task is in the same line."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.chance = str(folder), random.Random(f"{name} {SEED}")
        self.numbers = itertools.count()
        self.ends: Counter[str] = Counter()
        self.pool = ProcessPoolExecutor(1, policy=POLICY)
        make_quick(self.pool)

    def follow(self) -> tuple[int, "Future[int]"]:
        number = next(self.numbers)
        return number, self.pool.submit(racing.once, self.folder, number)

    def finish_round(self, future: "Future[int]", number: int, follower: tuple[int, "Future[int]"]) -> str:
        behind, after = follower
        end = end_of(future, number)
        self.ends[end] += 1
        assert after.result(BOUND_S) == racing.value(behind), "the next task was hit"
        # An interrupt can come to a task that has started before the first line of its function.
        ran = Path(self.folder, str(number)).exists()
        assert ran if end == "value" else not ran or end != "unstarted"
        return end


@pytest.fixture
def race(request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture):  # type: ignore[no-untyped-def]
    made = Race(tmp_path, request.node.name)
    yield made
    made.pool.shutdown()
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
    print(f"{request.node.name}: {dict(made.ends)}")


@pytest.mark.slow
@pytest.mark.timeout(60 + TIMES)
@pytest.mark.parametrize("instant", racing.REPEATED)
def test_an_interrupt_ends_its_task_at_whatever_instant_it_comes(instant: str, race: Race) -> None:
    """Behaviours 44, 62. Also where Python swallows exceptions; the next task never notices."""
    for _ in range(TIMES):
        begun, number = Event(), next(race.numbers)
        future = race.pool.submit(racing.repeat, instant, begun, race.folder, number)
        follower = race.follow()
        assert begun.wait(BOUND_S)
        wait_a_moment(race.chance.uniform(0, racing.LOOP_S * 0.8))
        assert future.stop(at=Rung.INTERRUPT)
        assert race.finish_round(future, number, follower) == "interrupt"


@pytest.mark.slow
@pytest.mark.timeout(60 + TIMES)
@pytest.mark.parametrize("task", [racing.brief, racing.slowly_pickled], ids=["returns", "is pickled"])
def test_an_interrupt_at_a_tasks_end_hits_that_task_or_nothing(task, race: Race) -> None:  # type: ignore[no-untyped-def]
    """Behaviours 43, 44."""
    for _ in range(TIMES * 2):
        begun, number = Event(), next(race.numbers)
        future = race.pool.submit(task, begun, race.folder, number, race.chance.randrange(90_000))
        follower = race.follow()
        assert begun.wait(BOUND_S)
        wait_a_moment(race.chance.uniform(0, 0.0005))
        future.stop(at=Rung.INTERRUPT)
        assert race.finish_round(future, number, follower) in ("value", "interrupt")


@pytest.mark.slow
@pytest.mark.timeout(60 + TIMES)
def test_an_interrupt_at_the_start_of_the_next_task_does_not_hit_it(race: Race) -> None:
    """Behaviours 39, 44. A stop any time from the submission on, with three more tasks in the line."""
    for _ in range(TIMES * 2):
        number = next(race.numbers)
        future = race.pool.submit(racing.brief, Event(), race.folder, number, race.chance.randrange(3_000))
        followers = [race.follow() for _ in range(3)]
        wait_a_moment(race.chance.uniform(0, 0.003))
        future.stop(at=Rung.INTERRUPT)
        for follower in followers:
            race.finish_round(future, number, follower)
