"""A future as a thing of its own: reasons and policies given to `stop`, callbacks, waiters, and one made by hand."""

import concurrent.futures
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

import jobs
from jobs import BOUND_S, PATIENT, running
from stoppable import Event, Future, Rung, StopKind, StopPolicy, StopReason, StopSource, TaskStopped
from watching import await_file


def test_a_reason_of_ones_own_reaches_the_task_and_the_error(tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")
    reason = StopReason(StopKind.GROUP, "a sibling failed", StopSource(1, "there", "her", "task 9"), 5.0)
    with running() as pool:
        future = pool.submit(jobs.shielded, begun, 30.0)
        await_file(begun)
        future.stop(reason)
        assert future.result(BOUND_S)[-1] == "stop requested (group: a sibling failed)"
        assert future.report.reason == reason


def test_stopping_and_waiting_in_a_callback_is_refused(tmp_path: Path) -> None:
    """It would wait for the thread it runs in."""
    begun = str(tmp_path / "begun")
    raised: list[BaseException] = []
    with running(2) as pool:
        other = pool.submit(jobs.polite, begun)
        await_file(begun)

        def wait_here(_: object) -> None:
            try:
                other.stop_and_wait(BOUND_S)
            except RuntimeError as error:
                raised.append(error)

        go = Event()
        trigger = pool.submit(go.wait, BOUND_S)
        trigger.add_done_callback(wait_here)
        go.set()
        trigger.result(BOUND_S)
        with pytest.raises(TaskStopped):
            other.result(BOUND_S)
    assert len(raised) == 1


def test_a_future_made_by_hand_is_the_standard_one() -> None:
    future: Future[int] = Future()
    assert (future.report.rungs, future.progress, future.stack(), future.partial(4)) == ((), None, None, 4)
    assert future.set_running_or_notify_cancel()
    assert future.cancel() is False
    assert future.stop() is False
    assert not future.stop_requested
    future.set_result(1)
    assert future.result() == 1

    waiting: Future[int] = Future()
    assert waiting.stop() is True
    assert waiting.cancelled()
    assert waiting.stopped()
    assert not waiting.set_running_or_notify_cancel()
    with pytest.raises(CancelledError) as caught:
        waiting.result()
    assert type(caught.value) is CancelledError
    with pytest.raises(ValueError, match="no such rung"):
        waiting.stop(at="shout")


def test_waiters_in_other_threads_are_woken_by_a_stop(tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.polite, begun)
        await_file(begun)
        ends: list[type[BaseException]] = []

        def wait() -> None:
            try:
                future.result(BOUND_S)
            except BaseException as error:
                ends.append(type(error))

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        future.stop()
        for thread in threads:
            thread.join(BOUND_S)
    assert ends == [TaskStopped] * 3


def test_a_policy_given_to_stop_replaces_the_tasks_own(tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")
    with running(policy=PATIENT) as pool:
        future = pool.submit(jobs.ignore_all, begun)
        await_file(begun)
        future.stop(policy=StopPolicy(ask=0, interrupt=0, terminate=0))
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.KILL


@pytest.mark.parametrize("who", ["who waits for it", "a thread that has ended"])
def test_a_future_whose_lock_a_ctrl_c_has_left_held_ends_all_the_same(who: str, tmp_path: Path) -> None:
    """Behaviour 95. In the standard `wait` and `as_completed`, which take the locks of all their futures one by one."""
    with running() as pool:
        futures = [pool.submit(jobs.wait_until_there, str(tmp_path / "go")) for _ in range(3)]
        left = futures[0], futures[2]
        if who == "who waits for it":
            for future in left:
                future._condition.acquire()
        else:
            thread = threading.Thread(target=lambda: [future._condition.acquire() for future in left])
            thread.start()
            thread.join()
        (tmp_path / "go").write_text("go")
        assert [future.result(BOUND_S) for future in futures] == ["go"] * 3
        assert concurrent.futures.wait(futures, 0).not_done == set()


def test_a_lock_that_the_standard_library_holds_just_now_is_waited_for(tmp_path: Path) -> None:
    held, free = threading.Event(), threading.Event()
    with running() as pool:
        future = pool.submit(jobs.wait_until_there, str(tmp_path / "go"))
        lock = future._condition
        code = compile("with lock: held.set(); free.wait()", concurrent.futures._base.__file__, "exec")
        holding = threading.Thread(target=exec, args=(code, {"lock": lock, "held": held, "free": free}))
        holding.start()
        held.wait(BOUND_S)
        (tmp_path / "go").write_text("go")
        time.sleep(1.0)  # what is tested is that it does not end
        assert not future.done()
        free.set()
        holding.join(BOUND_S)
        assert future.result(BOUND_S) == "go"
        assert future._condition is lock
