"""What a stop does to a task that does not end by itself: each rung, when it is climbed, and what it leaves."""

import concurrent.futures
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import chores
import jobs
import stoppable.shell.reactor
from jobs import BOUND_S, PATIENT, QUICK, running
from stoppable import Future, Rung, StopPolicy, TaskStopped
from stoppable.core.events import Ask
from stoppable.reason import StopKind, new_reason
from stoppable.shell import channel
from stoppable.shell.deliver import Delivery
from watching import await_file, is_alive, say, until


def rungs(future: Future[Any]) -> list[Rung]:
    return [rung for rung, _ in future.report.rungs]


def past_ask(future: Future[Any]) -> list[Rung]:
    return [rung for rung in rungs(future) if rung > Rung.ASK]


def stopped(future: Future[Any]) -> TaskStopped:
    """Return the error of a task that is to be stopped soon."""
    with pytest.raises(TaskStopped) as caught:
        future.result(BOUND_S)
    return caught.value


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


def test_a_task_that_never_looked_is_interrupted_at_once_and_its_finally_runs(tmp_path: Path) -> None:
    """Behaviour 55. Its ask would be a minute long."""
    begun, cleaned = str(tmp_path / "begun"), tmp_path / "cleaned"
    with running() as pool:
        future = pool.submit(jobs.spin, begun, str(cleaned))
        await_file(begun)
        future.cancel()
        assert stopped(future).rung is Rung.INTERRUPT
        assert cleaned.exists()
        assert past_ask(future) == [Rung.INTERRUPT]


@pytest.mark.slow
def test_a_task_that_looked_and_then_looks_no_more_gets_the_grace_of_the_ask(tmp_path: Path) -> None:
    """Behaviour 55. The interrupt comes after it, and not before."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.look_then_nap, begun)
        await_file(begun)
        future.stop(policy=StopPolicy(ask=0.3, interrupt=60))
        assert stopped(future).rung is Rung.INTERRUPT
        (ask, asked_at), (interrupt, interrupted_at) = future.report.rungs
        assert (ask, interrupt) == (Rung.ASK, Rung.INTERRUPT)
        assert interrupted_at - asked_at >= 0.3


def test_tasks_that_look_are_asked_though_the_pools_thread_is_held_up_by_a_callback(tmp_path: Path) -> None:
    """Behaviour 150."""
    go, release = str(tmp_path / "go"), str(tmp_path / "release")
    begun = [str(tmp_path / f"begun{n}") for n in range(2)]
    stopping = [str(tmp_path / f"stopping{n}") for n in range(2)]
    held, let_go = threading.Event(), threading.Event()
    with running(3) as pool:
        futures = [pool.submit(jobs.linger, *names, release) for names in zip(begun, stopping, strict=True)]
        for name in begun:
            await_file(name)
        other = pool.submit(jobs.wait_until_there, go)
        other.add_done_callback(lambda _: (held.set(), let_go.wait(BOUND_S)))
        say(go)
        assert held.wait(BOUND_S)
        try:
            for future in futures:
                future.stop("held up")
            for name in stopping:
                await_file(name)
            say(release)
        finally:
            let_go.set()
        for future in futures:
            error = stopped(future)
            assert (error.rung, error.reason and error.reason.message) == (Rung.ASK, "held up")
            assert rungs(future) == [Rung.ASK]
            assert future.report.rungs[0][1] >= (error.reason.at if error.reason else 0)


def test_a_token_that_a_task_has_given_away_is_set_though_the_task_answers_before_the_machine_asks(
    tmp_path: Path,
) -> None:
    """Behaviour 150. The worker sets it then."""
    begun, go = str(tmp_path / "begun"), str(tmp_path / "go")
    held, let_go = threading.Event(), threading.Event()
    with running(2) as pool:
        future = pool.submit(jobs.give_token, begun)
        await_file(begun)
        until(lambda: future.partial() is not None, "its token came")
        token = future.partial()
        other = pool.submit(jobs.wait_until_there, go)
        other.add_done_callback(lambda _: (held.set(), let_go.wait(BOUND_S)))
        say(go)
        assert held.wait(BOUND_S)
        try:
            future.stop("held up")
            assert token.wait(BOUND_S)
        finally:
            let_go.set()
        assert stopped(future).reason == token.reason
        assert token.reason.message == "held up"


def test_the_stop_of_a_task_that_looks_is_decided_with_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 150. The pool's thread waits a moment for it, here as long as it takes: then nobody need be asked again."""
    asked: list[int] = []
    ask = Delivery.ask

    def noting(self: Delivery, action: Ask) -> None:
        asked.append(action.task)
        ask(self, action)

    monkeypatch.setattr(Delivery, "ask", noting)
    monkeypatch.setattr(stoppable.shell.reactor, "_NEAR_S", BOUND_S)
    with running() as pool:
        looks = pool.submit(jobs.polite, str(tmp_path / "looks"))
        await_file(tmp_path / "looks")
        looks.stop()
        assert (stopped(looks).rung, rungs(looks), asked) == (Rung.ASK, [Rung.ASK], [])
        # Who looks at a token, or at nothing, is told of it by the machine.
        for task in (jobs.heed_token, jobs.nap):
            begun = tmp_path / task.__name__
            future: Future[Any] = pool.submit(task, str(begun))
            await_file(begun)
            future.stop()
            concurrent.futures.wait([future], BOUND_S / 2)
            assert future.done()
        assert len(asked) == 2


def test_a_task_is_left_to_the_machine_while_another_waits_for_a_worker(tmp_path: Path) -> None:
    """Behaviour 150. That one may be about to be stopped, too, and would start as soon as this one has ended."""
    begun, stopping, release = (str(tmp_path / name) for name in ("begun", "stopping", "release"))
    with running() as pool:
        runs = pool.submit(jobs.linger, begun, stopping, release)
        await_file(begun)
        waits = pool.submit(jobs.value, 1)
        reactor: Any = pool._reactor
        until(lambda: reactor.machine.queue, "it waits")
        runs.cancel()
        assert runs._task is not None
        assert runs._task.asked_at is None
        say(release)
        assert stopped(runs).rung is Rung.ASK
        assert waits.result(BOUND_S) == 1


@pytest.mark.parametrize(
    "end_both",
    [
        lambda pool, runs, waits: (runs.cancel(), waits.cancel()),
        lambda pool, runs, waits: (waits.cancel(), runs.cancel()),
        lambda pool, runs, waits: (pool.shutdown(wait=False, cancel_futures=True), runs.cancel()),
        lambda pool, runs, waits: (pool.stop(), runs.cancel()),
        lambda pool, runs, waits: (waits._withdraw(new_reason(StopKind.STOP, "a group drains")), runs.cancel()),
    ],
    ids=["in order", "last first", "shutdown", "stop", "withdraw"],
)
def test_a_task_that_waits_behind_another_never_starts_if_both_are_stopped(
    end_both: Callable[[Any, Any, Any], object], tmp_path: Path
) -> None:
    """Behaviours 38, 150. Even if the worker has it at hand: so the running one is not asked before it is taken back."""
    go, begun, stopping, release = (str(tmp_path / name) for name in ("go", "begun", "stopping", "release"))
    held, let_go = threading.Event(), threading.Event()
    with running() as pool:
        list(pool.map(jobs.value, range(100)))  # so short that more are sent ahead from now on
        first = pool.submit(jobs.wait_until_there, go)
        first.add_done_callback(lambda _: (held.set(), let_go.wait(BOUND_S)))
        runs = pool.submit(jobs.linger, begun, stopping, release)
        waits = pool.submit(jobs.add_line, str(tmp_path / "started"))
        until(lambda: waits._sent, "the worker has both")
        say(go)
        await_file(begun)
        say(release)
        assert held.wait(BOUND_S)
        try:
            end_both(pool, runs, waits)
            assert runs._task is not None
            assert runs._task.asked_at is None
        finally:
            let_go.set()
        assert stopped(runs).rung is Rung.ASK
        assert not stopped(waits).started
        assert waits.cancelled()
    assert not (tmp_path / "started").exists()


def test_a_task_in_a_sleep_of_the_standard_library_is_ended_by_the_interrupt(tmp_path: Path) -> None:
    """Behaviour 56."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.nap, begun)
        await_file(begun)
        future.cancel()
        assert stopped(future).rung is Rung.INTERRUPT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "last"),
    [
        (StopPolicy(ask=60, interrupt=0.2, terminate=60), Rung.TERMINATE),
        (StopPolicy(ask=60, interrupt=0.2, terminate=0), Rung.KILL),
    ],
)
def test_a_c_call_that_holds_the_gil_is_ended_and_the_pool_works_on(
    policy: StopPolicy, last: Rung, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 57. Its stack is known although it could not say it itself."""
    monkeypatch.setattr(channel, "_STACK_WAIT_S", 10.0)
    begun = str(tmp_path / "begun")
    with running(policy=policy) as pool:
        future = pool.submit(chores.hold_gil, begun)
        worker = int(await_file(begun))
        future.cancel()
        error = stopped(future)
        assert error.rung is last
        assert error.stack is not None
        assert "hold_gil" in error.stack
        assert error.stack in str(error)
        assert not is_alive(worker)
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


def test_a_worker_that_stands_still_keeps_nobody_waiting_for_its_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool's thread would wait for longer than this test may take."""
    monkeypatch.setattr(channel, "_STACK_WAIT_S", 2 * BOUND_S)
    begun = str(tmp_path / "begun")
    with running(2, policy=QUICK) as pool:
        future = pool.options(timeout=1.0).submit(jobs.nap, begun)
        os.kill(int(await_file(begun)), signal.SIGSTOP)
        with pytest.raises(TaskStopped):
            future.result(BOUND_S)
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


def test_taking_the_stack_of_a_terminated_task_does_not_cost_its_cleanup(tmp_path: Path) -> None:
    """Behaviour 57. faulthandler can end a process that runs Python code, so it is not what is asked here."""
    begun, cleaned = str(tmp_path / "begun"), tmp_path / "cleaned"
    with running() as pool:
        future = pool.submit(jobs.spin_and_clean, begun, str(cleaned))
        await_file(begun)
        future.stop(at="terminate")
        error = stopped(future)
        assert error.rung is Rung.TERMINATE
        assert cleaned.exists()
        assert error.stack is not None
        assert "spin_and_clean" in error.stack


def test_a_regular_expression_that_backtracks_for_ever_is_interrupted(tmp_path: Path) -> None:
    """Behaviour 57. It holds the GIL, but looks for signals by itself."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.match_for_ever, begun)
        await_file(begun)
        future.cancel()
        assert stopped(future).rung is Rung.INTERRUPT


@pytest.mark.slow
def test_a_task_that_ignores_interrupt_and_sigterm_is_killed(tmp_path: Path) -> None:
    """Behaviour 58. Each rung before was tried, in order."""
    begun = str(tmp_path / "begun")
    with running(policy=QUICK) as pool:
        future = pool.submit(jobs.ignore_all, begun)
        worker = int(await_file(begun))
        future.cancel()
        error = stopped(future)
        assert error.rung is Rung.KILL
        assert error.confirmed
        assert past_ask(future) == [Rung.INTERRUPT, Rung.TERMINATE, Rung.KILL]
        assert [at for _, at in future.report.rungs] == sorted(at for _, at in future.report.rungs)
        assert not is_alive(worker)


def test_a_process_that_is_gone_early_is_not_waited_for(tmp_path: Path) -> None:
    """Behaviour 59. Each grace is a minute; the task ends in the middle of its first."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.nap, begun)
        await_file(begun)
        future.stop(at="terminate")
        assert stopped(future).rung is Rung.TERMINATE
        assert past_ask(future) == [Rung.TERMINATE]


def test_a_kill_sends_nothing_gentle_before(tmp_path: Path) -> None:
    """Behaviour 60."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.tell_signals, begun, str(tmp_path))
        await_file(begun)
        future.stop(at="kill")
        assert stopped(future).rung is Rung.KILL
        assert past_ask(future) == [Rung.KILL]
    assert {path.name for path in tmp_path.iterdir()} == {"begun"}


def test_an_ask_of_no_seconds_goes_to_the_interrupt_at_once(tmp_path: Path) -> None:
    """Behaviour 60. Also for a task that looks."""
    begun = str(tmp_path / "begun")
    with running(policy=StopPolicy(ask=0, interrupt=60)) as pool:
        future = pool.submit(jobs.look_then_nap, begun)
        await_file(begun)
        future.cancel()
        assert stopped(future).rung is Rung.INTERRUPT


@pytest.mark.slow
def test_a_rung_of_endless_grace_is_never_left(tmp_path: Path) -> None:
    """Behaviour 60. A second task climbs its whole ladder meanwhile."""
    begun, survived, release, other = (str(tmp_path / name) for name in ("begun", "survived", "release", "other"))
    with running(2, policy=QUICK) as pool:
        endless = pool.options(policy=StopPolicy(ask=0, interrupt=float("inf"), terminate=0))
        future = endless.submit(jobs.survive_interrupt, begun, survived, release)
        await_file(begun)
        clock = pool.submit(jobs.ignore_all, other)
        await_file(other)
        future.cancel()
        await_file(survived)
        clock.cancel()
        assert stopped(clock).rung is Rung.KILL
        assert past_ask(future) == [Rung.INTERRUPT]
        assert future.running()
        say(release)
        assert future.result(BOUND_S) == "survived"


def test_a_task_that_must_not_be_interrupted_is_not(tmp_path: Path) -> None:
    """Behaviour 61."""
    begun = str(tmp_path / "begun")
    with running(policy=StopPolicy(interrupt=60, terminate=60, interruptible=False)) as pool:
        future = pool.submit(jobs.tell_signals, begun, str(tmp_path))
        await_file(begun)
        future.cancel()
        assert stopped(future).rung is Rung.TERMINATE
        assert past_ask(future) == [Rung.TERMINATE]
    assert {path.name for path in tmp_path.iterdir()} == {"begun", "terminated"}


def test_an_interrupt_is_delivered_once_and_cleaning_up_is_left_in_peace(tmp_path: Path) -> None:
    """Behaviour 62. Neither a second stop nor a stray SIGINT raises again."""
    begun, survived, release = (str(tmp_path / name) for name in ("begun", "survived", "release"))
    with running() as pool:
        future = pool.submit(jobs.survive_interrupt, begun, survived, release)
        worker = int(await_file(begun))
        future.stop(at="interrupt")
        await_file(survived)
        future.stop(at="interrupt")
        future.stop()
        os.kill(worker, signal.SIGINT)
        say(release)
        assert future.result(BOUND_S) == "survived"
        assert past_ask(future) == [Rung.INTERRUPT]


def test_a_stray_sigint_interrupts_no_task_and_no_worker(tmp_path: Path) -> None:
    """An interrupt is raised only in the task that it was meant for."""
    begun, survived, release = (str(tmp_path / name) for name in ("begun", "survived", "release"))
    with running() as pool:
        worker = pool.submit(jobs.pid).result(BOUND_S)
        os.kill(worker, signal.SIGINT)
        future = pool.submit(jobs.linger, begun, survived, release)
        os.kill(int(await_file(begun)), signal.SIGINT)
        say(release)
        future.stop()
        assert stopped(future).rung is Rung.ASK
        assert worker in pool.workers()


def test_the_future_of_an_interrupted_task_is_told_before_its_worker_is_told_to_leave(tmp_path: Path) -> None:
    """To end takes a process more than a millisecond, on a CPU that who waits for the future needs."""
    begun = str(tmp_path / "begun")
    seen: list[bool] = []

    def look(_: Future[Any]) -> None:  # in the pool's thread: it says nothing to anybody meanwhile
        time.sleep(0.2)  # far longer than it takes to leave
        seen.append(is_alive(worker))

    with running() as pool:
        future = pool.submit(jobs.nap, begun)
        worker = int(await_file(begun))
        future.add_done_callback(look)
        future.stop(at=Rung.INTERRUPT)
        assert stopped(future).rung is Rung.INTERRUPT
        until(lambda: bool(seen))
        assert seen == [True]
        until(lambda: not is_alive(worker))


def test_a_worker_is_replaced_after_an_interrupt_and_kept_after_an_ask(tmp_path: Path) -> None:
    """Behaviour 63."""
    with running() as pool:
        asked = pool.submit(jobs.polite, str(tmp_path / "asked"))
        kept = int(await_file(tmp_path / "asked"))
        asked.cancel()
        assert stopped(asked).rung is Rung.ASK
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
        assert kept in pool.workers()
        interrupted = pool.submit(jobs.nap, str(tmp_path / "interrupted"))
        replaced = int(await_file(tmp_path / "interrupted"))
        until(lambda: len(pool.workers()) == 2, "the spare one is there")
        interrupted.cancel()
        assert stopped(interrupted).rung is Rung.INTERRUPT
        assert pool.submit(jobs.pid).result(BOUND_S) != replaced
        until(lambda: replaced not in pool.workers() and len(pool.workers()) == 2, "it was replaced")
        assert not is_alive(replaced)


@pytest.mark.slow
def test_each_rung_past_ask_is_one_warning_with_task_rung_and_last_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Behaviour 68."""
    with running(policy=QUICK) as pool:
        blind = pool.submit(jobs.ignore_all, str(tmp_path / "blind"))
        await_file(tmp_path / "blind")
        blind.cancel()
        stopped(blind)
        said = warnings(caplog)
        assert len(said) == 3
        for text, rung in zip(said, ("interrupt", "terminate", "kill"), strict=True):
            assert "ignore_all(" in text
            assert f": {rung}, " in text
            assert "never checked" in text
        caplog.clear()
        looked = pool.submit(jobs.look_then_nap, str(tmp_path / "looked"))
        await_file(tmp_path / "looked")
        looked.cancel()
        stopped(looked)
        (text,) = warnings(caplog)
        assert "look_then_nap(" in text
        assert "interrupt" in text
        assert "last checked" in text


def test_an_ask_that_is_heard_warns_of_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Behaviour 68. It is what a stop should be."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.polite, begun)
        await_file(begun)
        future.cancel()
        assert stopped(future).rung is Rung.ASK
    assert not caplog.records


@pytest.mark.parametrize("new_session", [False, True])
@pytest.mark.parametrize("ignore_term", [False, True])
@pytest.mark.parametrize("rung", [Rung.TERMINATE, Rung.KILL])
def test_a_subprocess_of_the_task_ends_with_it(
    rung: Rung, new_session: bool, ignore_term: bool, tmp_path: Path
) -> None:
    """Behaviour 69. Also one in a session of its own, also one that ignores SIGTERM."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.with_child, begun, new_session, ignore_term)
        child = int(await_file(begun))
        assert is_alive(child)
        future.stop(at=rung)
        assert stopped(future).rung is rung
        until(lambda: not is_alive(child), "the child has ended")


def test_a_patient_policy_is_what_these_tests_rely_on() -> None:
    """A rung that is reached within the bound was not reached by waiting."""
    assert min(PATIENT.ask, PATIENT.interrupt, PATIENT.terminate) > BOUND_S


def test_a_rung_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.polite, begun)
        await_file(begun)
        with pytest.raises(ValueError, match="no such rung"):
            future.stop(at="shout")
        with pytest.raises(ValueError, match="no such rung"):
            pool.stop(at="shout")
        assert not future.stop_requested
        future.cancel()
