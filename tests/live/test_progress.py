"""Progress: loops that are shown and stopped, and what is drawn of them, without a terminal and on one."""

import importlib.util
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import jobs
import shown
import stoppable
from jobs import BOUND_S, running
from recorded import Recorded, recording
from stoppable import Rung, TaskStopped, bars, show_progress, showing, track
from terminal import Terminal
from watching import await_file, say, until

# --- track ----------------------------------------------------------------------------------------------


def test_outside_a_task_track_just_yields_but_for_the_limits_it_is_in() -> None:
    """Behaviour 125."""
    assert list(track("abc")) == ["a", "b", "c"]
    assert list(track(iter(range(3)), total=3)) == [0, 1, 2]
    assert list(track([])) == []
    with pytest.raises(TimeoutError), stoppable.time_limit(0.05):
        for _ in track(iter(int, 1)):
            pass


@pytest.mark.parametrize(
    ("task", "args", "shows"),
    [
        (shown.track_until, ("abcde",), (2, 5)),
        (shown.track_until, ("abcde", 50), (2, 50)),
        (shown.track_generator, (None,), (2, None)),
        (shown.track_generator, (5,), (2, 5)),
        (shown.track_in_track, (), (2, 4)),
    ],
)
def test_a_tracked_loop_shows_how_many_items_are_done(task: Any, args: Any, shows: Any, tmp_path: Path) -> None:
    """Behaviour 125."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running() as pool:
        future = pool.submit(task, begun, release, *args)
        await_file(begun)
        assert future.progress == shows
        say(release)
        future.result(BOUND_S)
        assert future.progress is not None
        assert future.progress[0] == (7 if task is shown.track_in_track else 5)
        plain = pool.submit(jobs.pid)
        plain.result(BOUND_S)
        assert plain.progress is None


def test_a_tracked_loop_is_stopped_between_two_items_and_an_empty_one_is_not(tmp_path: Path) -> None:
    """Behaviour 125."""
    future = jobs.stopped_once_begun(shown.track_for_ever, tmp_path / "begun")
    done, none = future.result()
    assert done > 10
    assert none == 0
    assert future.report.rung is Rung.ASK


def test_a_fork_in_a_tracked_loop_does_not_count_for_the_task(tmp_path: Path) -> None:
    """Behaviour 111."""
    child = tmp_path / "child"
    with running() as pool:
        assert pool.submit(shown.fork_in_track, str(child)).result(BOUND_S) == 2
        assert child.exists()


# --- what is drawn ----------------------------------------------------------------------------------------


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    with recording(monkeypatch) as made:
        yield made


@pytest.mark.parametrize("chunksize", [1, 3])
def test_a_map_draws_calls_and_running_tasks_in_the_thread_that_iterates(
    chunksize: int, recorded: Recorded, tmp_path: Path
) -> None:
    """Behaviour 126."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running(2) as pool:
        results = pool.map(shown.wait_at_half, range(4), [begun] * 4, [release] * 9, chunksize=chunksize, progress=True)
        await_file(f"{begun}0")
        assert not recorded.views  # nothing is drawn before anybody waits
        helper = threading.Thread(
            target=lambda: (until(lambda: recorded.views and recorded.views[-1].rows, "a row"), say(release))  # type: ignore[func-returns-value]
        )
        helper.start()
        assert list(results) == [0, 1, 2, 3]
        helper.join()
    first = next(view for view in recorded.views if view.rows)
    assert first.rows[0][1:] == ("wait_at_half" if chunksize == 1 else "chunk", 1, 2)
    assert recorded.views[0][:2] == (0, 4)
    assert recorded.views[-1] == (4, 4, [])
    assert recorded.threads == {threading.get_ident()}


def test_a_map_of_who_knows_how_many_has_no_total_and_one_that_fails_ends_its_bars(recorded: Recorded) -> None:
    """Behaviour 126."""
    with running() as pool:
        with pytest.raises(ValueError, match="invalid literal"):
            list(pool.map(int, iter(["1", "2", "x"]), progress=True))
        assert recorded.views[-1].total is None
        assert recorded.views[-1].done == 3


def test_a_map_that_is_closed_early_or_runs_out_of_time_ends_its_bars(recorded: Recorded) -> None:
    """Behaviour 126."""
    with running(2) as pool:
        results = pool.map(jobs.value, range(10), buffersize=2, progress=True)
        assert next(results) == 0
        results.close()  # type: ignore[attr-defined]
        assert recorded.closed == 1
        pool.map(jobs.value, range(3), progress=True).close()  # type: ignore[attr-defined]
        assert recorded.closed == 1  # none were made
        late = pool.map(time.sleep, [jobs.LONG_S], timeout=0.2, progress=True)
        with pytest.raises(TimeoutError):
            next(late)
        assert recorded.closed == 2
        recorded.closed = 1


def test_a_bar_does_not_count_the_calls_that_were_stopped_because_its_map_was_left(
    recorded: Recorded, tmp_path: Path
) -> None:
    """Behaviour 126. Else it would run to its end when one call of a hundred fails."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running() as pool:
        results = pool.map(shown.wait_at_half, range(100), [begun] * 100, [release] * 100, progress=True)
        waiting = [*results._begun]  # type: ignore[attr-defined]
        await_file(f"{begun}0")
        seen = recorded.draw

        def end_all_then_draw(view: bars.View) -> None:
            if view.done:  # the last one
                until(lambda: all(future.done() for future in waiting), "all were stopped")
            seen(view)

        recorded.draw = end_all_then_draw  # type: ignore[method-assign]
        say(release)
        assert next(results) == 0
        results.close()  # type: ignore[attr-defined]
        until(lambda: all(future.done() for future in waiting))
    assert recorded.views[-1].done < 50
    assert recorded.views[-1].rows == []


@pytest.mark.parametrize("what", ["pool", "futures"])
def test_a_block_draws_a_pool_or_futures_in_a_thread_that_ends_with_it(
    what: str, recorded: Recorded, tmp_path: Path
) -> None:
    """Behaviour 127."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running(2) as pool:
        pool.submit(jobs.pid).result(BOUND_S)  # does not count
        futures = [pool.submit(shown.wait_at_half, number, begun, release) for number in range(5)]
        with show_progress(pool if what == "pool" else iter(futures)):
            until(lambda: recorded.views and len(recorded.views[-1].rows) == 2, "both that run are shown")
            assert recorded.views[-1][:2] == (0, 5)
            say(release)
            assert [future.result(BOUND_S) for future in futures] == list(range(5))
            until(lambda: pool.statistics().returned == 6, "all are counted")
    assert recorded.views[-1] == (5, 5, [])
    assert threading.get_ident() not in recorded.threads
    assert len(recorded.threads) == 1


def test_a_block_shows_a_pool_that_has_done_nothing_and_is_used_once(recorded: Recorded) -> None:
    with running() as pool:
        block = show_progress(pool)
        with pytest.raises(KeyError), block:
            raise KeyError
        assert recorded.views[-1] == (0, None, [])
        with pytest.raises(RuntimeError, match="used once"):
            block.__enter__()


def test_what_goes_wrong_in_drawing_is_logged_once_and_the_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Behaviour 128."""
    made = Recorded()
    monkeypatch.setattr(bars, "make", made.make)
    monkeypatch.setattr(made, "draw", lambda view: 1 / 0)
    with running() as pool, caplog.at_level(logging.WARNING):
        assert list(pool.map(jobs.value, range(5), progress=True)) == [0, 1, 2, 3, 4]
        assert caplog.text.count("progress cannot be shown") == 1
        with show_progress(pool):
            assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
        assert caplog.text.count("progress cannot be shown") == 2
    assert made.closed == 2


def test_a_draw_that_took_long_is_made_up_for_but_not_what_was_imported_for_the_first_one(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 128. A twentieth of the time; an import of 0.1 s would else keep the bars still for 2 s."""
    now, takes = 1000.0, 0.0

    def make(title: str, style: str = "auto") -> Recorded:
        nonlocal now
        now += 3.0
        return recorded

    def view() -> bars.View:
        nonlocal now
        now += takes
        return bars.View(0, None, [])

    monkeypatch.setattr(bars, "make", make)
    monkeypatch.setattr(showing, "time", SimpleNamespace(monotonic=lambda: now))
    drawing = showing._Drawing("it", "auto", view)
    drawn = []
    for step, takes in ((0, 0.0), (0.05, 0.0), (0.06, 0.5), (9.9, 0.0), (0.2, 0.0), (0.11, 0.0)):
        now += step
        drawing.draw()
        drawn.append(len(recorded.views))
    assert drawn == [1, 1, 2, 2, 3, 4]
    drawing.close()


# --- styles -----------------------------------------------------------------------------------------------


def test_without_a_terminal_there_are_few_plain_lines_on_stderr_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 128."""
    with running(name="mine") as pool:
        assert list(pool.map(shown.slow, range(3), progress=True)) == [0, 1, 2]
        assert capsys.readouterr() == ("", "slow: 3/3 done\n")
        with show_progress(pool):
            pool.submit(jobs.value, 1).result(BOUND_S)
            until(lambda: pool.statistics().returned == 4)
        assert capsys.readouterr() == ("", "mine: 1/1 done\n")
        monkeypatch.setattr(bars, "_LINE_EVERY_S", 0.0)
        assert list(pool.map(shown.slow, range(3), progress="line")) == [0, 1, 2]
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("slow: 0/3 done")
        assert any("(slow " in line for line in lines)
        assert len(set(lines)) == len(lines)  # no news, no line
        monkeypatch.setattr(sys, "stderr", None)
        assert list(pool.map(jobs.value, range(3), progress=True)) == [0, 1, 2]


@pytest.mark.parametrize("what", ["map", "block"])
def test_tqdm_draws_on_request_and_starts_no_thread(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Behaviour 128."""
    with running(2) as pool:
        if what == "map":
            assert list(pool.map(shown.slow, range(4), progress="tqdm")) == [0, 1, 2, 3]
        else:
            with show_progress([pool.submit(shown.slow, number) for number in range(4)], "tqdm") as _:
                until(lambda: pool.statistics().returned == 4)
        assert not [thread for thread in threading.enumerate() if "TMonitor" in type(thread).__name__]
    out, err = capsys.readouterr()
    assert out == ""
    assert "4/4" in err


def test_a_shell_derived_from_a_kernels_is_a_notebook_and_a_terminals_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behaviour 128. Colab's is derived; and IPython may be loaded where there is no shell at all."""
    kernels = type("ZMQInteractiveShell", (), {})
    shells = (kernels(), type("Shell", (kernels,), {})(), type("TerminalInteractiveShell", (), {})(), None)
    chosen = []
    for shell in shells:
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        chosen.append(bars._fitting())
    assert chosen == ["tqdm", "tqdm", "line", "line"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["map", "block"])
def test_on_a_terminal_rich_draws_and_puts_it_right_again(what: str) -> None:
    """Behaviour 128."""
    with closing(Terminal(shown, what, "auto")) as terminal:
        terminal.expect("sum 66")
        assert terminal.end() == 0
    first = terminal.text.partition("\x1b[?25l")[2].partition("\x1b")[0]
    assert re.match(r"(slow|stoppable-1) +━*.* \d+/12 ", first), "a bar comes with its numbers"
    assert "12/12" in terminal.text
    assert "100%" in terminal.text
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h") == 1


@pytest.mark.slow
@pytest.mark.parametrize("style", ["rich", "tqdm", "line"])
def test_what_the_program_prints_is_all_that_is_in_its_stdout(style: str) -> None:
    """Behaviour 128."""
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, shown.__file__, "map", style],
        env={**os.environ, "PYTHONPATH": path, "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "sum 66\n"), done.stderr
    assert "12/12" in done.stderr


@pytest.mark.slow
def test_a_ctrl_c_leaves_the_terminal_as_it_was() -> None:
    """Behaviour 128."""
    with closing(Terminal(shown, "press", "auto")) as terminal:
        terminal.expect("0/2")
        terminal.press()
        terminal.expect("KeyboardInterrupt")
        terminal.end()
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h") == 1
    assert "Traceback" in terminal.text
    assert terminal.text.count("Traceback") == 1


def test_a_style_that_is_none_or_not_there_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as pool:
        with pytest.raises(ValueError, match="auto, rich, tqdm, line"):
            pool.map(jobs.value, [1], progress="bar")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a pool or futures"):
            show_progress(3)  # type: ignore[arg-type]
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        for style in ("rich", "tqdm"):
            with pytest.raises(ImportError, match=r"stoppable\[progress\]"):
                show_progress(pool, style)  # type: ignore[arg-type]
        assert list(pool.map(jobs.value, [1], progress=True)) == [1]  # lines need nothing
        assert pool.statistics().submitted == 1


def test_stopped_tasks_count_as_ended(recorded: Recorded, tmp_path: Path) -> None:
    """Behaviour 127."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        futures = [pool.submit(jobs.polite, begun), pool.submit(jobs.pid)]
        with show_progress(futures):
            await_file(begun)
            futures[0].stop()
            with pytest.raises(TaskStopped):
                futures[0].result(BOUND_S)
            futures[1].result(BOUND_S)
    assert recorded.views[-1][:2] == (2, 2)
