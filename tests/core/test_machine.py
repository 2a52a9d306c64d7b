"""What the machine decides, as short lists of moves: what happened, and what it wants done."""

import math

import pytest

from moves import LADDER, Game, submit, task, worker
from stoppable.core import events as ev
from stoppable.core.ends import End
from stoppable.core.ladder import StopPolicy
from stoppable.core.tables import TaskState, WorkerState
from stoppable.reason import StopKind
from stoppable.rung import Rung

ONE, TWO, THREE = task(1), task(2), task(3)
A, B, C = worker(1), worker(2), worker(3)


def booted(size: int = 1, *tasks: ev.Submit, workers: int = 1, **options: int) -> Game:
    """Return a game in which the first workers have booted and the tasks were handed out."""
    game = Game(size, **options)
    game.play(*(tasks or (submit(1),)))
    game.play(*(ev.Booted(worker(number)) for number in range(1, workers + 1)))
    return game


def stopped(id: ev.TaskId, rung: Rung | None, kind: StopKind = StopKind.STOP, **facts: bool) -> ev.Resolve:
    return ev.Resolve(id, End.STOPPED, rung, kind=kind, **facts)


def probed(w: ev.WorkerId, t: ev.TaskId, *, looked: bool = True, shield: float = 0, at: float | None = 0) -> ev.Probed:
    return ev.Probed(w, t, looked, shield, at)


def test_workers_come_with_the_work_and_a_spare_once_the_first_has_booted() -> None:
    game = Game(4)
    game.play(submit(1))
    assert game.spawned == [A]
    game.play(ev.Booted(A))
    assert game.spawned == [A, B]
    game.play(submit(2))
    assert game.spawned == [A, B, C]


def test_a_spare_is_no_seat() -> None:
    game = booted(1, submit(1), submit(2), workers=2)
    assert game.machine.running == 1
    assert game.machine.state(TWO) is TaskState.QUEUED
    assert game.play(ev.Answered(A, ONE, False)) == [
        ev.Resolve(ONE, End.ANSWERED),
        ev.Send(A, TWO),
        ev.Started(TWO),
    ]


def test_a_spare_that_boots_late_does_not_take_the_place_of_who_has_worked() -> None:
    """What a task has loaded or kept in its process is there for the next one."""
    game = Game(1)
    game.play(submit(1), ev.Booted(A), ev.Answered(A, ONE, False), ev.Booted(B))
    assert ev.Send(A, TWO) in game.play(submit(2))


def test_a_stop_of_a_queued_task_ends_it_at_once() -> None:
    """Behaviour 38."""
    game = booted(1, submit(1), submit(2))
    assert game.play(ev.Stop(TWO)) == [stopped(TWO, None, started=False)]
    assert game.play(ev.Stop(TWO)) == []
    assert game.machine.queued == 0


def test_a_task_not_yet_begun_by_its_worker_is_taken_back_and_never_runs() -> None:
    """Behaviour 39."""
    game = booted()
    assert game.play(ev.Stop(ONE)) == [ev.Recall(A, ONE)]
    assert game.play(ev.Recalled(A, ONE)) == [stopped(ONE, None, started=False)]
    assert game.machine.worker_state(A) is WorkerState.IDLE


def test_a_withdrawn_task_never_starts_unless_it_has() -> None:
    """Behaviour 80. One that waits ends; one in a line is taken back; the first of a line is left alone."""
    game = booted(1, submit(1), submit(2), submit(3), ahead=2)
    withdraw = [ev.Withdraw(id, StopKind.GROUP) for id in (ONE, TWO, THREE)]
    assert game.play(*withdraw) == [ev.Recall(A, TWO), stopped(THREE, None, StopKind.GROUP, started=False)]
    assert game.play(*withdraw) == []
    assert game.play(ev.Recalled(A, TWO)) == [stopped(TWO, None, StopKind.GROUP, started=False)]
    assert game.play(ev.Answered(A, ONE, False)) == [ev.Resolve(ONE, End.ANSWERED)]


def test_a_withdrawn_task_that_has_started_by_then_runs_on() -> None:
    """Behaviour 80."""
    game = booted(1, submit(1), submit(2), ahead=2)
    assert game.play(ev.Withdraw(TWO, StopKind.GROUP)) == [ev.Recall(A, TWO)]
    game.play(ev.Claimed(A, TWO), ev.Answered(A, ONE, False))
    assert game.machine.state(TWO) is TaskState.RUNNING
    assert game.play(ev.Answered(A, TWO, False)) == [ev.Resolve(TWO, End.ANSWERED)]


def test_a_whole_ladder_ends_in_a_kill_and_the_spare_takes_over() -> None:
    """Behaviour 58."""
    game = booted(1, submit(1), submit(2), workers=2)
    assert game.play(ev.Stop(ONE), ev.Claimed(A, ONE)) == [ev.Recall(A, ONE), ev.Probe(A, ONE)]
    assert game.play(probed(A, ONE)) == [ev.Ask(A, ONE)]
    assert game.machine.deadline() == 5
    assert game.play(ev.Tick(), after=5) == [ev.Probe(A, ONE)]
    assert game.play(probed(A, ONE)) == [ev.Interrupt(A, ONE)]
    assert game.play(ev.Tick(), probed(A, ONE), after=2) == [ev.Probe(A, ONE), ev.Terminate(A, ONE)]
    assert game.play(ev.Tick(), probed(A, ONE), after=2) == [ev.Probe(A, ONE), ev.Kill(A, ONE)]
    assert game.play(ev.Exited(A, ONE)) == [stopped(ONE, Rung.KILL), ev.Send(B, TWO), ev.Started(TWO)]


def test_a_kill_asks_first_and_sends_no_other_rung() -> None:
    """Behaviour 60."""
    game = booted()
    game.play(ev.Stop(ONE, Rung.KILL), ev.Claimed(A, ONE))
    assert game.play(probed(A, ONE)) == [ev.Ask(A, ONE), ev.Kill(A, ONE)]


def test_a_worker_that_was_only_asked_is_kept_and_an_interrupted_one_is_replaced() -> None:
    """Behaviours 41, 63."""
    asked = booted(workers=2)
    asked.play(ev.Stop(ONE), ev.Claimed(A, ONE), probed(A, ONE))
    assert asked.play(ev.Answered(A, ONE, True)) == [stopped(ONE, Rung.ASK)]
    assert asked.machine.worker_state(A) is WorkerState.IDLE
    interrupted = booted(workers=2)
    interrupted.play(ev.Stop(ONE), ev.Claimed(A, ONE), probed(A, ONE, looked=False))
    assert interrupted.play(ev.Answered(A, ONE, True)) == [stopped(ONE, Rung.INTERRUPT), ev.Retire(A)]
    assert interrupted.play(ev.Tick(), after=5) == [ev.Kill(A, None)]
    assert interrupted.play(ev.Tick(), after=10) == [ev.Abandon(A)]


def test_a_task_that_ends_by_itself_while_it_is_being_stopped_keeps_its_result() -> None:
    """Behaviours 42, 43."""
    game = booted()
    game.play(ev.Stop(ONE), ev.Claimed(A, ONE), probed(A, ONE))
    assert game.play(ev.Answered(A, ONE, False)) == [ev.Resolve(ONE, End.ANSWERED, Rung.ASK, kind=StopKind.STOP)]
    assert game.play(ev.Tick(), after=20) == []


def test_what_comes_late_about_an_ended_task_changes_nothing() -> None:
    """Behaviours 40, 49."""
    game = booted()
    game.play(ev.Answered(A, ONE, False))
    late = (ev.Stop(ONE), probed(A, ONE), ev.Recalled(A, ONE), ev.Claimed(A, ONE), ev.Answered(A, ONE, True))
    assert game.play(*late) == []
    assert game.play(ev.Exited(worker(77), ONE), ev.Booted(worker(77))) == []
    assert game.machine.state(ONE) is TaskState.DONE


def test_a_second_stop_at_kill_kills_at_once_and_the_first_kind_stays() -> None:
    """Behaviour 50."""
    game = booted()
    game.play(ev.Stop(ONE, kind=StopKind.GROUP), ev.Claimed(A, ONE), probed(A, ONE))
    assert game.play(ev.Stop(ONE)) == []
    assert game.play(ev.Stop(ONE, Rung.KILL), probed(A, ONE)) == [ev.Probe(A, ONE), ev.Kill(A, ONE)]
    assert game.play(ev.Exited(A, ONE)) == [stopped(ONE, Rung.KILL, StopKind.GROUP)]


def test_a_worker_that_does_not_die_is_given_up_and_its_seat_goes_on() -> None:
    """Behaviour 67."""
    game = booted(1, submit(1), submit(2), workers=2)
    game.play(ev.Stop(ONE, Rung.KILL), ev.Claimed(A, ONE), probed(A, ONE))
    assert game.play(ev.Tick(), after=10) == [
        stopped(ONE, Rung.KILL, confirmed=False),
        ev.Abandon(A),
        ev.Send(B, TWO),
        ev.Started(TWO),
    ]
    assert game.play(ev.Answered(A, ONE, False), ev.Exited(A, None)) == []


def test_a_worker_that_dies_by_itself_costs_its_own_task_only() -> None:
    """Behaviours 65, 66, 104."""
    game = booted(1, submit(1), submit(2), submit(3), workers=2, ahead=3)
    assert game.machine.line(A) == [ONE, TWO, THREE]
    assert game.play(ev.Exited(A, ONE)) == [
        ev.Resolve(ONE, End.DIED),
        ev.Send(B, TWO),
        ev.Started(TWO),
        ev.Send(B, THREE),
    ]
    asked = booted(workers=2)
    asked.play(ev.Stop(ONE), ev.Claimed(A, ONE), probed(A, ONE))
    assert asked.play(ev.Exited(A, ONE)) == [ev.Resolve(ONE, End.DIED, Rung.ASK, kind=StopKind.STOP)]


def test_a_task_said_to_start_that_did_not_is_said_to_wait_again() -> None:
    game = booted(1, workers=2)
    assert game.play(ev.Exited(A, None)) == [ev.Requeued(ONE), ev.Send(B, ONE), ev.Started(ONE)]


def test_what_waits_behind_a_long_task_goes_to_a_worker_that_idles() -> None:
    """Behaviour 104."""
    game = booted(2, *(submit(number) for number in range(1, 5)), workers=2, ahead=2)
    assert (game.machine.line(A), game.machine.line(B)) == ([1, 4], [2, 3]) or game.machine.running == 2
    first = game.machine.line(A)[0]
    for id in game.machine.line(B):
        actions = game.play(ev.Answered(B, id, False))
    tail = game.machine.line(A)[1]
    assert actions[-1] == ev.Recall(A, tail)
    assert game.play(ev.Recalled(A, tail)) == [ev.Send(B, tail), ev.Started(tail)]
    assert game.machine.line(A) == [first]


def test_what_was_sent_behind_a_task_that_is_being_stopped_goes_elsewhere() -> None:
    """Behaviour 104."""
    game = booted(1, submit(1), submit(2), workers=2, ahead=2)
    assert game.play(ev.Stop(ONE, Rung.KILL), ev.Claimed(A, ONE)) == [
        ev.Recall(A, ONE),
        ev.Recall(A, TWO),
        ev.Probe(A, ONE),
    ]
    assert game.play(probed(A, ONE)) == [], "no rung while it is not known who would be hit"
    assert game.play(ev.Recalled(A, TWO)) == [ev.Probe(A, ONE)]
    assert game.play(probed(A, ONE)) == [ev.Ask(A, ONE), ev.Kill(A, ONE)]
    assert game.play(ev.Exited(A, ONE))[-2:] == [ev.Send(B, TWO), ev.Started(TWO)]


@pytest.mark.parametrize("answer_first", [True, False])
def test_a_task_sent_ahead_and_found_started_is_stopped_in_either_order_of_news(answer_first: bool) -> None:
    game = booted(1, submit(1), submit(2), workers=2, ahead=2)
    assert game.play(ev.Stop(TWO)) == [ev.Recall(A, TWO)]
    news: list[ev.Event] = [ev.Answered(A, ONE, False), ev.Claimed(A, TWO)]
    actions = game.play(*(news if answer_first else reversed(news)))
    assert ev.Probe(A, TWO) in actions
    assert ev.Started(TWO) in actions
    assert game.play(probed(A, TWO)) == [ev.Ask(A, TWO)]


def test_a_timeout_counts_from_the_real_start() -> None:
    """Behaviour 89."""
    game = booted(1, submit(1, timeout_s=1.0), workers=2)
    assert game.machine.deadline() == 1
    assert game.play(ev.Tick(), after=1) == [ev.Probe(A, ONE)]
    assert game.play(probed(A, ONE, at=None)) == [], "it has not started: its time has not either"
    assert game.machine.deadline() == 2
    assert game.play(ev.Tick(), after=1) == [ev.Probe(A, ONE)]
    assert game.play(probed(A, ONE, at=1.5)) == []
    assert game.machine.deadline() == 2.5
    assert game.play(ev.Tick(), probed(A, ONE, at=1.5), after=0.5) == [
        ev.Probe(A, ONE),
        ev.Ask(A, ONE, StopKind.DEADLINE),
    ]
    assert game.play(ev.Answered(A, ONE, True)) == [stopped(ONE, Rung.ASK, StopKind.DEADLINE)]


def test_a_timeout_of_nothing_does_not_spin() -> None:
    game = booted(1, submit(1, timeout_s=0.0), workers=2)
    assert game.play(probed(A, ONE, at=None)) == []
    game.play(ev.Tick(), after=0.01)
    game.play(probed(A, ONE, at=None))
    due = game.machine.deadline()
    assert due is not None
    assert due > game.now


def test_a_deadline_that_passes_in_the_queue_ends_the_task_before_it_starts() -> None:
    """Behaviour 90."""
    game = booted(1, submit(1), submit(2, deadline=3.0))
    assert game.play(ev.Tick(), after=3) == [stopped(TWO, None, StopKind.DEADLINE, started=False)]
    assert game.play(submit(3, deadline=2.0)) == [stopped(THREE, None, StopKind.DEADLINE, started=False)]


def test_a_worker_is_retired_after_its_number_of_tasks_and_never_sent_more() -> None:
    game = booted(1, submit(1), submit(2), submit(3), workers=2, ahead=3, max_tasks_per_child=2)
    assert game.machine.line(A) == [ONE, TWO]
    game.play(ev.Answered(A, ONE, False))
    assert game.play(ev.Answered(A, TWO, False)) == [
        ev.Resolve(TWO, End.ANSWERED),
        ev.Retire(A),
        ev.Send(B, THREE),
        ev.Started(THREE),
    ]


def test_three_workers_in_a_row_that_do_not_boot_break_the_pool_and_are_spaced_out() -> None:
    """Behaviour 107."""
    game = Game(1)
    game.play(submit(1))
    game.play(ev.Exited(A, None))
    assert game.spawned == [A]
    assert game.machine.deadline() == pytest.approx(0.1)
    game.play(ev.Tick(), after=0.1)
    game.play(ev.SpawnFailed(B))
    assert game.machine.deadline() == pytest.approx(0.3)
    game.play(ev.Tick(), after=0.2)
    assert game.play(ev.Exited(C, None)) == [ev.Resolve(ONE, End.BROKEN, started=False)]
    assert game.play(submit(2)) == [ev.Resolve(TWO, End.BROKEN, started=False)]
    assert game.play(ev.Shutdown()) == [ev.Finished()]


def test_workers_killed_from_outside_while_they_boot_break_the_pool_only_after_a_boots_time() -> None:
    """Behaviour 107. It may be a storm of kills, which ends; or the system, which kills what needs too much memory."""
    game = Game(1)
    game.play(submit(1))
    number, began = 0, game.now
    while game.now < began + game.machine.boot_s:
        number += 1
        assert game.spawned == [worker(n) for n in range(1, number + 1)]
        game.play(ev.Exited(worker(number), None, killed=True))
        assert game.machine.unfinished == 1
        if number > 8:
            assert game.machine.retry_at is not None  # no storm of spawns
            game.play(ev.Tick(), after=2.0)
    assert game.play(ev.Exited(worker(number + 1), None, killed=True)) == [ev.Resolve(ONE, End.BROKEN, started=False)]


def test_an_initializer_that_fails_ends_what_waits_and_lets_run_what_runs() -> None:
    """Behaviour 107."""
    game = booted(1, submit(1), submit(2))
    assert game.play(ev.BootFailed(B)) == [ev.Retire(B), ev.Resolve(TWO, End.BROKEN, started=False)]
    assert game.play(ev.Answered(A, ONE, False)) == [ev.Resolve(ONE, End.ANSWERED), ev.Retire(A)]


def test_a_worker_that_never_says_it_booted_is_killed() -> None:
    """Behaviour 107."""
    game = Game(1, boot_s=7.0)
    game.play(submit(1))
    assert game.play(ev.Tick(), after=7) == [ev.Kill(A, None)]
    game.play(ev.Tick(), after=0.1)
    assert game.spawned == [A, B]


def test_a_shutdown_runs_what_waits_unless_told_not_to() -> None:
    game = booted(1, submit(1), submit(2), workers=2)
    assert game.play(ev.Shutdown()) == []
    assert game.play(ev.Shutdown(cancel_pending=True)) == [stopped(TWO, None, StopKind.SHUTDOWN, started=False)]
    assert game.play(submit(3)) == [stopped(THREE, None, StopKind.SHUTDOWN, started=False)]
    actions = game.play(ev.Answered(A, ONE, False))
    assert actions[1:] == [ev.Retire(A), ev.Retire(B)]
    assert game.play(ev.Exited(A, None)) == []
    assert game.play(ev.Exited(B, None)) == [ev.Finished()]
    assert game.play(ev.Shutdown(), ev.Tick(), after=99) == []


def test_stopping_all_ends_the_waiting_ones_first_and_no_worker_is_born_for_it() -> None:
    """Behaviour 94."""
    game = booted(2, *(submit(number) for number in range(1, 5)), workers=2)
    born = len(game.spawned)
    assert game.play(ev.Shutdown(), ev.StopAll(Rung.KILL)) == [
        stopped(THREE, None, StopKind.SHUTDOWN, started=False),
        stopped(task(4), None, StopKind.SHUTDOWN, started=False),
        ev.Recall(A, ONE),
        ev.Recall(B, TWO),
    ]
    game.play(ev.Claimed(A, ONE), ev.Claimed(B, TWO), probed(A, ONE), probed(B, TWO))
    game.play(ev.Exited(A, ONE), ev.Exited(B, TWO))
    assert len(game.spawned) == born


def test_stopping_all_within_a_time_shortens_each_tasks_ladder() -> None:
    game = booted(1, submit(1, StopPolicy(math.inf, 30, 30)))
    game.play(ev.StopAll(within_s=3.0), ev.Claimed(A, ONE))
    assert game.play(probed(A, ONE)) == [ev.Ask(A, ONE, StopKind.SHUTDOWN)]
    assert game.play(ev.Tick(), after=3.1) == [ev.Probe(A, ONE)]
    assert game.play(probed(A, ONE))[0] == ev.Kill(A, ONE)


def test_a_doomed_worker_whose_task_has_ended_is_replaced_after_a_shutdown_too() -> None:
    game = booted(1, submit(1), submit(2), spares=0)
    game.play(ev.Shutdown(), ev.Stop(ONE, Rung.TERMINATE), ev.Claimed(A, ONE), probed(A, ONE))
    assert game.spawned == [A]
    assert game.play(ev.Answered(A, ONE, False)) == [ev.Resolve(ONE, End.ANSWERED, Rung.TERMINATE, kind=StopKind.STOP)]
    assert game.spawned == [A, B]
    assert game.play(ev.Booted(B)) == [ev.Send(B, TWO), ev.Started(TWO)]


def test_a_policy_that_stays_on_terminate_keeps_the_worker_doomed() -> None:
    policy = StopPolicy(0, 0, math.inf)
    game = booted(1, submit(1, policy), workers=2)
    game.play(ev.Stop(ONE), ev.Claimed(A, ONE))
    assert game.play(probed(A, ONE)) == [ev.Ask(A, ONE), ev.Terminate(A, ONE)]
    game.play(ev.Booted(C))
    assert game.play(ev.Tick(), after=1e6) == []
    assert game.play(ev.Answered(A, ONE, True)) == [stopped(ONE, Rung.TERMINATE)]
    assert game.play(ev.Tick(), after=5) == [ev.Kill(A, None)]


def test_the_same_task_is_not_taken_twice() -> None:
    game = booted()
    with pytest.raises(ValueError, match="submitted before"):
        game.machine.step(ev.Submit(ONE, LADDER), 0.0)


def test_a_running_task_is_paused_once_nothing_waits_behind_it_and_goes_on_when_told() -> None:
    """Behaviour 99."""
    game = booted(1, submit(1), submit(2), ahead=2, workers=2)
    assert game.play(ev.Pause(ONE)) == [ev.Recall(A, TWO)]
    assert game.play(ev.Recalled(A, TWO)) == [ev.Probe(A, ONE)]
    assert game.play(probed(A, ONE)) == [ev.Suspend(A, ONE)]
    assert game.machine.state(ONE) is TaskState.PAUSED
    assert game.play(ev.Pause(ONE), ev.Tick(), after=100) == []
    assert game.play(ev.Resume(ONE)) == [ev.Continue(A, ONE), ev.Send(A, TWO)]
    assert game.play(ev.Resume(ONE)) == []
    assert game.machine.state(ONE) is TaskState.RUNNING


def test_a_stop_of_a_paused_task_lets_it_go_on_first() -> None:
    """Behaviour 99. And it cannot be paused again."""
    game = booted(1)
    game.play(ev.Pause(ONE), probed(A, ONE))
    assert game.play(ev.Stop(ONE)) == [ev.Continue(A, ONE), ev.Probe(A, ONE)]
    assert game.play(ev.Pause(ONE), probed(A, ONE)) == [ev.Ask(A, ONE)]


def test_a_task_that_has_not_started_is_paused_when_it_has() -> None:
    """Behaviour 99. Also one that was taken back meanwhile."""
    game = booted(1, workers=2)
    assert game.play(ev.Pause(ONE)) == [ev.Probe(A, ONE)]
    assert game.play(probed(A, ONE, at=None)) == []
    assert game.play(ev.Exited(A, None)) == [ev.Requeued(ONE), ev.Send(B, ONE), ev.Started(ONE), ev.Probe(B, ONE)]
    assert game.play(probed(B, ONE)) == [ev.Suspend(B, ONE)]


def test_a_worker_whose_task_ended_as_it_was_paused_goes_on() -> None:
    """Behaviour 99."""
    game = booted(1)
    game.play(ev.Pause(ONE), probed(A, ONE))
    assert game.play(ev.Answered(A, ONE, False)) == [ev.Continue(A, ONE), ev.Resolve(ONE, End.ANSWERED)]


def test_a_pause_stops_the_clock_of_a_timeout() -> None:
    """Behaviour 99. The deadline goes on."""
    game = booted(1, submit(1, timeout_s=4.0, deadline=60.0), workers=2)
    game.play(ev.Pause(ONE), after=1)
    game.play(probed(A, ONE))
    assert game.machine.deadline() == 60
    game.play(ev.Resume(ONE), after=10)
    assert game.machine.deadline() == 14
    game.play(ev.Pause(ONE), probed(A, ONE))
    assert game.play(ev.Tick(), after=49) == [ev.Continue(A, ONE), ev.Probe(A, ONE)]
    assert game.play(probed(A, ONE)) == [ev.Ask(A, ONE, StopKind.DEADLINE)]


def alive(at: float, *, looked: bool = True) -> ev.Probed:
    return ev.Probed(A, ONE, looked, 0, 0, at)


def test_a_watchdog_looks_four_times_in_its_period_and_interrupts_a_silent_task() -> None:
    """Behaviour 100. Who does not look hears no ask."""
    game = booted(1, submit(1, watchdog_s=4.0), workers=2)
    assert game.play(ev.Tick(), alive(1.0), after=1) == [ev.Probe(A, ONE)]
    for _ in range(3):
        assert game.play(ev.Tick(), alive(0.0), after=1) == [ev.Probe(A, ONE)]
    assert game.play(ev.Tick(), after=1) == [ev.Probe(A, ONE)]
    assert game.play(alive(0.0)) == [ev.Ask(A, ONE, StopKind.WATCHDOG), ev.Interrupt(A, ONE)]
    assert game.play(ev.Answered(A, ONE, True)) == [
        stopped(ONE, Rung.INTERRUPT, StopKind.WATCHDOG),
        ev.Retire(A),
    ]


def test_a_watchdog_waits_for_as_long_as_the_task_said() -> None:
    """Behaviour 100."""
    game = booted(1, submit(1, watchdog_s=4.0), workers=2)
    assert game.play(ev.Tick(), alive(101.0), after=1) == [ev.Probe(A, ONE)]
    assert game.machine.deadline() == 102
    assert game.play(ev.Tick(), alive(0.0), after=101) == [ev.Probe(A, ONE)]
    assert game.machine.deadline() == 103


def test_a_pause_gives_a_watchdog_its_whole_time_anew() -> None:
    """Behaviour 99."""
    game = booted(1, submit(1, watchdog_s=4.0), workers=2)
    game.play(ev.Pause(ONE), alive(0.0), after=3)
    assert game.machine.deadline() is None
    assert game.play(ev.Resume(ONE), after=100) == [ev.Continue(A, ONE), ev.Probe(A, ONE)]
    assert game.play(alive(0.0)) == []
    assert game.machine.deadline() == 104


def test_a_task_that_is_over_its_memory_is_killed_if_it_has_started() -> None:
    """Behaviour 106."""
    game = booted(1, submit(1, memory_bytes=100))
    assert game.play(ev.Weighed(A, ONE, 100)) == []
    assert game.play(ev.Weighed(A, ONE, 101)) == [ev.Probe(A, ONE)]
    assert game.play(probed(A, ONE, at=None)) == [], "its worker had that before it began"
    assert game.play(ev.Weighed(A, ONE, 101), probed(A, ONE)) == [
        ev.Probe(A, ONE),
        ev.Ask(A, ONE, StopKind.MEMORY),
        ev.Kill(A, ONE),
    ]


def test_a_task_that_gives_way_as_its_worker_is_killed_ends_when_that_is_gone() -> None:
    """Behaviours 69, 106. Its processes are then gone, too."""
    game = booted()
    game.play(ev.Stop(ONE, Rung.KILL), ev.Claimed(A, ONE), probed(A, ONE))
    assert game.play(ev.Answered(A, ONE, True)) == []
    assert game.play(ev.Exited(A, None)) == [stopped(ONE, Rung.KILL)]
