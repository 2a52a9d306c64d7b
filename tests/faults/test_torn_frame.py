"""A handler of the task's own that raises while a frame is being written: half of it is out, and stays half."""

import signal
import time
from types import FrameType
from typing import Any, NoReturn

import pytest

import stoppable
from stoppable import ProcessPoolExecutor, WorkerDied

BOUND_S = 60.0


def late(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError("by the task's own alarm")


def alarm(delay_s: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, delay_s)


def publish_until_torn(size: int) -> str:
    """Publish, and have the alarm come later each time: while the value is pickled at first, then while it is written."""
    value: Any = bytes(size)
    signal.signal(signal.SIGALRM, late)
    began = time.monotonic()
    stoppable.publish(value)
    took_s = time.monotonic() - began
    for number in range(400):
        try:
            alarm(took_s * (number % 20 + 1) / 20)
            stoppable.publish(value)
            alarm(0)
        except TimeoutError:
            continue
    return "never"


def one(number: int) -> int:
    return number


@pytest.mark.slow
def test_a_frame_that_was_left_half_written_ends_its_worker_and_is_not_waited_for() -> None:
    """It costs its own task, and the next one runs on another worker. Nothing else can end this one: its alarm is off."""
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(publish_until_torn, 20_000_000)
        with pytest.raises(WorkerDied):
            future.result(BOUND_S)
        assert pool.submit(one, 1).result(BOUND_S) == 1
