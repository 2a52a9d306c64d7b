"""A task that turns against its own pool harms itself: never the parent, never another worker's task.

No pickle is read from anybody but the pool's own processes: each channel is a socket pair with no
name, made for one worker, and so is the warden's. What a task can reach is the channel of its own
worker, which this writes nonsense into, and its page.
"""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import chores
import hostile
import relayed
from stoppable import Future, ProcessPoolExecutor, TaskStopped, TaskTimeout, WorkerDied
from stoppable.shell.control import Control, Message, Op
from watching import await_file, say

BOUND_S = 30.0


class Scene:
    """A pool of two: one worker is hostile, in the other an honest task is under way all the time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun = folder / "hostile"
        self.pool = ProcessPoolExecutor(2, policy=chores.SHORT)
        self.honest = self.pool.submit(chores.wait_for, str(folder / "go"), str(folder / "begun"))
        await_file(folder / "begun")

    def attack(self, task: Any, *args: object, **options: Any) -> "Future[Any]":
        future = self.pool.options(**options).submit(task, *args, str(self.begun))
        await_file(self.begun)
        return future

    def check(self) -> None:
        """The honest task ends as it should, and so do new ones in both workers."""
        say(self.folder / "go", "went")
        assert self.honest.result(BOUND_S) == "went"
        assert self.honest.partial() is None
        assert [f.result(BOUND_S) for f in [self.pool.submit(chores.double, n) for n in range(20)]] == [
            n + n for n in range(20)
        ]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.pool.kill_workers()
    made.pool.shutdown()


def end_of(future: "Future[Any]") -> BaseException | None:
    try:
        return future.exception(BOUND_S)
    except TaskStopped as stopped:
        return stopped


NONSENSE = ["noise", "zeros", "a kind of the parent's", "more than a terabyte", "short progress", "too long a record"]
RECORDS = ["a record that is no pickle", "a record that ends an interpreter", "a record for a task"]
FALSE = ["a value that is no pickle", "an error that is none", "a stop that is none", "an answer twice"]


@pytest.mark.slow
@pytest.mark.parametrize("saying", NONSENSE)
def test_a_worker_that_speaks_nonsense_is_killed_with_a_log_line(
    saying: str, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        future = scene.attack(hostile.speak, saying, hostile.LONG_S)
        assert isinstance(end_of(future), WorkerDied)
    assert "speaks nonsense and is killed" in caplog.text
    scene.check()


@pytest.mark.slow
@pytest.mark.parametrize("saying", FALSE)
def test_a_false_answer_harms_only_the_task_that_it_is_for(saying: str, scene: Scene) -> None:
    """Its future ends, with a value or an error; the true answer, which comes later, changes nothing."""
    future = scene.attack(hostile.speak, saying, 0.1)
    end = end_of(future)
    assert (end is None) == (saying == "an answer twice")
    scene.check()
    assert end_of(future) is end


@pytest.mark.slow
@pytest.mark.parametrize("saying", RECORDS)
def test_a_false_record_harms_neither_its_task_nor_the_records_of_others(
    saying: str, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    assert end_of(scene.attack(hostile.speak, saying, 0.1)) is None
    scene.pool.submit(relayed.log_lines, 3).result(BOUND_S)
    scene.check()
    scene.pool.shutdown()
    assert [text for text in caplog.messages if text.startswith("line")] == ["line 0", "line 1", "line 2"]


@pytest.mark.slow
def test_a_promise_of_a_terabyte_takes_no_memory_and_can_be_stopped(scene: Scene) -> None:
    """The system may have no addresses for so much: then it is nonsense at once, and the worker is killed."""
    future = scene.attack(hostile.speak, "a terabyte", hostile.LONG_S)
    future.kill()
    assert isinstance(end_of(future), TaskStopped | WorkerDied)
    scene.check()


@pytest.mark.slow
def test_answers_for_the_tasks_of_others_resolve_none_of_them(scene: Scene) -> None:
    future = scene.attack(hostile.speak_for_others)
    assert not scene.honest.done()
    future.kill()
    assert isinstance(end_of(future), TaskStopped)
    scene.check()


@pytest.mark.slow
@pytest.mark.parametrize("task", [hostile.tear, hostile.close_all, hostile.leave_a_flooder])
def test_a_worker_that_ends_its_channel_costs_its_own_task(task: Any, scene: Scene) -> None:
    assert isinstance(end_of(scene.attack(task)), WorkerDied)
    scene.check()


@pytest.mark.slow
def test_a_flood_does_not_keep_others_from_their_results(scene: Scene) -> None:
    future = scene.attack(hostile.flood)
    say(scene.folder / "go", "went")
    assert scene.honest.result(BOUND_S) == "went"
    for number in range(30):
        assert scene.pool.submit(chores.double, number).result(BOUND_S) == 2 * number
    assert not future.done()
    future.stop()
    # Died, if the interrupt came in the middle of a frame that the task writes by itself.
    assert isinstance(end_of(future), TaskStopped | WorkerDied)
    scene.check()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["ones", "noise", "future", "frozen", "claims"])
def test_nonsense_in_the_page_keeps_nobody_from_stopping_that_task(what: str, scene: Scene) -> None:
    future = scene.attack(hostile.scribble, what, timeout=1000.0)
    assert future.stack() is None or "scribble" in str(future.stack())
    assert future.progress is None or isinstance(future.progress, tuple)
    future.stop()
    future.kill()
    assert isinstance(end_of(future), TaskStopped)
    scene.check()


@pytest.mark.slow
def test_a_task_whose_page_says_that_it_never_started_still_times_out(scene: Scene) -> None:
    future = scene.attack(hostile.scribble, "ones", timeout=0.3)
    assert isinstance(end_of(future), TaskTimeout)
    scene.check()


@pytest.mark.slow
def test_a_token_that_cannot_be_unpickled_does_not_end_the_pool(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    future = scene.attack(hostile.bind_a_trap)
    future.stop()
    assert isinstance(end_of(future), TaskStopped)
    assert "cannot be reached" in caplog.text
    scene.check()


@pytest.mark.slow
def test_the_pages_file_can_be_neither_cut_nor_lengthened(scene: Scene) -> None:
    """A file that shrinks under its map kills whoever looks at it: that would be the parent."""
    assert set(scene.pool.submit(hostile.truncate_page).result(BOUND_S)) == {"PermissionError"}
    scene.check()


@pytest.mark.slow
@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_a_worker_holds_its_own_channel_and_no_other_socket(context: str | None) -> None:
    """So nobody can speak to the warden but the parent, and nobody for another worker."""
    import multiprocessing

    method = None if context is None else multiprocessing.get_context(context)
    with ProcessPoolExecutor(2, method) as pool:
        for future in [pool.submit(hostile.sockets) for _ in range(4)]:
            assert future.result(BOUND_S) == [socket.SOCK_STREAM]


@pytest.fixture
def controls() -> Iterator[tuple[Control, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control = Control(ours)
    yield control, theirs
    control.close()
    theirs.close()


def test_a_control_message_of_the_wrong_size_is_the_end_or_is_cut(controls: tuple[Control, socket.socket]) -> None:
    """Only the parent and its warden hold this socket, so a short message is a peer that is broken."""
    control, peer = controls
    for size in range(1, 16):
        peer.send(b"\1" * size)
        assert control.receive() is None
    peer.send(b"\3" + bytes(15) + b"more of it")
    assert control.receive() == (Message(Op.KILL - 1, 0, 0), [])
    with pytest.raises(BlockingIOError):
        control.receive()


def test_a_control_message_of_no_known_kind_changes_nothing(controls: tuple[Control, socket.socket]) -> None:
    control, peer = controls
    for op in set(range(256)) - {int(op) for op in Op}:
        peer.send(bytes([op]) + bytes(15))
        got = control.receive()
        assert got is not None
        assert got[0].op == op
