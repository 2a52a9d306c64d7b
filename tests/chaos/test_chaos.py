"""Short chaos runs, and runs with a planted bug that the chaos must see. The long one is `make chaos`."""

import dataclasses
import multiprocessing
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

import chaos_plan
import chaos_run
from chaos_plan import Kind
from stoppable.shell import tree
from stoppable.shell.channel import Channel
from stoppable.shell.hands import Hands
from stoppable.shell.warden import Warden
from stoppable.worker.page import CLAIMED, Page

TASKS = 400


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "method", "ahead"), [(1, "default", None), (2, "default", 8), (3, "fork", None)])
def test_under_random_stops_and_kills_every_task_ends_and_no_untargeted_one_is_touched(
    seed: int, method: str, ahead: int | None
) -> None:
    """Behaviours 64, 66, 104, 105. With tasks sent ahead, too; `chaos_checks.py` says what must be so."""
    context = multiprocessing.get_context("fork") if method == "fork" else None
    done = chaos_run.run(chaos_plan.make(seed, TASKS), context=context, ahead=ahead, every_s=0.03)
    assert done.violations == []
    assert sum(done.counts[f"end: {end}"] for end in ("value", "error", "stopped", "timeout", "died")) == TASKS
    assert done.counts["harm: worker kills"] > 0


# --- planted bugs ------------------------------------------------------------------------------


def forget_void(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that is taken back still runs where it was."""
    monkeypatch.setattr(Page, "recall", lambda self, position: self.u32[CLAIMED] < position)


def forget_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a dead worker had begun is taken for not begun."""
    monkeypatch.setattr(Channel, "claimed", lambda self: None)


def drop_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer in a hundred is not heard."""
    take, answers = Hands._take, iter(range(1, 1 << 30))

    def deaf(self: Hands, channel: Channel, frame: Any) -> None:
        if frame.task == 0 or next(answers) % 100:
            take(self, channel, frame)

    monkeypatch.setattr(Hands, "_take", deaf)


def swap_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then a task is given the last answer of another."""
    take, last = Hands._take, []

    def confused(self: Hands, channel: Channel, frame: Any) -> None:
        if frame.task and len(last) % 50 == 49:
            frame = frame._replace(body=last[-1], kind=frame.kind)
        last.append(frame.body)
        take(self, channel, frame)

    monkeypatch.setattr(Hands, "_take", confused)


def spare_descendants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill ends the worker alone. The warden is a fork of this process, so it has the bug too."""
    monkeypatch.setattr(tree, "kill", lambda pid: tree.send(pid, signal.SIGKILL))
    monkeypatch.setattr(Warden, "_see_to", lambda self, orphans, in_peace: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "method", "ahead", "kinds", "expected"),
    [
        (forget_void, "default", 8, {Kind.NOOP: 9, Kind.NAP: 9, Kind.DEAF: 2}, "began [0-9]+ times"),
        (forget_claims, "default", 8, {Kind.NOOP: 9, Kind.KILL_SELF: 1}, "began [0-9]+ times"),
        (drop_answers, "default", None, {Kind.NOOP: 1}, "was never done|began [0-9]+ times|lost its worker"),
        (swap_answers, "default", None, {Kind.NOOP: 1}, "has the value of another"),
        (spare_descendants, "fork", None, {Kind.NOOP: 8, Kind.FORKS: 2}, "a child of task"),
    ],
)
def test_a_planted_bug_is_seen(
    plant: Callable[[pytest.MonkeyPatch], None],
    method: str,
    ahead: int | None,
    kinds: dict[Kind, int],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behaviour 105. The same chaos, on a pool that breaks its promises."""
    plant(monkeypatch)
    context = multiprocessing.get_context("fork") if method == "fork" else None
    # A stop of everything at the end would hide what hangs, a kill from outside what was lost.
    plan = dataclasses.replace(chaos_plan.make(4, TASKS, weights=kinds), stop_all=None)
    done = chaos_run.run(plan, context=context, ahead=ahead, bound_s=10.0, every_s=1000.0)
    assert any(re.search(expected, line) for line in done.violations), done.violations
