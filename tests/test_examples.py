"""The examples are run as users run them, and do what their texts say."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
HANG_S = 60
STOCK = "from concurrent.futures import ProcessPoolExecutor"


def run(*command: str | Path, status: int = 0) -> list[str]:
    """Run a Python program in a fresh interpreter; return the lines of its output."""
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout.splitlines()


def stock(name: str, folder: Path) -> Path:
    """Return a copy of the example *name* with its one changed line changed back."""
    lines = (EXAMPLES / name).read_text().splitlines()
    changed = [line for line in lines if re.match(r"(from|import) stoppable\b", line)]
    assert changed == ["from stoppable import ProcessPoolExecutor  # the one changed line"]
    copy = folder / name
    copy.write_text("\n".join(STOCK if line in changed else line for line in lines))
    return copy


@pytest.mark.parametrize("name", ["tutorial_cancel.py", "tutorial_manager.py"])
def test_a_tutorial_program_has_one_line_that_is_not_for_the_standard_library(name: str, tmp_path: Path) -> None:
    tree = ast.parse(stock(name, tmp_path).read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    modules = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imported}
    assert {str(module).partition(".")[0] for module in modules} <= sys.stdlib_module_names
    assert "stoppable" not in ast.unparse([node for node in tree.body if not isinstance(node, ast.Expr)])


@pytest.mark.slow
def test_the_cancel_that_has_no_effect_in_the_standard_executor_ends_the_task_here(tmp_path: Path) -> None:
    """Behaviour 37."""
    lines = ["The task is running...", "Cancel the task...", "Waiting...", "All done."]
    # The task marks its end in a file, so that no clock is needed to tell whether it ran to its end.
    ends = {}

    def go(name: str, program: Path) -> None:
        end = tmp_path / f"{name}.end"
        text = program.read_text().replace(
            "        sleep(1)\n", f"        sleep(1)\n    open({str(end)!r}, 'w').close()\n"
        )
        copy = tmp_path / f"marked_{name}.py"
        copy.write_text(text)
        assert run(copy) == lines
        ends[name] = end.exists()

    behind = threading.Thread(target=go, args=("stock", stock("tutorial_cancel.py", tmp_path)))
    behind.start()
    try:
        go("ours", EXAMPLES / "tutorial_cancel.py")
    finally:
        behind.join(HANG_S)
    assert ends == {"stock": True, "ours": False}


@pytest.mark.slow
def test_the_manager_program_runs_unchanged_but_for_its_import() -> None:
    lines = run(EXAMPLES / "tutorial_manager.py")
    spoken = [line for line in lines if not line.startswith("The task was told")]
    assert spoken == ["The task is running...", "Stopping the task...", "Waiting...", "All done."]


@pytest.mark.slow
@pytest.mark.parametrize("option", [[], ["--stock"]])
def test_an_event_stops_a_task_in_our_executor_and_in_the_standard_one(option: list[str]) -> None:
    """Behaviour 22."""
    *lines, seen, last = run(EXAMPLES / "tutorial_event.py", *option)
    assert lines == ["The task is running...", "Stopping the task...", "Waiting..."]
    assert re.fullmatch(r"The task saw the flag after block \d, cleaned up and returned\.", seen)
    assert last == "All done."


@pytest.mark.slow
def test_grading_loses_exactly_the_four_files_that_never_end() -> None:
    """Behaviours 55, 56, 57, 58, 66."""
    lines = run(EXAMPLES / "grading.py")
    files = {path.name for path in (EXAMPLES / "snippets").glob("*.py")}
    assert len(files) >= 44
    result = re.compile(r" *[\d.]+ s +\d+/\d+ +(\w+\.py) +(.+)")
    results = {found[1]: found[2] for line in lines if (found := result.fullmatch(line))}
    assert set(results) == files
    stopped = {name: text.rpartition(" ")[2] for name, text in results.items() if "out of time" in text}
    # "ring" is one call into C that looks for no signal, so an interrupt does not reach it.
    assert stopped == {
        "ring.py": "terminate",
        "nap.py": "interrupt",
        "spin.py": "interrupt",
        "stubborn.py": "kill",
    }
    for name in stopped:
        where = lines.index(next(line for line in lines if line.startswith(f"{name:13} stopped by")))
        assert any(name in line and "in " in line for line in lines[where + 1 : where + 6]), f"no stack of {name}"
    assert lines[-1] == f"{len(files) - 4} graded, 4 timeouts, 0 lost: as it should be"


@pytest.mark.slow
def test_the_service_stops_the_work_of_a_client_that_has_gone_and_answers_the_next_one() -> None:
    """Behaviour 53."""
    lines = run(EXAMPLES / "service.py")
    work = [line for line in lines[1:] if line.startswith("service")]
    assert work == ["service: the client has gone", "service: stopped: the await of it was cancelled"]
    assert [line for line in lines[1:] if line not in work] == ["client: the largest prime is 997"]


@pytest.mark.slow
def test_the_demo_ends_well_and_says_so() -> None:
    lines = run(EXAMPLES / "demo.py")
    assert lines[-1] == "Everything was as claimed."
    assert not [line for line in lines if line.startswith("  NO")]


def test_the_demo_counts_a_process_that_is_left_over() -> None:
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    demo = module.Demo()
    try:
        assert demo.processes() == []
        name, _, value = demo.mark.partition("=")
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={**os.environ, name: value}) as left:
            end = time.monotonic() + HANG_S
            while not (found := demo.processes()):  # its environment is there a moment after itself
                assert time.monotonic() < end
            assert [line.split()[0] for line in found] == [str(left.pid)]
    finally:
        shutil.rmtree(demo.scratch)


def test_each_snippet_names_an_exercise_that_has_cases() -> None:
    text = (EXAMPLES / "grader.py").read_text()
    for path in (EXAMPLES / "snippets").glob("*.py"):
        exercise = path.read_text().partition("\n")[0].removeprefix("# exercise: ")
        assert f'"{exercise}": [' in text, path.name
