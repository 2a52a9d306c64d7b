"""What a notebook shows of a pool and of a future."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

import jobs
import stoppable
from jobs import BOUND_S, running
from stoppable import Future, TaskStopped
from watching import await_file, say


class _Cells(HTMLParser):
    """The texts of a table's cells, and the tags there are."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag in ("td", "th", "caption"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells and data.strip():
            self.cells[-1] += data


def cells(shown: object) -> list[str]:
    parser = _Cells()
    parser.feed(shown._repr_html_())  # type: ignore[attr-defined]
    assert parser.tags <= {"table", "caption", "tr", "td", "th"}, "a task's text has become markup"
    return parser.cells


def tell_and_wait(text: str, begun: str, release: str) -> None:
    stoppable.progress(3, 4)
    say(begun)
    await_file(release, BOUND_S)


@pytest.mark.slow
def test_a_pool_shows_its_counts_and_what_runs(tmp_path: Path) -> None:
    """Behaviour 142."""
    with running(1, name="a <b>pool") as pool:
        assert cells(pool)[0] == "a <b>pool"
        runs = pool.submit(tell_and_wait, "<script>", str(tmp_path / "begun"), str(tmp_path / "release"))
        waits = pool.submit(jobs.value, 1)
        await_file(tmp_path / "begun")
        shown = cells(pool)
        counts = dict(zip(shown[1:8], shown[8:15], strict=True))
        assert (counts["pending"], counts["running"], counts["returned"]) == ("1", "1", "0")
        task, progress, reason = shown[-3:]
        assert task.startswith("tell_and_wait('<script>'")
        assert (progress, reason) == ("3 of 4", "")
        runs.stop("so far & no further", at="interrupt", policy=jobs.PATIENT)
        with pytest.raises(TaskStopped):
            runs.result(BOUND_S)
        assert waits.result(BOUND_S) == 1
        shown = cells(pool)
        counts = dict(zip(shown[1:8], shown[8:15], strict=True))
        assert (counts["running"], counts["returned"], counts["stopped"]) == ("0", "1", "1")


@pytest.mark.slow
def test_a_future_shows_its_state_its_progress_and_what_ended_it(tmp_path: Path) -> None:
    """Behaviour 142."""
    with running(1) as pool:
        future = pool.submit(tell_and_wait, "x", str(tmp_path / "begun"), str(tmp_path / "release"))
        await_file(tmp_path / "begun")
        assert cells(future)[1:] == ["state", "running", "progress", "3 of 4"]
        future.stop("<enough>", at="interrupt")
        with pytest.raises(TaskStopped):
            future.result(BOUND_S)
        shown = cells(future)
        facts = dict(zip(shown[1::2], shown[2::2], strict=True))
        assert facts["state"] == "cancelled"
        assert facts["stop asked for"] == "stop: <enough>"
        assert (facts["rung"], facts["ended by"]) == ("interrupt", "TaskStopped")


def test_a_future_made_by_hand_shows_its_state_alone() -> None:
    future: Future[int] = Future()
    assert cells(future) == ["a future", "state", "pending"]
    future.set_result(1)
    assert cells(future) == ["a future", "state", "finished"]
