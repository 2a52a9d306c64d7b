"""Ctrl-C on a terminal, wherever a program may wait for a pool: once, twice, and held down."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pressing
from terminal import Terminal

WAITS = ["submit", "map", "result", "wait", "as_completed", "construct"]
HELD_S = 2.0
EVERY_S = 0.03

Start = Callable[..., Terminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Terminal] = []

    def start(scene: str, how: str = "plain") -> Terminal:
        started.append(Terminal(pressing, scene, how, str(tmp_path)))
        started[-1].expect("ready")
        if scene == "exit":
            time.sleep(0.3)  # a press on the way there falls into Python's own code: see docs/signals.md
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


@pytest.mark.slow
@pytest.mark.parametrize("scene", [*WAITS, "leaving", "shutdown", "exit"])
def test_one_ctrl_c_ends_the_program_with_one_traceback_and_status_130(start: Start, scene: str) -> None:
    """Behaviour 95."""
    terminal = start(scene)
    terminal.press()
    assert terminal.end() == 130, terminal.text
    assert terminal.text.count("Traceback") == 1, terminal.text
    assert terminal.text.count("\nKeyboardInterrupt\n") == 1, terminal.text


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["submit", "map", "result", "as_completed", "construct"])
def test_a_program_that_catches_the_ctrl_c_can_use_its_pool_further(start: Start, scene: str) -> None:
    """Behaviour 95."""
    terminal = start(scene, "caught")
    terminal.press()
    assert terminal.end() == 0, terminal.text
    lines = terminal.text.splitlines()  # among them what the pool says of the tasks that it stops, whenever it does
    assert lines.index("caught") < lines.index("works 4")
    assert "Traceback" not in terminal.text


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["executor", "wrapped"])
def test_a_ctrl_c_in_an_asyncio_program_stops_the_task_that_is_awaited(start: Start, scene: str) -> None:
    """Behaviours 53, 95. asyncio cancels its main task for it, and then raises KeyboardInterrupt."""
    terminal = start(scene)
    terminal.press("KeyboardInterrupt")
    assert terminal.end() == 130, terminal.text


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["submit", "map", "wait", "result", "leaving", "construct", "exit", "executor"])
def test_ctrl_c_held_down_ends_the_program_and_leaves_nothing(start: Start, scene: str) -> None:
    """Behaviour 95."""
    terminal = start(scene)
    terminal.hold(HELD_S, EVERY_S)
    assert terminal.end() == 130, terminal.text


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["executor", "wrapped"])
def test_a_second_ctrl_c_in_an_asyncio_program_kills_a_task_that_goes_on(start: Start, scene: str) -> None:
    """Behaviour 95. The first is asyncio's; once its loop has ended, the end of the `with` waits for the task."""
    terminal = start(scene, "lingering")
    terminal.press("Ctrl-C again kills them")
    time.sleep(0.7)  # what is tested is this interval
    terminal.hold(10.0, 0.6)  # until it has ended: one that comes just before a lock sleeps is not heard
    assert terminal.end() == 130, terminal.text


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["result", "wait", "as_completed", "shutdown", "exit"])
def test_a_second_ctrl_c_kills_tasks_that_go_on_after_the_first(start: Start, scene: str) -> None:
    """Behaviour 95."""
    terminal = start(scene, "lingering")
    terminal.press()
    terminal.expect("Ctrl-C again kills them")
    time.sleep(0.7)  # what is tested is this interval
    terminal.press("press 2")
    assert terminal.end() == 130, terminal.text
    assert terminal.text.count("Traceback") == 1, terminal.text
