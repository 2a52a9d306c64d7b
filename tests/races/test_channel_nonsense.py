"""The parent's end of a channel, spoken to by a worker that is not what it should be."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stoppable import wire
from stoppable.core import events as ev
from stoppable.shell.channel import Channel
from stoppable.shell.control import Op
from stoppable.shell.hands import Hands
from stoppable.shell.news import Gone
from stoppable.shell.task import Task
from stoppable.shell.watch import Watch
from stoppable.wire import Kind

WORKER = ev.WorkerId(1)


class FakeReactor:
    """Notes the events, and lets a test do something at the first."""

    def __init__(self) -> None:
        self.watch = Watch()
        self.machine = SimpleNamespace(ahead=1, size=2)
        self.fed: list[ev.Event] = []
        self.at_first: Any = None

    def feed(self, event: ev.Event) -> None:
        self.fed.append(event)
        if len(self.fed) == 1 and self.at_first is not None:
            self.at_first()


class FakeLauncher:
    control = None

    def __init__(self) -> None:
        self.ordered: list[tuple[Op, int]] = []

    def deliver(self, op: Op, worker: int) -> None:
        self.ordered.append((op, worker))


class Pool:
    """The hands of a pool with one worker, which is the test, and three tasks sent to it; a fourth is another's."""

    def __init__(self) -> None:
        self.reactor, self.launcher = FakeReactor(), FakeLauncher()
        self.hands = Hands(cast(Any, self.reactor), cast(Any, self.launcher))
        self.channel = self.hands.channels[WORKER] = Channel(WORKER)
        for number in (1, 2, 3, 4):
            task = self.hands.tasks[number] = Task(number, f"task {number}", (b"",), b"", cast(Any, None))
            task.worker = WORKER if number < 4 else 2
            if number < 4:
                self.channel.send_task(number, b"", (b"call",))

    def say(self, kind: Kind, task: int, body: bytes = b"x") -> None:
        self.channel.theirs.send(wire.head(kind, len(body), task=task) + body)

    def hear(self) -> list[ev.Event]:
        self.hands._hear(self.channel)
        return self.reactor.fed

    def close(self) -> None:
        if WORKER in self.hands.channels:
            self.channel.close()
        self.reactor.watch.close()


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.close()


def answered(task: int) -> ev.Answered:
    return ev.Answered(WORKER, ev.TaskId(task), stopped=False, fit=True)


def test_an_answer_that_came_whole_before_nonsense_counts(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    """The next task in that worker must not take along the result of the one before."""
    pool.say(Kind.VALUE, 1)
    pool.channel.theirs.send(b"\xff" * 100)
    with caplog.at_level(logging.ERROR):
        assert pool.hear() == [answered(1)]
    assert pool.launcher.ordered == [(Op.KILL, WORKER)]
    assert "speaks nonsense and is killed" in caplog.text


def test_answers_are_told_in_the_order_in_which_the_worker_gave_them(pool: Pool) -> None:
    """Also when telling the first leads to a look at the same worker, which has said more meanwhile."""

    def look_again() -> None:
        pool.say(Kind.VALUE, 3)
        pool.hands.deeds[ev.Probe](ev.Probe(WORKER, ev.TaskId(2)))

    pool.reactor.at_first = look_again
    pool.say(Kind.VALUE, 1)
    pool.say(Kind.VALUE, 2)
    told = [event.task for event in pool.hear() if isinstance(event, ev.Answered)]
    assert told == [1, 2, 3]


def test_an_answer_for_a_task_of_another_worker_resolves_nothing(pool: Pool) -> None:
    pool.say(Kind.VALUE, 4)
    pool.say(Kind.STOPPED, 99)
    pool.say(Kind.PARTIAL, 4)
    assert pool.hear() == []
    assert pool.hands.tasks[4].partial is None


def test_a_second_answer_for_the_same_task_is_no_news(pool: Pool) -> None:
    for _ in range(3):
        pool.say(Kind.VALUE, 1)
    assert pool.hear() == [answered(1)]


@pytest.mark.parametrize("kind", [Kind.SETUP, Kind.TASK, Kind.RETIRE, Kind.PROGRESS, Kind.UNSHIELDED, Kind.READY])
def test_a_worker_that_says_what_it_may_not_is_killed_and_nobody_else(kind: Kind, pool: Pool) -> None:
    pool.say(kind, 1)  # with a body of one byte, which none of those that it may say can have
    assert pool.hear() == []
    assert pool.launcher.ordered == [(Op.KILL, WORKER)]


def test_a_dead_worker_whose_channel_is_still_written_to_is_buried_all_the_same(pool: Pool) -> None:
    """A process that its task left behind may hold the socket, and write for ever."""
    frame = wire.head(Kind.VALUE, 60_000, task=99) + bytes(60_000)
    theirs, reads = pool.channel.theirs, 0
    read = pool.channel._reader.read

    def and_write_more(*given: Any) -> bool:
        nonlocal reads
        reads += 1
        assert reads < 10_000, "it reads for ever"
        theirs.send(frame)
        return read(*given)

    theirs.send(frame)
    pool.channel._reader = cast(Any, type("Reader", (), {"read": staticmethod(and_write_more), "dry": False}))
    pool.hands._bury(Gone(WORKER, 0))
    assert WORKER not in pool.hands.channels
    assert pool.reactor.fed[-1] == ev.Exited(WORKER, None, killed=False)
