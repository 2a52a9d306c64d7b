"""Bugs put into the machine on purpose: the explorer must find each, or it would not find a real one either.

The machine's own invariants are off here, so that each is found by what it does to the world.
"""

from typing import Any

import pytest

from explorer import Broken, explore
from proc import Config
from stoppable.core import events as ev
from stoppable.core.ends import End
from stoppable.core.ladder import StopPolicy
from stoppable.core.machine import Machine
from stoppable.core.records import Task, Worker
from stoppable.core.tables import TaskState
from stoppable.reason import StopKind
from stoppable.rung import Rung

AHEAD = Config(tasks=2, ahead=2, stops=(Rung.TERMINATE,), stoppable=1)
ONE = Config(tasks=1)
CRASH = Config(tasks=2, ahead=2, stops=(), crashes=1)


class Unchecked(Machine):
    def check(self) -> None:
        pass


class RunsAgainWhatACrashInterrupted(Unchecked):
    def bury(self, worker: Worker, event: ev.Exited) -> None:
        super().bury(worker, event._replace(claimed=None))


class GivesUpWhatNeverStarted(Unchecked):
    def bury(self, worker: Worker, event: ev.Exited) -> None:
        for task in worker.line:
            task.claimed = True
        super().bury(worker, event)


class NeverLooksAfterAKill(Unchecked):
    def kill(self, worker: Worker, task: Task | None) -> None:
        super().kill(worker, task)
        self.dues.set(worker, float("inf"))


class LadderWithoutKill(Unchecked):
    def deliver(self, worker: Worker, task: Task, rung: Rung) -> None:
        if rung is not Rung.KILL:
            super().deliver(worker, task, rung)


class LeavesTheNeighboursInPlace(Unchecked):
    def clear_tail(self, worker: Worker) -> None:
        pass


class InterruptsTheNextTask(Unchecked):
    def deliver(self, worker: Worker, task: Task, rung: Rung) -> None:
        other = next((each for each in self.tasks.values() if each is not task), task)
        super().deliver(worker, other if rung is Rung.INTERRUPT else task, rung)


class KeepsTheSeat(Unchecked):
    def leave_line(self, worker: Worker, task: Task) -> None:
        super().leave_line(worker, task)
        self.seated += not worker.line and task.climb is not None


class EndsTwice(Unchecked):
    def resolve(self, task: Task, end: End, **facts: Any) -> None:
        super().resolve(task, end, **facts)
        if not facts.get("confirmed", True):
            self.out.append(self.out[-1])


class ForgetsWhatItTookBack(Unchecked):
    def requeue(self, task: Task) -> None:
        if task.climb is not None or task.shown:
            super().requeue(task)


class ReusesAnInterruptedWorker(Unchecked):
    def deliver(self, worker: Worker, task: Task, rung: Rung) -> None:
        super().deliver(worker, task, rung)
        worker.worn = False


class StopsWithoutTakingBack(Unchecked):
    def pursue(self, task: Task) -> None:
        if task.climb is not None and not task.claimed and task.worker is not None:
            worker = task.worker
            self.resolve(task, End.STOPPED, started=False)
            self.take_off(worker, task)
        else:
            super().pursue(task)


class ClimbsWithoutLooking(Unchecked):
    def pursue(self, task: Task) -> None:
        if task.climb is not None and task.claimed:
            self.try_climb(task, False, 0.0)
        else:
            super().pursue(task)


class CountsATimeoutFromTheSending(Unchecked):
    def probed(self, event: ev.Probed) -> None:
        super().probed(event if event.started_at is None else event._replace(started_at=0.0))


class IgnoresShields(Unchecked):
    def try_climb(self, task: Task, looked: bool, shield_until: float) -> None:
        super().try_climb(task, looked, 0.0)


class NeverSendsAnyoneHome(Unchecked):
    def wind_down(self) -> None:
        pass


class FinishesTooSoon(Unchecked):
    def wind_down(self) -> None:
        if not self.tasks and not self.finished:
            self.finished = True
            self.out.append(ev.Finished())


class SaysNothingOfARequeue(Unchecked):
    def requeue(self, task: Task) -> None:
        task.shown = False
        super().requeue(task)


class TakesClaimedForUnstarted(Unchecked):
    def claimed(self, worker: Worker, task: Task) -> None:
        if task.climb is None:
            super().claimed(worker, task)
        else:
            self.recalled(worker, task)


class SeatsWithoutLimit(Unchecked):
    def step(self, event: ev.Event, now: float) -> list[ev.Action]:
        done = super().step(event, now)
        self.size += 1
        self.fill()
        self.size -= 1
        done, self.out = done + self.out, []
        return done


class LeavesTasksBehindALongOne(Unchecked):
    def rebalance(self) -> None:
        pass


class SpawnsNoSuccessor(Unchecked):
    def spawn(self) -> None:
        if self.spawned < 1:
            super().spawn()


class LosesWithoutAnEnding(Unchecked):
    def lose(self, worker: Worker) -> None:
        worker.line.clear()
        super().lose(worker)


class PausesTheNeighbourToo(Unchecked):
    def press(self, task: Task) -> None:
        if task.worker is not None and task.worker.line[0] is task:
            self.probe(task)

    def try_pause(self, task: Task) -> None:
        assert task.worker is not None
        line, task.worker.line = task.worker.line, [task]
        super().try_pause(task)
        task.worker.line = line


class StopsWithoutResuming(Unchecked):
    def want(self, task: Task, at: Rung, policy: StopPolicy | None, kind: StopKind) -> None:
        held, task.held = task.held, False
        if task.state is TaskState.PAUSED:
            task.state = TaskState.RUNNING
        super().want(task, at, policy, kind)
        task.held = held


class LeavesAFreeWorkerStanding(Unchecked):
    def resume(self, task: Task) -> None:
        super().resume(task)
        if task.climb is None and task.state is TaskState.RUNNING:
            self.out = [action for action in self.out if not isinstance(action, ev.Continue)]


class CountsThePauseInTheTimeout(Unchecked):
    def resume(self, task: Task) -> None:
        super().resume(task)
        task.paused_s = 0.0
        self.schedule(task)


class TimesOutWhatIsPaused(Unchecked):
    def limit(self, task: Task) -> float:
        if task.timeout_s is None or task.state is not TaskState.PAUSED:
            return super().limit(task)
        return task.began + task.timeout_s


class WatchesFromTheSending(Unchecked):
    def watch(self, task: Task, watchdog_s: float, alive_at: float) -> None:
        task.began = 0.0
        super().watch(task, watchdog_s, 0.0)


class StopsForMemoryWhatHasNotStarted(Unchecked):
    def weighed(self, task: Task, size_bytes: int) -> None:
        self.stop(task, Rung.KILL, None, StopKind.MEMORY)

    def clear_tail(self, worker: Worker) -> None:
        pass


class TakesADeclinedTaskForBegun(Unchecked):
    def _answered(self, event: ev.Answered) -> None:
        super()._answered(event._replace(began=True))

    HANDLERS = {**Machine.HANDLERS, ev.Answered: _answered}


BUGS: dict[type[Machine], Config] = {
    RunsAgainWhatACrashInterrupted: CRASH,
    GivesUpWhatNeverStarted: CRASH,
    NeverLooksAfterAKill: ONE,
    LadderWithoutKill: ONE,
    LeavesTheNeighboursInPlace: AHEAD,
    InterruptsTheNextTask: Config(tasks=2, stops=(Rung.INTERRUPT,), stoppable=1),
    KeepsTheSeat: Config(tasks=2, stops=(Rung.KILL,), stoppable=1),
    EndsTwice: ONE,
    ForgetsWhatItTookBack: AHEAD,
    ReusesAnInterruptedWorker: Config(tasks=2, stops=(Rung.INTERRUPT,), stoppable=1),
    StopsWithoutTakingBack: ONE,
    ClimbsWithoutLooking: ONE,
    CountsATimeoutFromTheSending: Config(tasks=1, stops=(), timeout_s=2),
    IgnoresShields: Config(tasks=1, looks=True, shields=1),
    NeverSendsAnyoneHome: Config(tasks=1, stops=(), shutdown=(False,)),
    FinishesTooSoon: Config(tasks=1, stops=(), shutdown=(False,)),
    SaysNothingOfARequeue: CRASH,
    TakesClaimedForUnstarted: ONE,
    SeatsWithoutLimit: Config(tasks=2, spares=1, stops=()),
    LeavesTasksBehindALongOne: Config(tasks=3, size=2, ahead=2, stops=()),
    SpawnsNoSuccessor: CRASH,
    PausesTheNeighbourToo: Config(tasks=2, ahead=2, stops=(), pauses=1),
    StopsWithoutResuming: Config(tasks=1, pauses=1),
    LeavesAFreeWorkerStanding: Config(tasks=1, stops=(), pauses=1),
    CountsThePauseInTheTimeout: Config(tasks=1, stops=(), pauses=1, waits=1, timeout_s=2),
    TimesOutWhatIsPaused: Config(tasks=1, stops=(), pauses=1, waits=1, timeout_s=2),
    WatchesFromTheSending: Config(tasks=1, stops=(), watchdog_s=4),
    StopsForMemoryWhatHasNotStarted: Config(tasks=2, ahead=2, stops=(), heavy=1),
    TakesADeclinedTaskForBegun: Config(tasks=1, stops=(), declines=1),
    LosesWithoutAnEnding: Config(tasks=1, stops=(Rung.KILL,)),
}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_explorer_finds_a_machine_that(bug: type[Machine]) -> None:
    with pytest.raises(Broken) as found:
        explore(BUGS[bug], bug)
    print(found.value)


@pytest.mark.slow
@pytest.mark.parametrize("config", sorted(set(BUGS.values()), key=repr), ids=repr)
def test_the_machine_without_a_bug_passes_the_same(config: Config) -> None:
    assert explore(config).good


def test_the_explorer_says_the_shortest_way_to_a_bug() -> None:
    with pytest.raises(Broken, match=r"0 is said to wait again|runs twice|though it ran") as found:
        explore(Config(tasks=1, stops=(), crashes=1), RunsAgainWhatACrashInterrupted)
    assert [line.strip() for line in str(found.value).splitlines()[1:]] == ["boot 1", "take 1", "crash 1", "exited 1"]
