"""How deep the lines of the workers are, by how long tasks take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoppable.core.pace import Pace


def after(*took_s: float, size: int = 2) -> int:
    pace = Pace(size)
    for each in took_s:
        pace.observe(each)
    return pace.ahead


def test_nothing_is_sent_ahead_before_a_task_has_ended() -> None:
    """Behaviour 104."""
    assert Pace(2).ahead == 1


def test_short_tasks_deepen_the_lines() -> None:
    """Behaviour 104."""
    assert after(*[0.00001] * 60) > 30


def test_millisecond_tasks_have_the_next_one_at_hand() -> None:
    """Behaviour 104. Or each would cost a round trip on top of its millisecond."""
    assert after(*[0.001] * 60) in (2, 3, 4)


def test_nothing_is_sent_behind_long_tasks() -> None:
    """Behaviour 104."""
    assert after(*[0.1] * 10) == 1


def test_one_long_task_among_short_ones_makes_the_pool_careful_at_once() -> None:
    """Behaviour 104."""
    assert after(*[0.00001] * 60, 1.0) == 1
    assert after(*[0.00001] * 60, 1.0, *[0.00001] * 60) > 1


@given(st.lists(st.floats(0, 5000), max_size=60))
def test_the_depth_has_bounds(took_s: list[float]) -> None:
    """Behaviour 104. The page has room for 256 marks of recalled tasks."""
    assert 1 <= after(*took_s) <= 64


@pytest.mark.parametrize("took_s", [0.0, 1e-300])
def test_a_task_that_took_no_time_is_a_short_one(took_s: float) -> None:
    assert after(*[took_s] * 6000) == 64


def test_many_workers_share_what_may_be_sent_ahead() -> None:
    """Behaviour 104. Or an answer would wait until those of all others were read."""
    short = [0.00001] * 60
    assert [after(*short, size=size) for size in (16, 100, 500, 10_000)] == [64, 10, 4, 4]
