"""Interrupting the cells of a notebook: one KeyboardInterrupt, and the pool goes on."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("jupyter_client") is None or find_spec("ipykernel") is None, reason="no kernel here"),
]

FIRST = """
import logging, sys, threading, time, stoppable
logging.getLogger("stoppable").setLevel(logging.ERROR)  # whichever cell runs then would have the line about an interrupt
from concurrent.futures import wait
from stoppable import ProcessPoolExecutor
pool = ProcessPoolExecutor(2)
def nap(seconds):
    stoppable.sleep(seconds)
    return seconds
def say_ready_once_it_waits():
    main = threading.main_thread().ident
    while "latch.py" not in sys._current_frames()[main].f_code.co_filename:
        time.sleep(0.005)
    print("ready", flush=True)
print(pool.submit(nap, 0.1).result())
"""
IN_RESULT = """
task = pool.submit(nap, 1000)
while not task.running(): time.sleep(0.01)
print("ready", flush=True)
task.result()
"""
AFTER_RESULT = """
print(task.done(), pool.submit(nap, 0).result())
task.stop_and_wait()
print(task.stopped())
"""
IN_MAP = """
for number in (results := pool.map(nap, [0, 1000, 1000])):
    # Not here: what is raised in the body of a loop is nothing to what it iterates over.
    threading.Thread(target=say_ready_once_it_waits).start()
"""
AFTER_MAP = "print(pool.submit(nap, 0).result())"
IN_WITH = """
with ProcessPoolExecutor(1) as inner:
    task = inner.submit(nap, 1000)
    while not task.running(): time.sleep(0.01)
    print("ready", flush=True)
"""
AFTER_WITH = "print(task.result() if not task.stopped() else 'stopped', pool.submit(nap, 0).result())"
IN_STUBBORN = """
# twice
def deaf():
    stoppable.progress(0)
    while True:
        try: time.sleep(1000)
        except BaseException: pass
with ProcessPoolExecutor(1, policy=stoppable.StopPolicy(ask=1000)) as inner:
    task = inner.submit(deaf)
    while task.progress is None: time.sleep(0.01)
    print("ready", flush=True)
"""
AFTER_STUBBORN = "print(task.stopped(), pool.submit(nap, 0).result())"
LAST = "pool.shutdown()"


def run(cells: list[str], folder: Path) -> list[str]:
    """Run *cells* in a kernel; return what each wrote."""
    folders = {name: str(folder) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "HOME")}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("notebook.py"))],
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        env={**os.environ, **folders, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    written: list[str] = json.loads(done.stdout)
    return written


def test_the_notebook_among_the_examples_writes_what_is_saved_in_it(tmp_path: Path) -> None:
    """Behaviour 110. Functions made in a cell run in the workers."""
    path = Path(__file__).parents[2] / "examples" / "notebook.ipynb"
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    saved = ["".join(line for output in cell["outputs"] for line in output["text"]) for cell in cells]
    assert sum(map(bool, saved)) == 3
    assert run(["".join(cell["source"]) for cell in cells], tmp_path) == saved


def test_an_interrupted_cell_raises_once_and_the_next_one_can_use_the_pool(tmp_path: Path) -> None:
    """Behaviours 95, 110. A `with` and `map` stop their tasks; one waited for by `result()` goes on until it is stopped."""
    cells = [FIRST, IN_RESULT, AFTER_RESULT, IN_MAP, AFTER_MAP, IN_WITH, AFTER_WITH, IN_STUBBORN, AFTER_STUBBORN, LAST]
    first, in_result, after_result, in_map, after_map, in_with, after_with, *stubborn, last = run(cells, tmp_path)
    assert first == "0.1\n"
    assert in_result == "ready\nKeyboardInterrupt\n"
    assert after_result == "False 0\nTrue\n"
    assert in_map == "ready\nKeyboardInterrupt\n"
    assert after_map == "0\n"
    assert in_with.startswith("ready\n")
    assert in_with.count("KeyboardInterrupt") == 1
    assert after_with == "stopped 0\n"
    assert stubborn[0].count("KeyboardInterrupt") == 1
    assert stubborn[1] == "True 0\n"
    assert last == ""
