"""Where something is lacking, pool and flag work, or say clearly what it is and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WORKS = ["pool: [1, 4, 9]", "flag: True"]


def lacking(what: str, folder: Path | None = None) -> list[str]:
    """Run the case in a process of its own; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    if folder is not None:
        environment["TMPDIR"] = str(folder)  # without memfd, the flag keeps a folder there
    done = subprocess.run(
        [sys.executable, str(HERE / "dearth.py"), what], capture_output=True, env=environment, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["no pidfd", "no membarrier", "no futex_waitv", "folders", "full"])
def test_the_pool_and_the_flag_work_without_it(what: str) -> None:
    """In "folders": no home, no temp folder, nothing in /dev/shm, all read-only, and no file opened for writing.

    In "full": /dev/shm and the temp folder are.
    """
    said = lacking(what)
    excused = ("opened for writing: /dev/null", "a byte more: No space left on device")
    assert [line for line in said if line not in excused] == WORKS


@pytest.mark.slow
def test_without_memfd_the_pool_names_it_and_the_flag_works(tmp_path: Path) -> None:
    pool, flag = lacking("no memfd", tmp_path)
    assert "WorkerStartError" in pool
    assert "memfd_create" in pool
    assert "docs/platforms.md" in pool
    assert flag == "flag: True"


@pytest.mark.slow
def test_without_proc_the_pool_names_it_and_the_flag_works(tmp_path: Path) -> None:
    said = "\n".join(lacking("no /proc", tmp_path))
    assert "WorkerStartError" in said
    assert "a pool needs /proc, and it is not mounted here" in said
    assert "flag: True" in said


@pytest.mark.slow
@pytest.mark.parametrize("what", ["executable that fails", "executable that is not there"])
def test_a_warden_that_cannot_start_fails_every_future_and_says_why(what: str) -> None:
    """Behaviour 107. A worker that cannot be started."""
    [said] = lacking(what)
    assert "WorkerStartError: no worker could be started" in said
    assert "/bin/false" in said or "/nowhere/python" in said


@pytest.mark.slow
def test_too_few_descriptors_from_the_start_are_a_clear_error_and_no_harm() -> None:
    said = dict(line.split(": ", 1) for line in lacking("files from the start"))
    assert said.pop("afterwards") == "[1, 4, 9]"
    assert said["pool 1"].startswith("OSError")
    for text in said.values():
        assert text in ("[1, 4, 9]", "True") or "Too many open files" in text


@pytest.mark.slow
def test_descriptors_that_run_out_in_the_middle_cost_no_task() -> None:
    """The worker that is there does all the work; when there is room again, others come."""
    said = dict(line.split(": ", 1) for line in lacking("files in the middle"))
    assert said == {"before": "9", "meanwhile": str([n * n for n in range(8)]), "afterwards": "25"}


@pytest.mark.slow
def test_no_more_processes_are_a_clear_error() -> None:
    """Behaviour 107. A worker that cannot be started."""
    [said] = lacking("processes")
    assert "can't start new thread" in said or "ulimit -u" in said


@pytest.mark.slow
def test_memory_that_runs_out_for_one_result_costs_that_task_only() -> None:
    said = dict(line.split(": ", 1) for line in lacking("memory"))
    assert said["before"] == "9"
    assert said["afterwards"] == "25"
    assert "WorkerDied" in said["large"] or "MemoryError" in said["large"]
