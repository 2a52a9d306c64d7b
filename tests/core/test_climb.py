"""One stop on one ladder, with no pool around it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoppable.core.ladder import CLIMBS, Climb, StopPolicy
from stoppable.reason import StopKind
from stoppable.rung import Rung

ASK, INTERRUPT, TERMINATE, KILL = Rung


def run(climb: Climb, *, looked: bool = True, shield_until: float = 0.0) -> list[tuple[float, Rung]]:
    """Climb to the end, looking exactly when due; return when each rung was climbed."""
    climbed = []
    while climb.due < math.inf:
        now = climb.due
        rung = climb.climb(now, looked, shield_until)
        if rung is not None:
            climbed.append((now, rung))
    return climbed


def test_a_stop_climbs_each_rung_after_the_grace_of_the_one_before() -> None:
    """Behaviour 58."""
    assert run(Climb(StopPolicy(5, 2, 2), ASK, 0.0)) == [(0, ASK), (5, INTERRUPT), (7, TERMINATE), (9, KILL)]


def test_a_task_that_never_looked_is_interrupted_at_once() -> None:
    """Behaviour 55."""
    assert run(Climb(StopPolicy(5, 2, 2), ASK, 0.0), looked=False) == [(0, INTERRUPT), (2, TERMINATE), (4, KILL)]


def test_a_task_that_never_looked_and_may_not_be_interrupted_is_terminated_at_once() -> None:
    """Behaviour 61."""
    policy = StopPolicy(5, 2, 2, interruptible=False)
    assert run(Climb(policy, ASK, 0.0), looked=False) == [(0, TERMINATE), (2, KILL)]
    assert run(Climb(policy, ASK, 0.0)) == [(0, ASK), (5, TERMINATE), (7, KILL)]


def test_a_stop_at_kill_climbs_nothing_milder() -> None:
    """Behaviour 60."""
    assert run(Climb(StopPolicy(), KILL, 3.0)) == [(3, KILL)]


def test_no_grace_skips_a_rung_and_endless_grace_stays_on_it() -> None:
    """Behaviour 60."""
    assert run(Climb(StopPolicy(0, 1, 0), ASK, 0.0)) == [(0, INTERRUPT), (1, KILL)]
    assert run(Climb(StopPolicy(1, math.inf, 0), ASK, 0.0)) == [(0, ASK), (1, INTERRUPT)]
    assert run(Climb(StopPolicy(math.inf), ASK, 0.0), looked=False) == [(0, ASK)]


@pytest.mark.parametrize(("at", "policy"), [(KILL, StopPolicy()), (ASK, StopPolicy(0, 0, 0))])
def test_a_kill_does_not_wait_for_a_shield_that_holds_back_a_milder_rung(at: Rung, policy: StopPolicy) -> None:
    """Behaviour 72."""
    climb = Climb(StopPolicy(1, 1, 1), ASK, 0.0)
    assert climb.climb(0.0, True, 0.0) is ASK
    assert climb.climb(1.0, True, 1000.0) is None
    climb.hasten(at, policy, 2.0)
    assert climb.due <= 2.0
    assert climb.climb(2.0, True, 1000.0) is KILL


def test_a_policy_within_a_limit_is_itself_or_shorter_in_the_same_shares() -> None:
    assert StopPolicy(5, 2, 2).within(9) == StopPolicy(5, 2, 2)
    assert StopPolicy(math.inf, 2, 2).within(math.inf) == StopPolicy(math.inf, 2, 2)
    assert StopPolicy(6, 2, 1).within(4.5) == StopPolicy(3, 1, 0.5)
    assert StopPolicy(6, 2, 3, interruptible=False).within(4.5) == StopPolicy(3, 1, 1.5, interruptible=False)
    assert StopPolicy(math.inf, 4, 0).within(4) == StopPolicy(2, 2, 0)
    assert StopPolicy(5, 2, 2).within(0) == StopPolicy(0, 0, 0)
    with pytest.raises(ValueError, match="limit_s"):
        StopPolicy().within(math.nan)


GRACES = st.one_of(st.floats(0, 1e6), st.just(math.inf))


@given(GRACES, GRACES, GRACES, st.booleans(), st.floats(0, 1e3), st.booleans())
def test_a_ladder_within_a_limit_reaches_kill_by_then(
    ask: float, interrupt: float, terminate: float, interruptible: bool, limit_s: float, looked: bool
) -> None:
    policy = StopPolicy(ask, interrupt, terminate, interruptible).within(limit_s)
    when, rung = run(Climb(policy, ASK, 0.0), looked=looked)[-1]
    assert rung is KILL
    assert when <= limit_s * (1 + 1e-9) + 1e-300  # the least numbers have not so many digits


def test_a_harsher_stop_climbs_at_once_and_a_gentler_one_changes_nothing() -> None:
    """Behaviour 50."""
    climb = Climb(StopPolicy(5, 2, 2), ASK, 0.0, StopKind.DEADLINE)
    assert climb.climb(0.0, True, 0.0) is ASK
    climb.hasten(ASK, StopPolicy(50, 50, 50), 1.0)
    assert climb.due == 5.0
    climb.hasten(KILL, StopPolicy(), 2.0)
    assert climb.due == 2.0
    assert climb.climb(2.0, True, 99.0) is KILL
    assert climb.due == math.inf
    assert climb.kind is StopKind.DEADLINE


def test_a_later_stop_ends_the_stay_on_a_rung() -> None:
    climb = Climb(StopPolicy(math.inf), ASK, 0.0)
    assert climb.climb(0.0, True, 0.0) is ASK
    climb.hasten(ASK, StopPolicy(5, 2, 2), 10.0)
    assert run(climb) == [(15, INTERRUPT), (17, TERMINATE), (19, KILL)]


def test_a_rung_climbed_late_gives_the_next_its_whole_grace() -> None:
    """A machine that slept an hour must not wake to kill what it had only asked."""
    climb = Climb(StopPolicy(5, 2, 2), ASK, 0.0)
    assert climb.climb(0.0, True, 0.0) is ASK
    assert climb.climb(3600.0, True, 0.0) is INTERRUPT
    assert climb.due == 3602.0


def test_a_shield_holds_back_each_rung_once_and_kill_never() -> None:
    """Behaviour 72."""
    assert run(Climb(StopPolicy(5, 2, 2), ASK, 0.0), shield_until=30.0) == [
        (0, ASK),
        (30, INTERRUPT),
        (32, TERMINATE),
        (34, KILL),
    ]
    climb = Climb(StopPolicy(5, 2, 2), INTERRUPT, 0.0)
    assert climb.climb(0.0, True, 30.0) is None
    assert climb.climb(30.0, True, 60.0) is INTERRUPT, "a second shield must not add to the first"
    assert Climb(StopPolicy(), KILL, 0.0).climb(0.0, True, 30.0) is KILL


def test_a_rung_that_was_held_back_is_climbed_as_soon_as_the_shield_has_ended() -> None:
    """Behaviour 71."""
    climb = Climb(StopPolicy(5, 2, 2), INTERRUPT, 0.0)
    assert climb.climb(0.0, True, 30.0) is None
    assert climb.due == 30.0
    assert climb.climb(1.0, True, 40.0) is None, "another shield, and the first one's limit is not over"
    assert climb.due == 30.0
    assert climb.climb(2.0, True, 0.0) is INTERRUPT
    assert climb.due == 4.0


def test_a_task_that_never_looked_is_held_back_by_a_shield_and_then_interrupted() -> None:
    climb = Climb(StopPolicy(5, 2, 2), ASK, 0.0)
    assert climb.climb(0.0, False, 4.0) is None
    assert climb.due == 4.0
    assert climb.climb(4.0, True, 0.0) is INTERRUPT
    assert climb.due == 6.0


def test_nothing_is_climbed_before_its_time() -> None:
    climb = Climb(StopPolicy(5, 2, 2), ASK, 0.0)
    assert climb.climb(0.0, True, 0.0) is ASK
    assert climb.climb(4.9, True, 0.0) is None
    assert climb.rung is ASK


@pytest.mark.parametrize("wrong", [{"ask": -1}, {"interrupt": math.nan}, {"terminate": "2"}, {"ask": True}])
def test_a_policy_that_is_no_time_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"StopPolicy.{next(iter(wrong))}"):
        StopPolicy(**wrong)  # type: ignore[arg-type]


graces = st.builds(StopPolicy, *[st.sampled_from([0.0, 1.0, 3.0, math.inf])] * 3, interruptible=st.booleans())
stops = st.tuples(st.sampled_from(Rung), graces)


@given(first=stops, second=stops, wait=st.floats(0, 12), looked=st.booleans())
def test_a_second_stop_makes_nothing_later_and_nothing_milder(
    first: tuple[Rung, StopPolicy], second: tuple[Rung, StopPolicy], wait: float, looked: bool
) -> None:
    """Behaviour 50."""
    alone, both = (Climb(first[1], first[0], 0.0) for _ in range(2))
    for climb in (alone, both):
        while climb.due <= wait:
            climb.climb(climb.due, looked, 0.0)
    reached = both.rung
    both.hasten(second[0], second[1], wait)
    assert both.due <= alone.due or both.next() is not alone.next()
    ladder = run(both, looked=looked)
    rungs = [rung for _, rung in ladder]
    assert rungs == sorted(set(rungs))
    assert not rungs or rungs[0] in CLIMBS[reached]
    for when, rung in run(alone, looked=looked):
        # by then, the two together are at least as far
        assert any(at <= when and other >= rung for at, other in ladder)
