"""What tasks print, line by line."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

import relayed
from jobs import BOUND_S, running
from stoppable import ProcessPoolExecutor
from test_logging import context_of, contexts
from watching import say, until


@pytest.mark.slow
def test_lines_of_tasks_and_threads_come_whole_however_they_were_written(capsys: pytest.CaptureFixture[str]) -> None:
    """Behaviour 137."""
    with running(2, output="lines") as pool:
        for words in (["abcdef", "ghijkl"], ["mnopqr", "stuvwx"]):
            pool.submit(relayed.print_in_threads, words, 200)
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == sorted(["abcdef", "ghijkl", "mnopqr", "stuvwx"] * 200)


@pytest.mark.parametrize("method", contexts())
def test_each_stream_comes_to_its_own_and_a_begun_line_with_the_tasks_end(
    method: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behaviour 137."""
    with running(1, mp_context=context_of(method), output="lines") as pool:
        pool.submit(relayed.print_both).result(BOUND_S)
    out, err = capsys.readouterr()
    assert out == "to stdout\nbytes\ntwo\nlines\nand a rest\n"
    assert err == "to stderr\n"


def test_each_line_is_named_by_its_task_if_that_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    """Behaviour 137."""
    with running(1, output="named") as pool:
        pool.submit(relayed.print_both).result(BOUND_S)
        pool.options(name="job").submit(print, "a\n\nb").result(BOUND_S)
    out, err = capsys.readouterr()
    named = ["to stdout", "bytes", "two", "lines", "and a rest"]
    assert out.splitlines() == [*(f"[print_both] {line}" for line in named), "[job] a", "[job] ", "[job] b"]
    assert err == "[print_both] to stderr\n"


def test_a_line_is_shown_while_its_task_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = ""
    with running(1, output="lines") as pool:
        future = pool.submit(relayed.print_and_wait, str(tmp_path / "go"))

        def is_shown() -> bool:
            nonlocal shown
            shown += capsys.readouterr().out
            return shown == "now\n"

        until(is_shown)
        assert not future.done()
        say(tmp_path / "go")
        future.result(BOUND_S)


@pytest.mark.slow
def test_output_of_any_length_comes_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with running(1, output="lines") as pool:
        pool.submit(relayed.print_much, 700_000).result(BOUND_S)
    out = capsys.readouterr().out
    assert re.fullmatch(r"(y+\n)+(z\n)+", out)
    assert (out.count("y"), out.count("z\n")) == (700_000, 700_000)


def test_output_that_is_not_asked_for_is_written_by_the_worker_itself(capfd: pytest.CaptureFixture[str]) -> None:
    with running(1) as pool:
        pool.submit(relayed.print_both).result(BOUND_S)
        pool.submit(os.write, 1, b"and bare\n").result(BOUND_S)
    assert capfd.readouterr().out == "to stdout\nbytes\ntwo\nlines\nand a restand bare\n"


@pytest.mark.parametrize("output", ["words", True, ""])
def test_an_output_that_there_is_not_is_refused(output: Any) -> None:
    with pytest.raises(ValueError, match="output must be"):
        ProcessPoolExecutor(1, output=output)
