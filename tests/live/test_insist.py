"""An interrupt that is not heard is sent again, a bounded number of times."""

from pathlib import Path

import pytest

import jobs
from jobs import BOUND_S, running
from stoppable import Rung, TaskStopped
from stoppable.shell.control import Op
from stoppable.shell.insist import Insistence
from watching import await_file


def test_it_is_sent_again_until_it_is_heard() -> None:
    sent: list[int] = []
    wanted: bool | None = True
    insistence = Insistence(sent.append, lambda worker, task: wanted)
    assert insistence.due() is None
    insistence.begin(7, 1, 0.0)
    now = insistence.due()
    assert now is not None
    insistence.look(now / 2)
    assert sent == []
    insistence.look(now)
    assert sent == [7]
    wanted = None  # its task is over
    again = insistence.due()
    assert again is not None
    assert again > now
    insistence.look(again)
    assert sent == [7]
    assert insistence.due() is None


def test_one_that_was_heard_and_then_swallowed_is_sent_again() -> None:
    sent: list[int] = []
    wanted = [False, False, True, None]
    insistence = Insistence(sent.append, lambda worker, task: wanted.pop(0))
    insistence.begin(7, 1, 0.0)
    while (due := insistence.due()) is not None:
        insistence.look(due)
    assert (sent, wanted) == ([7], [])


def test_it_is_not_sent_for_ever() -> None:
    sent: list[int] = []
    insistence = Insistence(sent.append, lambda worker, task: True)
    insistence.begin(7, 1, 0.0)
    while (due := insistence.due()) is not None:
        insistence.look(due)
    assert len(sent) == 8


def test_a_task_whose_first_interrupt_was_lost_is_interrupted_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 56. As if it had come in the instant before `time.sleep` began to sleep."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.nap, begun)
        await_file(begun)
        launcher = pool._reactor.launcher  # type: ignore[union-attr]
        deliver, lost = launcher.deliver, []

        def lose_the_first(op: Op, worker: int) -> None:
            if op is Op.INTERRUPT and not lost:
                lost.append(worker)
            else:
                deliver(op, worker)

        monkeypatch.setattr(launcher, "deliver", lose_the_first)
        future.stop()
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.INTERRUPT
        assert lost
