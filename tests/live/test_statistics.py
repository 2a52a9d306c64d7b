"""What a pool counts."""

from pathlib import Path

import pytest

import jobs
from jobs import BOUND_S, running
from stoppable import Future, ProcessPoolExecutor, Statistics
from watching import await_file, until


def wait(*futures: Future[object]) -> None:
    for future in futures:
        try:
            future.result(BOUND_S)
        except BaseException:
            assert future.done()


def test_each_task_is_counted_once_by_what_became_of_it(tmp_path: Path) -> None:
    begun = [str(tmp_path / str(number)) for number in range(5)]
    with running(1, initializer=jobs.value, initargs=(1,)) as pool:
        assert pool.statistics() == Statistics()
        wait(
            *[pool.submit(jobs.value, n) for n in range(10)],
            pool.submit(jobs.fail, "no"),
            pool.submit(jobs.end_worker, 1),
        )
        asked = pool.submit(jobs.polite, begun[0])
        never = pool.submit(jobs.value, 1)
        await_file(begun[0])
        now = pool.statistics()
        assert (now.submitted, now.pending, now.running) == (14, 1, 1)
        never.cancel()
        asked.cancel()
        wait(never, asked)
        killed = pool.submit(jobs.polite, begun[1])
        await_file(begun[1])
        killed.kill()
        late = pool.options(timeout=0.3).submit(jobs.polite, begun[2])
        kept = pool.submit(jobs.give_five, begun[3])
        await_file(begun[3])
        kept.stop()
        wait(killed, late, kept)
        until(lambda: pool.statistics().stopped.get("kill") == 1)
    ended = pool.statistics()
    assert ended.submitted == 17
    assert (ended.pending, ended.running, ended.workers) == (0, 0, 0)
    assert (ended.returned, ended.failed, ended.died, ended.timed_out) == (11, 1, 1, 1)
    assert ended.stopped == {"ask": 2, "kill": 1, "never started": 1}
    assert ended.climbed == {"ask": 4, "kill": 1}
    assert ended.workers_started >= 3
    assert ended.workers_retired >= 1


def test_statistics_do_not_change() -> None:
    with ProcessPoolExecutor(1) as pool:
        numbers = pool.statistics()
    with pytest.raises(AttributeError, match="does not change"):
        numbers.failed = 1  # type: ignore[misc]
