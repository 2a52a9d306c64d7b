"""The measurements run at all; what they measure is asserted nowhere."""

import importlib.util
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "keys"),
    [
        ("round_trip", {"median_us", "p99_us"}),
        ("asks", {"polling_us", "polling_p99_us", "waiting_us", "waiting_p99_us"}),
    ],
)
def test_a_case_runs_in_a_process_of_its_own_and_says_its_numbers(case: str, keys: set[str]) -> None:
    command = [sys.executable, str(BENCH / "cases.py"), case, "stoppable"]
    done = subprocess.run(command, capture_output=True, timeout=100, check=True)
    numbers = json.loads(done.stdout)
    assert numbers.keys() == keys
    assert all(value > 0 for value in numbers.values())


def test_a_pool_that_cannot_do_something_says_so() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH / "cases.py"), "stops", "joblib"], capture_output=True, timeout=100, check=True
    )
    assert "cannot" in json.loads(done.stdout)


# --- very many tasks and workers ---------------------------------------------------------------------------


def scale(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run bench/scale.py; *before* is what the shell does first."""
    command = f'{before or ":"} && exec "$0" "$@"'
    program = [sys.executable, str(BENCH / "scale.py"), *arguments]
    return subprocess.run(["sh", "-c", command, *program], capture_output=True, text=True, timeout=100)


@pytest.mark.slow
def test_many_tasks_on_many_workers_are_measured_and_nothing_is_wrong() -> None:
    done = scale("--tasks", "300", "--workers", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    for what in (
        "submit",
        "for each queued task",
        "workers alive",
        "until all are done",
        "warden's memory",
        "shutdown",
    ):
        assert what in done.stdout


@pytest.mark.slow
def test_the_machine_alone_is_measured_in_four_sizes() -> None:
    done = scale("--simulate", "--tasks", "2000", "--workers", "20")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[2:6]]
    assert [row[:2] for row in rows] == [["2", "1"], ["20", "1"], ["200", "2"], ["2,000", "20"]]
    assert all(float(number) > 0 for row in rows for number in row[2:4])


@pytest.mark.slow
def test_a_run_in_which_nothing_moves_says_where_it_stood_and_ends() -> None:
    done = scale("--tasks", "5", "--workers", "2", "--patience", "0.001")
    assert done.returncode == 1
    assert "WRONG: workers at work: 0 of 2 for 0.001 s, and nothing moves; Statistics(" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tasks", "0"), "argument --tasks: must be a whole number of at least 1, was '0'"),
        (("--workers", "many"), "argument --workers: must be a whole number of at least 1, was 'many'"),
        (("--patience", "nan"), "argument --patience: must be seconds, more than 0, was 'nan'"),
    ],
)
def test_bad_arguments_of_a_measurement_are_refused(arguments: tuple[str, ...], says: str) -> None:
    done = scale(*arguments)
    assert done.returncode == 2
    assert says in done.stderr


def test_more_workers_than_there_may_be_descriptors_are_refused_with_advice() -> None:
    done = scale("--workers", "100", before="ulimit -n 100")
    assert done.returncode == 2
    assert "100 workers need" in done.stderr
    assert "`ulimit -n 1" in done.stderr
    assert done.stdout == ""


def test_more_workers_than_there_may_be_processes_are_refused_unless_the_user_is_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("scale_for_test", BENCH / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    limits = {resource.RLIMIT_NPROC: (10, 10), resource.RLIMIT_NOFILE: (10_000, 10_000)}
    monkeypatch.setattr(module.resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (line,) = module.too_small(20)
    assert "20 workers need" in line
    assert "this user may have 10: `ulimit -u" in line
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert module.too_small(20) == []
