"""Ctrl-C while a task group runs, in its block and while it is waited for."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import grouped

BOUND_S = 30.0


class Program:
    """`grouped.py` in a session of its own, and the lines that it has written."""

    def __init__(self, scene: str, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(grouped.__file__)), scene, str(folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.text = ""
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def expect(self, text: str) -> None:
        end = time.monotonic() + BOUND_S
        while text not in self.text:
            try:
                self.text += self._lines.get(timeout=end - time.monotonic())
            except (queue.Empty, ValueError):
                raise AssertionError(f"no {text!r} in {self.text!r}") from None

    def press(self, heard: str) -> None:
        os.kill(self.process.pid, signal.SIGINT)
        self.expect(heard)

    def end(self) -> int:
        code = self.process.wait(BOUND_S)
        self._reader.join(BOUND_S)
        while not self._lines.empty():
            self.text += self._lines.get()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Program]:
    made = Program(request.param, tmp_path)
    yield made
    made.close()


SCENES = pytest.mark.parametrize("program", ["block", "leaving"], indirect=True)


@pytest.mark.slow
@SCENES
def test_leaving_a_group_by_ctrl_c_waits_for_its_tasks(program: Program, tmp_path: Path) -> None:
    """Behaviour 87. They are asked and may clean up; then the KeyboardInterrupt passes, bare."""
    program.expect("ready")
    program.press("press 1")
    program.expect("the group: stopping 2 tasks; Ctrl-C again kills them")
    (tmp_path / "go").write_text("go")
    assert program.end() != 0
    assert "all ended: True" in program.text
    assert program.text.count("end: cleaned up interrupt") == 2
    assert "KeyboardInterrupt" in program.text
    assert "ExceptionGroup" not in program.text


@pytest.mark.slow
@SCENES
def test_a_second_ctrl_c_kills_the_tasks_of_a_group(program: Program) -> None:
    """Behaviour 87. And then, too, they have ended when the group is left."""
    program.expect("ready")
    program.press("press 1")
    program.expect("Ctrl-C again kills them")
    time.sleep(0.7)  # what is tested is this interval
    program.press("press 2")
    assert program.end() != 0
    assert "all ended: True" in program.text
    assert program.text.count("end: stopped kill") == 2
