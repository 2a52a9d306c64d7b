"""What is loaded when: importing the package is light, and so is a worker."""

import subprocess
import sys
from pathlib import Path

import pytest

import stoppable

LOADED = "sorted(__import__('sys').modules)"


def loaded_here(code: str) -> list[str]:
    program = f"{code}\nprint(*{LOADED})"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_importing_the_package_loads_no_pool_and_starts_no_thread():
    program = "import threading; import stoppable; assert threading.active_count() == 1"
    more = set(loaded_here(program)) - set(loaded_here("import threading"))
    assert not more & {"multiprocessing", "asyncio", "ctypes", "socket", "cloudpickle", "logging", "concurrent.futures"}
    assert {name for name in more if name.startswith("stoppable")} == {"stoppable"}


def test_a_program_that_names_the_standard_errors_by_their_module_finds_it():
    """It said `from concurrent.futures import ProcessPoolExecutor` before, which loads that module."""
    program = "import concurrent.futures; import stoppable; stoppable.ProcessPoolExecutor(1)"
    assert "concurrent.futures.process" in loaded_here(program)


def test_the_class_of_the_pool_loads_nothing_that_only_a_pool_needs_and_a_pool_all_that_its_tasks_need():
    """A worker that runs the main script again imports the class. A Ctrl-C in an import of the first `submit` could be lost."""
    loaded = set(loaded_here("import stoppable; stoppable.ProcessPoolExecutor"))
    assert "stoppable.executor" in loaded
    assert not {"stoppable.shell.reactor", "stoppable.core.machine", "stoppable.shell.launch"} & loaded
    assert not {"stoppable.flags.token", "stoppable.worker.page", "ctypes", "multiprocessing", "socket"} & loaded
    made = "import stoppable; pool = stoppable.ProcessPoolExecutor(1)"
    used = (
        f"{made}; before = {LOADED}; pool.submit(abs, 1).result(); print(*set({LOADED}) - set(before)); pool.shutdown()"
    )
    program = subprocess.run([sys.executable, "-c", used], capture_output=True, text=True, check=True)
    assert not [name for name in program.stdout.split() if name.startswith("stoppable")]


def test_the_flag_loads_no_pool():
    more = loaded_here("import stoppable; stoppable.Event().set(); stoppable.StopToken().is_set()")
    ours = {name.split(".")[1] for name in more if name.startswith("stoppable.")}
    assert ours <= {"flags", "requested", "reason", "frozen"}
    assert "multiprocessing" not in more


def test_a_worker_that_runs_a_task_has_loaded_nothing_of_the_parents_side():
    with stoppable.ProcessPoolExecutor(1) as pool:
        loaded = pool.submit(eval, LOADED).result(60)
    rooms = {name.split(".")[1] for name in loaded if name.startswith("stoppable.")}
    assert "worker" in rooms
    assert not rooms & {
        "executor",
        "future",
        "mapping",
        "options",
        "died",
        "groups",
        "aio",
        "engines",
        "cli",
        "control",
    }
    assert not {"stoppable.shell.reactor", "stoppable.shell.hands", "stoppable.core.machine"} & set(loaded)
    assert not {"asyncio", "anyio", "textual", "numpy"} & set(loaded)
    # Half of what a worker's start took, before it was without them.
    dear = {"concurrent.futures", "logging", "traceback", "dataclasses", "inspect", "hashlib", "random", "platform"}
    assert not dear & set(loaded)


@pytest.mark.parametrize(
    ("first", "there"), [("from stoppable import ProcessPoolExecutor", True), ("import stoppable", False)]
)
def test_workers_of_a_script_that_has_the_pools_class_have_it_from_their_warden(
    first: str, there: bool, tmp_path: Path
):
    """Each of them would import it, and be slower to start and to die, and share less memory."""
    script = tmp_path / "main.py"
    script.write_text(
        "import sys\n"
        "THERE = 'stoppable.executor' in sys.modules\n"
        f"{first}\n"
        "def there(): return THERE, 'stoppable.shell.reactor' in sys.modules\n"
        "if __name__ == '__main__':\n"
        "    import stoppable\n"
        "    with stoppable.ProcessPoolExecutor(1) as pool: print(THERE, *pool.submit(there).result(60))\n"
    )
    program = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert program.stdout.split() == ["False", str(there), "False"]


def test_a_process_without_the_c_pickle_says_so_at_once():
    """Found by failing each `open` of a warden: `pickle` goes on without its C module, and lacks what big buffers need."""
    program = "import sys; sys.modules['_pickle'] = None; import stoppable.wire"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "cannot import name 'PickleBuffer'" in ended.stderr
