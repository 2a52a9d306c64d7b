"""What is left when the process that has the pool ends, however it ends and whatever its workers do: nothing.

A promise in seconds needs a quiet machine; here it is only a bound on a hang. `make parent-death` measures it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import branding
import doomed
import parent_death
from watching import await_file, is_alive, until

METHODS = ("none", "fork", "spawn", "forkserver")
BOUND_S = 15.0


@pytest.fixture
def brand() -> Iterator[int]:
    """The brand of a program; whoever carries it at the end is ended."""
    number = branding.new()
    yield number
    branding.kill(number)


def _start(brand: int, method: str, scene: str, folder: Path, ending: str = "SIGKILL") -> "subprocess.Popen[str]":
    """Start the program and wait until its scene is set."""
    with (folder / "stderr").open("w") as stderr:
        program = subprocess.Popen(
            [sys.executable, doomed.__file__, str(brand), method, scene, ending, str(folder)],
            # Its own temp folder: multiprocessing's helpers cannot tidy up for a parent that was killed.
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n", (folder / "stderr").read_text()
    return program


def _kill(program: "subprocess.Popen[str]") -> None:
    program.kill()
    _await_end(program)


def _await_end(program: "subprocess.Popen[str]") -> int:
    """Return the exit code; not by `communicate`, which waits for all that hold the program's stdout."""
    code = program.wait(30)
    for pipe in (program.stdin, program.stdout):
        assert pipe is not None
        pipe.close()
    return code


def _nothing_is_left(brand: int) -> None:
    assert branding.await_end(brand, BOUND_S) is not None, f"alive after {BOUND_S} s: {branding.described(brand)}"


@pytest.mark.slow
@pytest.mark.parametrize("ending", doomed.ENDINGS)
@pytest.mark.parametrize("method", METHODS)
def test_whatever_way_the_parent_ends_and_whatever_its_tasks_do_nothing_is_left(
    method: str, ending: str, brand: int, tmp_path: Path
) -> None:
    """Behaviours 97, 98. The pool was made in a thread that has ended.

    Workers are idle, asleep, in C with the GIL held, deaf to signals, stopped, in a pool of their own; and
    descendants in sessions of their own, stopped, deaf, daemons, without our environment.
    """
    program = _start(brand, method, "everything", tmp_path, ending)
    assert len(branding.bearers(brand)) > 25
    assert program.stdin is not None
    program.stdin.write("go\n")
    program.stdin.flush()
    assert _await_end(program) == doomed.ENDINGS[ending][1], (tmp_path / "stderr").read_text()
    _nothing_is_left(brand)


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["starting", "climbing", "leaving", "warden_stopped", "warden_killed"])
@pytest.mark.parametrize("method", METHODS)
def test_whenever_the_parent_is_killed_nothing_is_left(method: str, scene: str, brand: int, tmp_path: Path) -> None:
    """Behaviour 97. Also while the pool starts, stops, shuts down, or has lost its warden."""
    _kill(_start(brand, method, scene, tmp_path))
    _nothing_is_left(brand)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_parent_killed_while_it_is_sent_50_mb_leaves_nothing(method: str, brand: int, tmp_path: Path) -> None:
    """Behaviour 97."""
    program = _start(brand, method, "sending", tmp_path)
    worker = int(await_file(tmp_path / "begun"))
    program.send_signal(signal.SIGSTOP)
    until(lambda: Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "S", "it waits to go on")
    _kill(program)
    _nothing_is_left(brand)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "scene"),
    [*((method, "sibling") for method in METHODS), ("spawn", "unguarded"), ("forkserver", "unguarded")],
)
def test_a_sibling_that_inherited_every_descriptor_keeps_no_worker_alive(
    method: str, scene: str, brand: int, tmp_path: Path
) -> None:
    """Behaviours 97, 111. The end of a socket would not tell: a forked sibling holds it open.

    Not even a worker that was started in that instant, which its guard has not been told of.
    """
    program = _start(brand, method, scene, tmp_path)
    sibling = int((tmp_path / "sibling").read_text())
    _kill(program)
    # multiprocessing's own helpers wait for the end of a pipe, which the sibling holds open.
    until(lambda: not _ours(brand, sibling), f"nothing of {branding.described(brand)}", BOUND_S)
    assert is_alive(sibling)


def _ours(brand: int, sibling: int) -> list[int]:
    return [pid for pid in branding.bearers(brand) if pid != sibling and not _is_helper(pid)]


def _is_helper(pid: int) -> bool:
    text = branding.describe(pid)
    return "resource_tracker" in text or "forkserver" in text


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_a_busy_parent_killed_at_a_random_instant_leaves_nothing(method: str, seed: int) -> None:
    """Behaviour 97."""
    one = parent_death.run(method, seed, BOUND_S)
    assert not one.failed
    assert not one.late


@pytest.mark.slow
@pytest.mark.parametrize("method", ["none", "spawn"])
@pytest.mark.parametrize("way", [way for way in parent_death.WAYS if way != "SIGKILL"])
def test_a_busy_parent_that_ends_in_any_way_at_a_random_instant_leaves_nothing(way: str, method: str) -> None:
    """Behaviour 97. The others, and 200 instants, are those of `make parent-death`."""
    one = parent_death.run(method, 1, BOUND_S, way)
    assert not one.failed
    assert not one.late
