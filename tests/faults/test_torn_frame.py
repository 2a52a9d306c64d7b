"""A handler of the task's own that raises while a frame is being written: half of it is out, and stays half."""

import signal
from types import FrameType
from typing import Any, NoReturn

import pytest

import stoppable
from stoppable import ProcessPoolExecutor, WorkerDied

BOUND_S = 60.0


def late(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError("by the task's own alarm")


def publish_until_the_alarm(size: int) -> str:
    value: Any = bytes(size)
    signal.signal(signal.SIGALRM, late)
    try:
        for delay_s in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0) * 10:
            signal.setitimer(signal.ITIMER_REAL, delay_s)
            stoppable.publish(value)
    except TimeoutError:
        return "interrupted"
    return "never"


def one(number: int) -> int:
    return number


@pytest.mark.slow
def test_a_frame_that_was_left_half_written_ends_its_worker_and_is_not_waited_for() -> None:
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(publish_until_the_alarm, 50_000_000)
        # It may also come between two frames, or while a value is pickled, and then harms nothing.
        try:
            assert future.result(BOUND_S) == "interrupted"
        except WorkerDied:
            pass
        assert pool.submit(one, 1).result(BOUND_S) == 1
