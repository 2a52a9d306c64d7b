"""Critical sections: stops wait for their end, facts do not, and nobody may hold out for ever."""

import logging
import time
from pathlib import Path

import pytest

import jobs
import stoppable
from jobs import BOUND_S, running
from stoppable import Rung, StopPolicy, TaskStopped
from watching import await_file, say, until


def test_a_check_in_a_shield_is_silent_and_the_first_after_it_raises(tmp_path: Path) -> None:
    """Behaviour 70. The fact is seen inside."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.shielded, begun, 60.0)
        await_file(begun)
        future.stop("now")
        assert future.result(BOUND_S) == [True, "silent", "left", "stop requested (stop: now)"]
        assert future.stop_requested


def test_no_interrupt_is_sent_into_nested_shields(tmp_path: Path) -> None:
    """Behaviour 72. The policy has no ask at all; and when they end, the ladder waits no longer."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running(policy=StopPolicy(ask=0, interrupt=60)) as pool:
        future = pool.submit(nap_after_shields, begun, release)
        await_file(begun)
        future.stop()
        until(lambda: future.report.rungs, "the token was set")
        assert [rung for rung, _ in future.report.rungs] == [Rung.ASK]
        say(release)
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.INTERRUPT
        assert (tmp_path / "release.heard").exists()


def nap_after_shields(begun: str, release: str) -> None:
    """Leave two shields, long before their limit, and then never look again."""
    with stoppable.shield(1000), stoppable.shield(1000):
        say(begun)
        await_file(release)
        say(release + ".heard")
    time.sleep(BOUND_S * 2)


def test_an_interrupt_in_nested_shields_arrives_at_the_outermost_exit(tmp_path: Path) -> None:
    """Behaviour 71. One that was under way when the shield rose is kept, and raised once the outermost ends."""
    with running() as pool:
        future = pool.submit(interrupt_myself_in_shields, str(tmp_path))
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.started
        assert (tmp_path / "inner").exists()
        assert (tmp_path / "between").exists()
        assert not (tmp_path / "outside").exists()


def interrupt_myself_in_shields(folder: str) -> None:
    """Send this process what the interrupt rung sends, in the inner of two shields."""
    import os
    import signal

    from stoppable.worker import intask
    from stoppable.worker import page as pages

    task = intask.current()
    assert task is not None
    stoppable.current_token().stop()
    with stoppable.shield():
        with stoppable.shield():
            task.page.u64[pages.INTERRUPT_TASK] = task.id
            os.kill(os.getpid(), signal.SIGINT)
            say(f"{folder}/inner")
        say(f"{folder}/between")
    say(f"{folder}/outside")


@pytest.mark.slow
def test_the_ladder_waits_for_a_shield_up_to_its_limit_and_then_goes_on_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Behaviour 72. The graces are shorter than the limit: no rung is climbed before it has passed."""
    begun = str(tmp_path / "begun")
    limit = 0.6
    with running(policy=StopPolicy(ask=0.05, interrupt=60)) as pool:
        future = pool.submit(jobs.shield_and_ignore, begun, limit)
        await_file(begun)
        future.stop()
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.INTERRUPT
        (_, asked_at), (_, interrupted_at) = future.report.rungs
        assert interrupted_at - asked_at > 0.2  # many times the grace of the ask
        texts = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(texts) == 1
        assert "interrupt" in texts[0]


def test_a_kill_ignores_a_shield(tmp_path: Path) -> None:
    """Behaviour 72."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.shield_and_ignore, begun, 1000.0)
        await_file(begun)
        future.kill()
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.KILL


@pytest.mark.slow
def test_an_inner_shield_cannot_outlast_the_outer_one(tmp_path: Path) -> None:
    """Behaviour 73. A thousand seconds inside half a second are half a second: check() raises after them."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.shield_in_shield, begun, 0.5, 1000.0)
        await_file(begun)
        future.stop()
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.ASK


def test_a_shorter_inner_shield_ends_before_the_outer_one(tmp_path: Path) -> None:
    """Behaviour 73. The least of the limits counts."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.shield_in_shield, begun, 1000.0, 0.1)
        await_file(begun)
        future.stop()
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.ASK


def test_shields_work_before_a_stop_and_in_finally_and_while_unwinding(tmp_path: Path) -> None:
    """Behaviour 74. One that ended before the stop has no effect."""
    begun, cleaned = str(tmp_path / "begun"), tmp_path / "cleaned"
    with running() as pool:
        future = pool.submit(jobs.shields_everywhere, begun, str(cleaned))
        await_file(begun)
        future.stop()
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.ASK
        assert cleaned.exists()


def test_a_shield_of_an_earlier_task_does_not_shield_the_next(tmp_path: Path) -> None:
    """Behaviour 74. Even if the earlier one never left it."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        assert pool.submit(leave_shield_open).result(BOUND_S) is None
        future = pool.submit(jobs.polite, begun)
        await_file(begun)
        future.stop()
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.ASK


_open: list[object] = []


def leave_shield_open() -> None:
    shield = stoppable.shield(1000)
    shield.__enter__()
    _open.append(shield)


@pytest.mark.slow
def test_a_shielded_cleanup_can_submit_to_an_inner_pool_after_the_stop(tmp_path: Path) -> None:
    """Behaviour 75."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.submit_in_shield, begun)
        await_file(begun)
        future.stop()
        assert future.result(BOUND_S) == 7


def test_a_cleanup_after_an_interrupt_can_be_shielded(tmp_path: Path) -> None:
    """Behaviour 70. check() is silent there too."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.shield_in_finally_of_interrupt, begun)
        await_file(begun)
        future.stop()
        assert future.result(BOUND_S) == "cleaned"


@pytest.mark.parametrize("limit", [-1.0, float("nan"), float("inf")])
def test_a_shield_without_a_finite_limit_is_refused(limit: float) -> None:
    """Also outside a task, so that it is found before it matters."""
    with pytest.raises(ValueError, match="limit"), stoppable.shield(limit):
        pass


def test_a_shield_outside_a_task_does_nothing() -> None:
    with stoppable.shield(), stoppable.shield(0):
        stoppable.check()
