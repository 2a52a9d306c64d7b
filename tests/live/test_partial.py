"""What is known of a task that did not finish: what it published, how far it was, and who is told."""

import logging
from pathlib import Path
from typing import Any

import pytest

import jobs
import stoppable
from jobs import BOUND_S, running
from stoppable import Event, Future, Rung, TaskStopped, TaskTimeout
from watching import await_file, is_alive, say, until


@pytest.mark.parametrize("rung", list(Rung))
def test_on_stopped_is_called_once_in_the_parent_after_the_end(rung: Rung, tmp_path: Path) -> None:
    """Behaviour 76. Whatever rung ended the task."""
    begun = str(tmp_path / "begun")
    told: list[tuple[bool, bool, bool]] = []
    with running(policy=jobs.QUICK) as pool:

        def note(future: Future[Any]) -> None:
            told.append((future.done(), future.stopped(), is_alive(worker)))

        future = pool.options(on_stopped=note).submit(jobs.polite if rung is Rung.ASK else jobs.nap, begun)
        worker = int(await_file(begun))
        future.stop(at=rung)
        future.stop(at="kill" if rung is Rung.KILL else "ask")
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is rung
        assert future.partial("nothing") == "nothing"
    assert len(told) == 1
    assert told[0][:2] == (True, True)
    if rung >= Rung.TERMINATE:
        assert told[0][2] is False


def test_on_stopped_is_called_for_a_task_that_never_started_and_for_one_out_of_time(tmp_path: Path) -> None:
    """Behaviour 76."""
    begun = str(tmp_path / "begun")
    told: list[Future[Any]] = []
    with running() as pool:
        expired = pool.options(on_stopped=told.append, timeout=0.05).submit(jobs.polite, begun)
        waiting = pool.options(on_stopped=told.append).submit(jobs.value, 1)
        waiting.cancel()
        assert told == [waiting]
        with pytest.raises(TaskTimeout):
            expired.result(BOUND_S)
    assert told == [waiting, expired]


def test_on_stopped_is_not_called_for_a_value_or_a_failure(tmp_path: Path) -> None:
    """Behaviour 76. Also not for a value that was returned after the stop."""
    begun = str(tmp_path / "begun")
    told: list[Future[Any]] = []
    with running() as pool:
        bound = pool.options(on_stopped=told.append)
        assert bound.submit(jobs.value, 1).result(BOUND_S) == 1
        assert isinstance(bound.submit(jobs.fail, "no").exception(BOUND_S), ValueError)
        future = bound.submit(jobs.give_five, begun)
        await_file(begun)
        future.stop()
        assert future.result(BOUND_S) == 5
    assert not told


def test_an_exception_of_on_stopped_is_logged_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Behaviour 76."""
    begun = str(tmp_path / "begun")

    def fail(_: object) -> None:
        raise RuntimeError("a bad hook")

    with running() as pool:
        future = pool.options(on_stopped=fail).submit(jobs.polite, begun)
        await_file(begun)
        future.stop()
        with pytest.raises(TaskStopped):
            future.result(BOUND_S)
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "on_stopped" in record.message
    assert record.exc_info is not None
    caplog.clear()  # the traceback holds the frames of the pool's thread, and they hold the worker's page


def test_what_was_published_last_survives_a_kill(tmp_path: Path) -> None:
    """Behaviour 77. Without any, there is the default."""
    with running() as pool:
        published = pool.submit(jobs.publish_then_nap, str(tmp_path / "one"), 1, 2)
        await_file(tmp_path / "one")
        published.kill()
        with pytest.raises(TaskStopped) as caught:
            published.result(BOUND_S)
        assert caught.value.partial == 2
        assert published.partial() == 2
        silent = pool.submit(jobs.publish_then_nap, str(tmp_path / "other"))
        await_file(tmp_path / "other")
        silent.kill()
        with pytest.raises(TaskStopped) as caught:
            silent.result(BOUND_S)
        assert caught.value.partial is None
        assert silent.partial(7) == 7


def test_a_large_partial_result_survives_a_kill(tmp_path: Path) -> None:
    """Behaviour 77. Bigger than what a socket holds."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.publish_then_nap, begun, bytes(5_000_000))
        await_file(begun)
        future.kill()
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.partial == bytes(5_000_000)


def test_a_partial_result_is_seen_while_the_task_runs_and_after_it_returned(tmp_path: Path) -> None:
    """Behaviour 77. It does not replace the result."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.publish_then_nap, begun, [1, 2])
        await_file(begun)
        until(lambda: future.partial() == [1, 2], "the partial result came")
        assert future.running()
        assert future.partial() is not future.partial()  # a copy for each
        future.kill()
        done = pool.submit(jobs.publish_and_return, 1, 2)
        assert done.result(BOUND_S) == "done"
        assert done.partial() == 2


def test_publishing_what_does_not_pickle_raises_in_the_task_and_keeps_what_was(tmp_path: Path) -> None:
    """Behaviour 78."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.publish_unpicklable, begun)
        await_file(begun)
        future.kill()
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.partial == "first"


def test_progress_is_seen_while_the_task_runs_and_after_it(tmp_path: Path) -> None:
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running() as pool:
        silent = pool.submit(jobs.value, 1)
        assert silent.result(BOUND_S) == 1
        assert silent.progress is None
        future = pool.submit(jobs.report_progress, begun, release)
        await_file(begun)
        assert future.progress == (3.0, None)
        say(release)
        future.result(BOUND_S)
        assert future.progress == (10.0, 10.0)
        next_one = pool.submit(jobs.polite, str(tmp_path / "next"))
        await_file(tmp_path / "next")
        assert next_one.progress is None  # not what the task before it said
        next_one.cancel()


def test_progress_without_a_total_has_none_after_the_end_too() -> None:
    with running() as pool:
        future = pool.submit(stoppable.progress, 3)
        future.result(BOUND_S)
        assert future.progress == (3.0, None)


def test_progress_is_known_after_a_kill(tmp_path: Path) -> None:
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running() as pool:
        future = pool.submit(jobs.report_progress, begun, release)
        await_file(begun)
        future.kill()
        with pytest.raises(TaskStopped):
            future.result(BOUND_S)
        assert future.progress == (3.0, None)


def test_an_event_in_a_partial_result_is_the_same_event(tmp_path: Path) -> None:
    """A task may hand out a flag by which it is told something."""
    with running() as pool:
        event = Event()
        future = pool.submit(jobs.publish_then_nap, str(tmp_path / "begun"), {"event": event})
        await_file(tmp_path / "begun")
        until(lambda: future.partial() is not None, "the partial result came")
        assert future.partial()["event"] == event
        future.kill()
