"""Streaming tasks: what was yielded is kept, the worker is never far ahead, and who loses interest stops it."""

import gc
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jobs
import streams
from jobs import BOUND_S, PATIENT, QUICK, running
from stoppable import Rung, StopKind, StopToken, Stream, TaskStopped, TaskTimeout, WorkerDied
from stoppable.shell.channel import Channel
from stoppable.shell.feed import Feed
from streams import noted
from watching import await_file, is_alive, until


def rest(stream: "Stream[Any]") -> tuple[list[Any], BaseException]:
    """Return what is still handed out, and what ends it."""
    items: list[Any] = []
    try:
        for item in stream:
            items.append(item)  # noqa: PERF402  # what came before the error is to be kept
    except BaseException as error:
        return items, error
    raise AssertionError("it ended well")


def stands_still(path: Path, at: int) -> None:
    """See that the generator has yielded so many, and that it waits there."""
    until(lambda: noted(path) == at, f"{at} were yielded")
    gc.collect()  # some time, in which it could go on
    assert noted(path) == at


# --- order, bounds, values ----------------------------------------------------------------------------


@pytest.mark.parametrize("buffersize", [1, 2, 3, 16, 1000])
def test_items_come_in_order_and_then_what_the_generator_returned(buffersize: int) -> None:
    """Behaviour 113."""
    with running() as pool:
        stream = pool.options(buffersize=buffersize).stream(streams.count, 300)
        assert [next(stream) for _ in range(300)] == list(range(300))
        with pytest.raises(StopIteration) as end:
            next(stream)
        assert end.value.value == stream.future.result(BOUND_S) == "300 counted"
        with pytest.raises(StopIteration):
            next(stream)


@pytest.mark.parametrize("buffersize", [1, 2, 5, 16])
def test_the_generator_is_never_further_ahead_than_the_buffer(buffersize: int, tmp_path: Path) -> None:
    """Behaviour 114."""
    path = tmp_path / "noted"
    with running() as pool, pool.options(buffersize=buffersize).stream(streams.note_and_count, str(path)) as stream:
        stands_still(path, buffersize)
        # The worker sleeps, and is woken when half of the buffer is free: it must not be left asleep.
        for taken in range(3 * buffersize):
            assert next(stream) == taken
            assert noted(path) <= taken + 1 + buffersize
        until(lambda: noted(path) > 3 * buffersize, "it went on")
        assert noted(path) <= 4 * buffersize


def test_big_arrays_come_whole_and_can_be_written() -> None:
    with running() as pool:
        for number, array in enumerate(pool.options(buffersize=2).stream(streams.arrays, 6, 1 << 20)):
            assert array.nbytes == 1 << 20
            assert (array == number).all()
            array += 1
            assert isinstance(array, np.ndarray)


def test_any_iterator_will_do_and_so_will_a_lambda() -> None:
    with running() as pool:
        assert list(pool.stream(streams.mapped, 3)) == ["0", "1", "2"]
        assert list(pool.stream(lambda n: (i * i for i in range(n)), 4)) == [0, 1, 4, 9]
        assert list(pool.stream(iter, ())) == []


@pytest.mark.parametrize("function", [streams.in_list, streams.asynchronous, jobs.pid])
def test_a_function_that_gives_no_iterator_is_named_in_a_type_error(function: Any) -> None:
    """Behaviour 121."""
    with running() as pool:
        stream = pool.stream(function)
        with pytest.raises(TypeError, match=f"{function.__name__} returned an object of type"):
            next(stream)
        assert isinstance(stream.future.exception(BOUND_S), TypeError)


def test_a_stream_names_the_users_function_and_shows_its_arguments(tmp_path: Path) -> None:
    with running() as pool:
        stream = pool.stream(streams.count_then, "raise", 1)
        items, error = rest(stream)
        assert items == [0]
        text = str(error.__cause__)
        assert "in count_then" in text
        assert "worker/" not in text
        stopped = pool.stream(streams.count_then, "polite", 1)
        next(stopped)
        stopped.future.stop()
        assert "count_then('polite', 1)" in str(rest(stopped)[1])


def test_streams_go_through_options_groups_and_tokens(tmp_path: Path) -> None:
    token = StopToken()
    with running(2) as pool:
        with pool.task_group() as group:
            assert list(group.stream(streams.count, 5)) == [0, 1, 2, 3, 4]
            for item in group.stream(streams.note_and_count, str(tmp_path / "noted")):
                if item == 20:
                    break
        with pool.task_group() as group:
            left = group.stream(streams.note_and_count, str(tmp_path / "noted"))
            assert next(left) == 0
        assert left.future.stopped()
        ended: list[Any] = []
        stream = pool.options(token=token, name="search", on_stopped=ended.append).stream(streams.count, 1 << 60)
        next(stream)
        token.stop("enough")
        error = rest(stream)[1]
        assert isinstance(error, TaskStopped)
        assert "search" in str(error)
        until(lambda: ended == [stream.future], "on_stopped was called")


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "many"])
def test_a_buffersize_that_is_no_number_of_items_is_refused(wrong: Any) -> None:
    with running() as pool, pytest.raises((ValueError, TypeError), match="buffersize"):
        pool.options(buffersize=wrong)


def test_a_call_that_does_not_pickle_fails_the_stream_and_not_the_call() -> None:
    with running() as pool:
        stream = pool.stream(streams.mapped, threading.Lock())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="lock"):
            next(stream)


# --- what was yielded is kept ---------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["polite", "nap", "spin"])
def test_a_stop_keeps_what_was_yielded_and_then_raises(end: str, tmp_path: Path) -> None:
    """Behaviour 115."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        stream = pool.stream(streams.count_then, end, 10, begun)
        await_file(begun)
        assert next(stream) == 0
        stream.future.stop("enough", at="ask" if end == "polite" else "interrupt")
        items, error = rest(stream)
        assert items == list(range(1, 10))
        assert isinstance(error, TaskStopped)
        assert error.rung is (Rung.ASK if end == "polite" else Rung.INTERRUPT)
        assert rest(stream)[0] == []  # it raises again, and hands out nothing twice
        assert isinstance(rest(stream)[1], TaskStopped)


def test_a_kill_keeps_what_was_yielded(tmp_path: Path) -> None:
    """Behaviour 115."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        stream = pool.stream(streams.count_then, "nap", 15, begun)
        await_file(begun)
        stream.future.kill()
        items, error = rest(stream)
        assert items == list(range(15))
        assert isinstance(error, TaskStopped)
        assert error.rung is Rung.KILL


def test_a_worker_that_dies_and_a_generator_that_raises_lose_no_item() -> None:
    """Behaviour 115."""
    with running() as pool:
        items, died = rest(pool.stream(streams.count_then, "die", 12))
        assert items == list(range(12))
        assert isinstance(died, WorkerDied)
        items, raised = rest(pool.stream(streams.count_then, "raise", 12))
        assert items == list(range(12))
        assert isinstance(raised, ValueError)
        assert "count_then" in str(raised.__cause__)


@pytest.mark.slow
def test_a_timeout_keeps_what_was_yielded(tmp_path: Path) -> None:
    """Behaviour 115. Time in which the worker waits for its consumer counts: it ends that wait, too."""
    with running() as pool:
        items, error = rest(pool.options(timeout=1.0).stream(streams.count_then, "polite", 5))
        assert items == list(range(5))
        assert isinstance(error, TaskTimeout)
        full = pool.options(timeout=1.0, buffersize=4).stream(streams.count, 1 << 60)
        until(full.future.done, "a full buffer does not keep it from ending")
        items, error = rest(full)
        assert items == list(range(4))
        assert isinstance(error, TaskTimeout)


def test_an_item_that_does_not_pickle_raises_at_its_yield_and_costs_no_other(tmp_path: Path) -> None:
    """Behaviour 120."""
    cleaned = [str(tmp_path / name) for name in ("one", "two")]
    with running() as pool:
        items, error = rest(pool.stream(streams.yield_a_lock, cleaned[0], False))
        assert items == [1]
        assert isinstance(error, TypeError)
        assert "lock" in str(error)
        await_file(cleaned[0])
        assert list(pool.stream(streams.yield_a_lock, cleaned[1], True)) == [1, 2]


def test_an_item_that_does_not_unpickle_raises_where_it_is_taken_and_the_stream_goes_on() -> None:
    with running() as pool:
        stream = pool.stream(streams.yield_unreadable)
        assert next(stream) == 1
        with pytest.raises(ValueError, match="unreadable") as caught:
            next(stream)
        assert "while an item of the stream was unpickled" in caught.value.__notes__[0]
        assert list(stream) == [3]


def test_a_stop_iteration_of_the_function_does_not_pass_for_the_end() -> None:
    with running() as pool, pytest.raises(RuntimeError, match="raised StopIteration"):
        list(pool.stream(streams.stop_iteration))


# --- a yield is a check ---------------------------------------------------------------------------------


@pytest.mark.parametrize("buffersize", [4, 1000])
def test_a_stop_is_raised_at_the_yield_so_the_generator_cleans_up(buffersize: int, tmp_path: Path) -> None:
    """Behaviours 116, 117. With a full buffer, too: the stop wakes the worker that waits for room."""
    cleaned, path = tmp_path / "cleaned", tmp_path / "noted"
    with running() as pool:
        stream = pool.options(buffersize=buffersize).stream(streams.tell_cleanup, str(cleaned))
        next(stream)
        stream.future.stop()
        assert await_file(cleaned) == "StopRequested True"
        assert isinstance(rest(stream)[1], TaskStopped)
        # The worker was asked, so it is used again.
        full = pool.options(buffersize=4).stream(streams.note_and_count, str(path))
        stands_still(path, 4)
        full.future.stop()
        until(full.future.done, "it was woken")
        items, error = rest(full)
        assert items == [0, 1, 2, 3]
        assert isinstance(error, TaskStopped)
        assert error.rung is Rung.ASK


def test_a_yield_that_waits_though_it_was_stopped_is_interrupted(tmp_path: Path) -> None:
    """Behaviour 117. It was told of the stop, so only an interrupt, or room, ends its wait."""
    heard, interrupted = tmp_path / "heard", tmp_path / "interrupted"
    with running() as pool:
        stream = pool.options(buffersize=2).stream(streams.yield_though_stopped, str(heard), str(interrupted))
        until(lambda: stream._feed._come == 2, "the buffer is full")
        stream.future.stop()
        await_file(heard)
        assert not interrupted.exists()
        stream.future.stop(at="interrupt")
        await_file(interrupted)
        until(stream.future.done, "it has ended")
        items, error = rest(stream)
        assert items == [0, 1]
        assert isinstance(error, TaskStopped)
        assert error.rung is Rung.INTERRUPT


def test_no_yield_in_a_shield_raises(tmp_path: Path) -> None:
    """Behaviour 116."""
    path = tmp_path / "left"
    with running() as pool:
        stream = pool.options(buffersize=1).stream(streams.yield_in_shield, str(path))
        assert next(stream) == "begun"
        stream.future.stop()
        items, error = rest(stream)
        assert items[0] == "in the shield"
        assert isinstance(error, TaskStopped)
        await_file(path)
        assert not Path(f"{path}.never").exists()


@pytest.mark.slow
def test_a_time_limit_in_the_generator_holds_while_it_waits_for_room() -> None:
    with running() as pool:
        stream = pool.options(buffersize=2).stream(streams.yield_in_limit)
        until(lambda: stream._feed._come == 2, "the buffer is full")
        threading.Event().wait(0.3)
        assert list(stream)[-1] == "over"


def test_what_a_stopped_generator_still_yields_is_delivered_and_it_may_end_well() -> None:
    """Behaviour 116."""
    with running() as pool:
        stream = pool.options(buffersize=4).stream(streams.yield_last_words, 9)
        assert next(stream) == 0
        stream.future.stop()
        items = list(stream)
        assert items[-9:] == [f"last {n}" for n in range(9)]
        assert stream.future.result(BOUND_S) == "ended well"


@pytest.mark.slow
def test_a_watchdog_does_not_bark_while_the_worker_waits_for_room(tmp_path: Path) -> None:
    path = tmp_path / "noted"
    with running() as pool:
        assert pool.submit(streams.noted, str(path)).result(BOUND_S) == 0  # imports take time
        with pool.options(watchdog=0.2, buffersize=2).stream(streams.note_and_count, str(path)) as stream:
            stands_still(path, 2)
            threading.Event().wait(0.6)
            assert not stream.future.stop_requested


# --- who loses interest ---------------------------------------------------------------------------------


def test_closing_a_stream_stops_its_task_and_ends_the_iteration(tmp_path: Path) -> None:
    """Behaviour 118."""
    cleaned = tmp_path / "cleaned"
    with running() as pool:
        stream = pool.stream(streams.tell_cleanup, str(cleaned))
        assert next(stream) == 0
        stream.close()
        stream.close()
        assert list(stream) == []
        assert await_file(cleaned) == "StopRequested True"
        error = stream.future
        with pytest.raises(TaskStopped) as stopped:
            error.result(BOUND_S)
        assert stopped.value.reason is not None
        assert stopped.value.reason.kind is StopKind.STOP
        assert "closed" in str(stopped.value.reason.message)


def test_leaving_the_block_waits_for_the_tasks_end(tmp_path: Path) -> None:
    """Behaviour 118."""
    cleaned = tmp_path / "cleaned"
    with running() as pool:
        for wrong in (None, KeyError):
            cleaned.unlink(missing_ok=True)
            try:
                with pool.stream(streams.tell_cleanup, str(cleaned)) as found:
                    assert next(found) == 0
                    if wrong is not None:
                        raise wrong
            except KeyError:
                assert wrong is KeyError
            assert found.future.done()
            assert found.future.stopped()
            assert cleaned.exists()
        with pool.stream(streams.count, 3) as whole:
            assert list(whole) == [0, 1, 2]
        assert whole.future.result() == "3 counted"


@pytest.mark.slow
def test_a_dropped_stream_stops_its_task_also_one_that_has_not_started(tmp_path: Path) -> None:
    """Behaviour 118."""
    cleaned, path = tmp_path / "cleaned", tmp_path / "noted"
    with running() as pool:
        stream = pool.stream(streams.tell_cleanup, str(cleaned))
        future = stream.future
        next(stream)
        waiting = pool.stream(streams.note_and_count, str(path)).future  # dropped at once
        until(waiting.done, "the one that waits")
        assert waiting.stopped()
        assert not future.done()
        del stream
        assert await_file(cleaned) == "StopRequested True"
        until(future.done, "the task has ended")
        for item in pool.stream(streams.note_and_count, str(path)):
            if item == 3:
                break
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1  # there is one worker, so that has ended


@pytest.mark.slow
def test_a_closed_stream_does_not_keep_a_generator_that_goes_on_from_ending() -> None:
    """Behaviour 118. What it yields then goes nowhere, and waits for nobody."""
    with running() as pool:
        stream = pool.options(buffersize=2).stream(streams.yield_last_words, 500)
        assert next(stream) == 0
        stream.close()
        assert stream.future.result(BOUND_S) == "ended well"


@pytest.mark.slow
def test_leaving_the_pool_ends_the_streams_that_its_leaver_took_from(tmp_path: Path) -> None:
    """Behaviour 119. Another thread's stream goes on: that thread can still take its items."""
    path = tmp_path / "noted"
    got: list[int] = []
    begun = threading.Event()

    def consume(stream: "Stream[int]") -> None:
        for item in stream:
            begun.set()
            threading.Event().wait(0.001)
            got.append(item)

    with running(2) as pool:
        theirs = threading.Thread(target=consume, args=(pool.options(buffersize=2).stream(streams.count, 200),))
        theirs.start()
        assert begun.wait(BOUND_S)
        mine = pool.stream(streams.note_and_count, str(path))
        assert next(mine) == 0
    theirs.join(BOUND_S)
    assert got == list(range(200))
    items, error = rest(mine)
    assert items == list(range(1, len(items) + 1))
    assert isinstance(error, TaskStopped)


# --- many ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_hundred_streams_in_a_row_leave_nothing(tmp_path: Path) -> None:
    """Behaviour 122."""
    with running(2, policy=QUICK) as pool:
        for number in range(200):
            stream = pool.options(buffersize=1 + number % 5).stream(streams.count, 40)
            match number % 4:
                case 0:
                    assert list(stream) == list(range(40))
                case 1:
                    assert next(stream) == 0  # and dropped
                case 2:
                    with stream:
                        assert next(stream) == 0
                case 3:
                    assert [next(stream), next(stream)] == [0, 1]
                    stream.future.stop()
                    drain(stream)
        del stream


def drain(stream: "Stream[Any]") -> None:
    """Take what is left, whether the stop came in time or not."""
    try:
        list(stream)
    except TaskStopped:
        pass


@pytest.mark.slow
def test_streams_one_after_the_other_in_one_worker_do_not_take_each_others_room(tmp_path: Path) -> None:
    """An old stream's items are taken while a new one runs in its worker: that says nothing of the new one's."""
    path = tmp_path / "noted"
    with running() as pool:
        old = [pool.options(buffersize=50).stream(streams.count, 40) for _ in range(5)]
        new = pool.options(buffersize=4).stream(streams.note_and_count, str(path))
        assert [next(new), next(new)] == [0, 1]
        stands_still(path, 6)
        for stream in old:
            assert list(stream) == list(range(40))
        stands_still(path, 6)
        assert [next(new) for _ in range(100)] == list(range(2, 102))
        new.close()


def test_who_takes_items_of_a_task_before_says_nothing_of_the_one_that_runs() -> None:
    """Its end may not have been told yet, when the worker already runs the next stream."""
    channel = Channel(1)
    try:
        old, new = Feed(4), Feed(4)
        for _ in range(2):
            channel.feed(old, 7, b"old")
        channel.feed(new, 8, b"new")
        assert channel.page.untaken(8, 1) == 1  # what is told of another task counts as nothing
        assert new.take() == b"new"
        assert channel.page.untaken(8, 1) == 0
        assert old.take() == b"old"
        assert channel.page.untaken(8, 1) == 0
        assert channel.page.untaken(7, 2) == 2
        old.close()
        assert channel.page.untaken(8, 3) == 2
        new.close()
        assert channel.page.untaken(8, 3) == 0  # nobody counts any more
    finally:
        channel.close()


@pytest.mark.slow
def test_threads_that_share_a_stream_get_each_item_once() -> None:
    """Behaviour 123."""
    got: list[int] = []
    with running() as pool:
        stream = pool.options(buffersize=3).stream(streams.count, 2000)
        threads = [threading.Thread(target=lambda: got.extend(stream)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND_S)
    assert sorted(got) == list(range(2000))


def test_a_thread_that_waits_for_an_item_sees_the_close_of_another() -> None:
    with running() as pool:
        stream = pool.stream(streams.count_then, "polite", 0)
        ended = threading.Event()

        def drain() -> None:
            assert list(stream) == []
            ended.set()

        thread = threading.Thread(target=drain)
        thread.start()
        until(lambda: stream._feed.taker == thread.ident, "it waits")
        stream.close()
        assert ended.wait(BOUND_S)
        thread.join()


@pytest.mark.slow
def test_a_stream_of_a_stream_stops_both(tmp_path: Path) -> None:
    path = tmp_path / "noted"
    with running() as pool:
        with pool.options(buffersize=2).stream(streams.of_inner_pool, str(path)) as outer:
            assert [next(outer) for _ in range(50)] == list(range(50))
            worker = pool.workers()[0]
        assert outer.future.stopped()
        size = noted(path)
        gc.collect()
        assert noted(path) == size
    assert not is_alive(worker)


# --- who means harm --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [40, 100_000])
def test_a_worker_that_yields_past_the_bound_is_killed_and_takes_no_memory(
    number: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Behaviour 114."""
    with running(policy=PATIENT) as pool, caplog.at_level(logging.ERROR):
        stream = pool.stream(streams.flood, number, str(tmp_path / "begun"))
        assert next(stream) == 0
        until(stream.future.done, "it was killed")
        items, error = rest(stream)
        assert isinstance(error, WorkerDied)
        assert len(items) <= 16
        assert "yields what nobody has room for" in caplog.text
        assert list(pool.stream(streams.count, 3)) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("task", [streams.send_unasked, streams.lie_about_credit])
def test_items_that_nobody_has_asked_for_are_the_end_of_their_worker(task: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "begun")
    with running() as pool:
        if task is streams.send_unasked:
            with pytest.raises(WorkerDied):
                pool.submit(task, path).result(BOUND_S)
        else:
            stream = pool.options(buffersize=3).stream(task, path)
            until(stream.future.done, "it was killed")
            assert rest(stream)[0] == [0, 1, 2]
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


def test_a_fork_of_a_streaming_task_cannot_yield(tmp_path: Path) -> None:
    """Behaviour 111."""
    path = tmp_path / "child"
    with running() as pool:
        assert list(pool.stream(streams.fork_and_yield, str(path))) == ["parent"]
        assert "cannot yield" in await_file(path)
