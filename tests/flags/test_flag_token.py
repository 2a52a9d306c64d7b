"""What a StopToken promises to one process: behaviours 1, 2, 5-19, 21, 23, 27 and 28."""

import copy
import gc
import math
import os
import pickle
import threading
import time
from collections.abc import Callable

import pytest

from stoppable.errors import StopRequested
from stoppable.flags import StopToken
from stoppable.reason import StopKind, StopReason, new_reason


def soon(what: Callable[[], object], after_s: float = 0.05) -> threading.Timer:
    timer = threading.Timer(after_s, what)
    timer.start()
    return timer


def why(token: StopToken) -> StopReason:
    reason = token.reason
    assert reason is not None
    return reason


def test_a_new_token_is_not_set() -> None:
    """Behaviour 1."""
    token = StopToken()
    assert token.is_set() is False
    assert token.reason is None
    assert token.wait(0) is False
    token.check()
    token.sleep(0)
    assert token.deadline is None
    assert token.remaining() is None


def test_only_the_first_stop_says_true() -> None:
    """Behaviour 2."""
    token = StopToken()
    assert token.stop() is True
    assert token.stop() is False
    assert pickle.loads(pickle.dumps(token)).stop() is False


def test_a_waiter_is_woken_by_a_stop() -> None:
    """Behaviour 5."""
    token = StopToken()
    timer = soon(token.stop)
    assert token.wait(60) is True
    timer.join()


def test_a_waiter_on_a_grandchild_is_woken_by_a_stop_of_the_root() -> None:
    """Behaviours 5, 15."""
    root = StopToken()
    low = root.child().child(timeout=100)
    timer = soon(lambda: root.stop("root"))
    assert low.wait(60) is True
    assert why(low).message == "root"
    timer.join()


@pytest.mark.slow
def test_a_wait_that_runs_out_says_false_and_is_not_early() -> None:
    """Behaviour 6."""
    for token in (StopToken(), StopToken(timeout=100), StopToken().child()):
        start = time.monotonic()
        assert token.wait(0.1) is False
        assert time.monotonic() - start >= 0.1


def test_a_wait_on_a_set_token_returns_at_once() -> None:
    """Behaviour 7."""
    token = StopToken()
    token.stop()
    assert token.wait() is True
    assert token.wait(0) is True
    assert token.wait(-1) is True


def test_a_deadline_ends_a_wait() -> None:
    token = StopToken(timeout=0.05)
    assert token.wait(60) is True
    assert why(token).kind is StopKind.DEADLINE


def test_a_sleep_is_ended_by_a_stop() -> None:
    """Behaviour 8."""
    token = StopToken()
    timer = soon(token.stop, 0.1)
    with pytest.raises(StopRequested):
        token.sleep(60)
    with pytest.raises(StopRequested):
        token.sleep(0)
    timer.join()
    assert StopToken().sleep(0.01) is None


@pytest.mark.parametrize("seconds", [-1, math.nan])
def test_a_sleep_of_less_than_nothing_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError):
        StopToken().sleep(seconds)


def test_check_raises_every_time() -> None:
    """Behaviour 9."""
    token = StopToken()
    token.stop("enough")
    for _ in range(3):
        with pytest.raises(StopRequested, match="enough"):
            token.check()


def test_the_first_reason_stays() -> None:
    """Behaviour 10."""
    token = StopToken()
    token.stop("x")
    token.stop("y")
    assert why(token).message == "x"
    assert why(pickle.loads(pickle.dumps(token))).message == "x"


def test_a_deadline_after_a_stop_changes_nothing() -> None:
    """Behaviour 11."""
    token = StopToken(timeout=0.5)
    token.stop("first")
    time.sleep(0.6)
    assert (why(token).kind, why(token).message) == (StopKind.STOP, "first")


def test_a_passed_deadline_has_one_reason_in_all_tokens_that_have_it_whoever_looks_first() -> None:
    """Behaviour 15. The child has decided in another process, before anybody asked its parent."""
    token = StopToken(timeout=0)
    child = token.child()
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(into, pickle.dumps(child.reason))
        os._exit(0)
    os.close(into)
    with open(out, "rb") as pipe:
        decided = pickle.load(pipe)
    os.waitpid(pid, 0)
    assert why(token) == decided == why(child)
    assert decided.source.pid == 0


def test_a_stop_after_the_deadline_is_too_late_though_nobody_looked() -> None:
    """Behaviour 11."""
    token = StopToken(timeout=0.01)
    child = token.child()
    time.sleep(0.02)
    assert child.stop("late") is False
    assert token.stop("late") is False
    assert why(token).kind is StopKind.DEADLINE
    assert why(child).kind is StopKind.DEADLINE
    assert why(token).at == token.deadline


@pytest.mark.parametrize("late", [{"timeout": 0}, {"deadline": 0.0}, {"deadline": -math.inf}])
def test_a_token_without_time_is_set_at_birth(late: dict[str, float]) -> None:
    """Behaviour 12."""
    token = StopToken(**late)
    assert token.is_set()
    assert why(token).kind is StopKind.DEADLINE
    assert token.remaining() == 0.0
    with pytest.raises(StopRequested):
        token.check()


@pytest.mark.parametrize("timeout", [-1, -0.001, -math.inf, math.nan])
def test_a_timeout_below_zero_is_refused(timeout: float) -> None:
    """Behaviour 13."""
    for make in (StopToken, StopToken().child):
        with pytest.raises(ValueError):
            make(timeout=timeout)
    with pytest.raises(ValueError):
        StopToken(deadline=math.nan)


@pytest.mark.parametrize("never", [None, math.inf])
def test_no_timeout_is_no_deadline(never: float | None) -> None:
    """Behaviour 13."""
    for token in (StopToken(timeout=never), StopToken(deadline=never), StopToken().child(timeout=never)):
        assert token.deadline is None
        assert not token.is_set()


def test_a_nan_is_no_time_to_wait() -> None:
    with pytest.raises(ValueError):
        StopToken().wait(math.nan)


def test_a_childs_deadline_is_never_later_than_its_parents() -> None:
    """Behaviour 14."""
    parent = StopToken(timeout=50)
    assert parent.child(timeout=100).deadline == parent.deadline
    assert parent.child().child().deadline == parent.deadline
    early = parent.child(timeout=10)
    assert early.deadline is not None
    assert parent.deadline is not None
    assert early.deadline < parent.deadline
    left = early.remaining()
    assert left is not None
    assert 0 < left <= 10


def test_the_earlier_of_timeout_and_deadline_counts() -> None:
    assert StopToken(timeout=1000, deadline=5.0).deadline == 5.0


def test_stop_flows_down_and_never_up() -> None:
    """Behaviour 15."""
    root = StopToken()
    child, sibling = root.child(), root.child()
    low = child.child()
    child.stop("child")
    assert low.is_set()
    assert not root.is_set()
    assert not sibling.is_set()
    root.stop("root")
    assert sibling.is_set()
    assert sibling.reason == root.reason
    assert low.reason == child.reason != root.reason


def test_a_child_of_a_stopped_parent_is_born_set() -> None:
    """Behaviour 16."""
    parent = StopToken()
    parent.stop("before")
    child = parent.child(timeout=100)
    assert child.is_set()
    assert child.stop("again") is False
    assert child.reason == parent.reason


def test_a_child_keeps_its_own_earlier_reason() -> None:
    """Behaviour 17."""
    parent = StopToken()
    child = parent.child()
    child.stop("own")
    parent.stop("parent")
    assert why(child).message == "own"


def test_the_earliest_cause_wins_whoever_looks_late() -> None:
    parent, now = StopToken(), time.monotonic()
    child = parent.child(deadline=now + 0.01)
    other = parent.child(deadline=now - 0.01)
    parent.stop(new_reason(StopKind.STOP, "between", at=now))
    time.sleep(0.03)
    assert why(child).message == "between"
    assert why(other).kind is StopKind.DEADLINE


def test_a_tie_goes_to_the_explicit_stop() -> None:
    parent = StopToken()
    at = time.monotonic()
    parent.stop(new_reason(StopKind.GROUP, "tie", at=at))
    assert why(parent.child(deadline=at)).message == "tie"


@pytest.mark.slow
def test_a_child_made_during_the_stop_of_its_parent_is_set_with_its_reason() -> None:
    """Behaviour 18."""
    for number in range(30):
        parent = StopToken()
        children: list[StopToken] = []
        go = threading.Barrier(2)

        def stop(parent: StopToken = parent, go: threading.Barrier = go, number: int = number) -> None:
            go.wait()
            parent.stop(str(number))

        thread = threading.Thread(target=stop)
        thread.start()
        go.wait()
        while not parent.is_set():
            children.append(parent.child())
        children.append(parent.child())
        thread.join()
        assert all(child.is_set() and child.reason == parent.reason for child in children)


def test_a_grandchild_follows_the_root_when_the_middle_is_gone() -> None:
    """Behaviour 19."""
    root = StopToken()
    low = root.child().child()
    gc.collect()
    spare = [StopToken() for _ in range(20)]  # would use the middle's record, if it had been given back
    spare[3].stop()
    assert not low.is_set()
    root.stop("root")
    assert why(low).message == "root"
    assert not spare[0].is_set()


def test_any_of_follows_each_and_stops_none() -> None:
    """Behaviour 21."""
    a, b = StopToken(), StopToken(timeout=100)
    both = StopToken.any_of(a, b, name="both")
    assert both.deadline == b.deadline
    b.stop("b")
    assert both.is_set()
    assert why(both).message == "b"
    c, d = StopToken(), StopToken()
    either = StopToken.any_of(c, d)
    either.stop("either")
    assert not c.is_set()
    assert not d.is_set()
    assert StopToken.any_of(a, b).is_set()
    with pytest.raises(ValueError):
        StopToken.any_of()


@pytest.mark.slow
def test_any_of_many_tokens_is_woken_by_the_last() -> None:
    for number in (2, 100, 127, 128, 200):
        many = [StopToken() for _ in range(number)]
        any_of = StopToken.any_of(*many)
        assert any_of.wait(0.01) is False
        timer = soon(many[-1].stop)
        assert any_of.wait(60) is True
        timer.join()


def test_copies_are_equal_and_a_child_is_not() -> None:
    """Behaviour 23."""
    token = StopToken(name="x")
    child = token.child()
    data = pickle.dumps(child)
    one, two = pickle.loads(data), pickle.loads(data)
    assert one == two == child
    assert hash(one) == hash(two) == hash(child)
    assert child != token
    assert one != token
    assert copy.copy(child) == child == copy.deepcopy([child])[0]
    assert pickle.loads(pickle.dumps(token)).name == "x"
    assert token != 1


def test_a_token_stands_in_for_an_event() -> None:
    """Behaviour 27."""
    token = StopToken()
    token.clear()
    assert token.set() is None
    assert token.is_set()
    assert token.wait(1)
    with pytest.raises(RuntimeError):
        token.clear()
    assert token.is_set()


def test_a_token_has_no_truth() -> None:
    """Behaviour 27."""
    with pytest.raises(TypeError, match="is_set"):
        bool(StopToken())


def test_looking_at_a_root_token_is_a_method_in_c() -> None:
    """Behaviour 28. The measurement is in bench/flag_cost.py."""
    assert type(StopToken().is_set) is type((1).__bool__)


def test_a_whole_reason_can_be_given() -> None:
    token = StopToken()
    reason = new_reason(StopKind.WATCHDOG, "no beat", task="crunch(3)")
    token.stop(reason)
    assert token.reason == reason
    with pytest.raises(TypeError):
        StopToken().stop(5)


def test_a_long_message_is_cut_and_the_same_for_all() -> None:
    token = StopToken()
    token.stop("ä" * 5000)
    message = why(token).message
    assert message is not None
    assert message.startswith("ä" * 100)
    assert message.endswith("…")
    assert pickle.loads(pickle.dumps(token)).reason == token.reason


def test_a_repr_tells_the_state() -> None:
    token = StopToken(name="job")
    assert "'job'" in repr(token)
    assert "unset" in repr(token)
    token.stop("done")
    assert "stop: done" in repr(token)


def test_a_kept_is_set_never_shows_another_tokens_state() -> None:
    kept = StopToken().is_set
    gc.collect()
    others = [StopToken() for _ in range(300)]
    for other in others:
        other.stop()
    assert not kept()
