"""A pool in every kind of `__main__`: it works, or says why not; it never hangs or forks endlessly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# As an argument of the program.
with_each_method = pytest.mark.parametrize(
    "method", [[], ["fork"], ["spawn"], ["forkserver"]], ids=["none", "fork", "spawn", "forkserver"]
)

PROGRAM = """
import stoppable

def square(x):
    return x * x

{guard}
    with stoppable.ProcessPoolExecutor(2) as pool:
        print(list(pool.map(square, range(4))))
"""
GUARDED = PROGRAM.format(guard="if __name__ == '__main__':")
BARE = PROGRAM.format(guard="if True:")


def _run(
    *args: str, stdin: str | None = None, cwd: Path | None = None, bound_s: float = 60
) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, *args],
        env=env,
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=bound_s,
        check=False,
    )


@pytest.mark.slow
def test_a_script_with_the_guard_works(tmp_path: Path) -> None:
    """Behaviour 110."""
    (tmp_path / "prog.py").write_text(GUARDED)
    ended = _run("prog.py", cwd=tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[0, 1, 4, 9]\n", "", 0)


INITIALIZED = """
import multiprocessing, sys
import stoppable

class Settings:
    def __init__(self, value):
        self.value = value

def set_up(settings):
    global here
    here = settings.value

def read():
    return here

if __name__ == '__main__':
    context = multiprocessing.get_context(sys.argv[1]) if sys.argv[1:] else None
    with stoppable.ProcessPoolExecutor(1, context, initializer=set_up, initargs=(Settings(7),)) as pool:
        print(pool.submit(read).result())
"""


@pytest.mark.slow
@with_each_method
def test_the_initializer_and_what_it_is_given_may_be_of_the_main_script(method: list[str], tmp_path: Path) -> None:
    """Behaviour 151. It was read before the main script was there, and no worker could be made ready."""
    (tmp_path / "prog.py").write_text(INITIALIZED)
    ended = _run("prog.py", *method, cwd=tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("7\n", "", 0)


@pytest.mark.slow
def test_the_initializer_may_be_of_a_main_script_that_no_worker_can_import(tmp_path: Path) -> None:
    """What travels by value has globals of its own, so it keeps what it sets somewhere else."""
    program = INITIALIZED.replace("if __name__ == '__main__':", "if True:")
    program = program.replace("global here\n    here", "sys.here").replace("return here", "return sys.here")
    ended = _run("-c", program, cwd=tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("7\n", "", 0)


ASKING = """
import multiprocessing as mp, os, sys
import stoppable

def facts():
    parent = mp.parent_process()
    return mp.current_process().name, mp.current_process()._identity[0], parent.pid, parent.name, parent.is_alive()

AT_IMPORT = mp.parent_process() is not None and facts()

def ask():
    return os.getpid(), AT_IMPORT, facts(), mp.get_start_method(), bytes(mp.current_process().authkey)

if __name__ == '__main__':
    mp.set_start_method('spawn')
    context = mp.get_context(sys.argv[1]) if sys.argv[1:] else None
    with stoppable.ProcessPoolExecutor(1, context, name='pool') as pool:
        worker, at_import, later, method, key = pool.submit(ask).result()
    name, number, pid, parent, alive = later
    if context is None:
        assert at_import == later, (at_import, later)
    assert number in (1, 2), number  # one is spare
    assert (name, pid, parent, alive) == (f'pool-{worker}', os.getpid(), 'MainProcess', True), later
    assert (method, key) == ('spawn', bytes(mp.current_process().authkey)), method
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", [[], ["fork"]], ids=["none", "fork"])
def test_a_worker_looks_like_a_process_that_multiprocessing_has_started(method: list[str], tmp_path: Path) -> None:
    """Behaviour 154. Also while the main script is run again: some modules do another thing in a "MainProcess"."""
    (tmp_path / "prog.py").write_text(ASKING)
    ended = _run("prog.py", *method, cwd=tmp_path)
    assert (ended.stderr, ended.returncode) == ("", 0)


SHARING = """
import multiprocessing, os, sys
from multiprocessing.shared_memory import SharedMemory
import stoppable

def make():
    made = SharedMemory(create=True, size=100)
    made.buf[:5] = b'hello'
    made.close()
    return os.getpid(), made.name

def read(name):
    found = SharedMemory(name)
    text = bytes(found.buf[:5])
    found.close()
    return os.getpid(), text

def gone(pid):
    while os.path.exists(f'/proc/{pid}'):
        pass

if __name__ == '__main__':
    context = multiprocessing.get_context(sys.argv[1]) if sys.argv[1:] else None
    ours = SharedMemory(create=True, size=100)  # of which the standard library starts its tracker
    ours.buf[:5] = b'world'
    with stoppable.ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        maker, name = pool.submit(make).result()
        gone(maker)
        readers = [pool.submit(read, each).result() for each in (name, ours.name, name, ours.name)]
        for pid, _ in readers:
            gone(pid)
    print(*[text.decode() for _, text in readers])
    for memory in (SharedMemory(name), ours):
        memory.close()
        memory.unlink()
"""


@pytest.mark.slow
@with_each_method
def test_shared_memory_outlives_the_workers_that_made_or_opened_it(method: list[str], tmp_path: Path) -> None:
    """Behaviour 155. Each worker had a resource tracker of its own, which unlinked it with the worker's end."""
    (tmp_path / "prog.py").write_text(SHARING)
    ended = _run("prog.py", *method, cwd=tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("hello world hello world\n", "", 0)


@pytest.mark.slow
def test_a_script_without_the_guard_says_what_is_missing_and_starts_no_storm(tmp_path: Path) -> None:
    """Behaviour 110."""
    (tmp_path / "prog.py").write_text(f"open('started', 'a').write('x')\n{BARE}")
    ended = _run("prog.py", cwd=tmp_path)
    assert ended.returncode == 1
    assert "if __name__ == '__main__':" in ended.stderr
    assert len((tmp_path / "started").read_text()) <= 5


@pytest.mark.slow
def test_python_c_works(tmp_path: Path) -> None:
    """Behaviour 110."""
    ended = _run("-c", BARE, cwd=tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[0, 1, 4, 9]\n", "", 0)


@pytest.mark.slow
def test_python_m_works(tmp_path: Path) -> None:
    """Behaviour 110."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "part.py").write_text(GUARDED)
    ended = _run("-m", "package.part", cwd=tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[0, 1, 4, 9]\n", "", 0)


@pytest.mark.slow
@pytest.mark.parametrize("program", [GUARDED, BARE], ids=["guarded", "bare"])
def test_a_package_run_by_m_works(program: str, tmp_path: Path) -> None:
    """Behaviour 110."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(program)
    ended = _run("-m", "package", cwd=tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[0, 1, 4, 9]\n", "", 0)


@pytest.mark.slow
def test_a_folder_or_zip_run_as_a_program_works(tmp_path: Path) -> None:
    """Behaviour 110."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text(GUARDED)
    ended = _run("app", cwd=tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[0, 1, 4, 9]\n", "", 0)


@pytest.mark.slow
def test_a_program_from_stdin_works(tmp_path: Path) -> None:
    """Behaviour 110."""
    ended = _run("-", stdin=BARE, cwd=tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[0, 1, 4, 9]\n", "", 0)


@pytest.mark.slow
def test_an_interactive_session_works(tmp_path: Path) -> None:
    """Behaviour 110."""
    typed = (
        "import stoppable\n"
        "def square(x):\n"
        "    return x * x\n"
        "\n"
        "pool = stoppable.ProcessPoolExecutor(2)\n"
        "print(list(pool.map(square, range(4))))\n"
        "def cube(x):\n"
        "    return x * square(x)\n"
        "\n"
        "print(list(pool.map(cube, range(4))))\n"
    )
    ended = _run("-i", "-q", stdin=typed, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split("\n")[:2] == ["[0, 1, 4, 9]", "[0, 1, 8, 27]"]


@pytest.mark.slow
def test_code_interact_works(tmp_path: Path) -> None:
    """Behaviour 110."""
    typed = (
        "import stoppable\n"
        "pool = stoppable.ProcessPoolExecutor(1)\n"
        "print(pool.submit(lambda: 6 * 7).result(30))\n"
        "pool.shutdown()\n"
    )
    ended = _run("-c", "import code; code.interact(banner='', exitmsg='')", stdin=typed, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "42" in ended.stdout


@pytest.mark.slow
def test_a_function_of_a_notebook_works_and_is_taken_anew_when_it_changes(tmp_path: Path) -> None:
    """Behaviour 110. A notebook runs its cells by exec in a `__main__` that has no file."""
    kernel = (
        "import sys, types\n"
        "main = types.ModuleType('__main__')\n"
        "sys.modules['__main__'] = main\n"
        "def cell(source): exec(compile(source, '<cell>', 'exec'), main.__dict__)\n"
        "cell('import stoppable\\npool = stoppable.ProcessPoolExecutor(1)')\n"
        "cell('def f(x): return x + 1')\n"
        "cell('print(pool.submit(f, 1).result(30))')\n"
        "cell('def f(x): return x + 10')\n"
        "cell('print(pool.submit(f, 1).result(30))')\n"
        "cell('class Thing:\\n    def __init__(self, n): self.n = n')\n"
        "cell('print(pool.submit(lambda t: t.n, Thing(7)).result(30))')\n"
        "cell('print(type(pool.submit(Thing, 3).result(30)) is Thing)')\n"
        "cell('pool.shutdown()')\n"
    )
    (tmp_path / "kernel.py").write_text(kernel)
    ended = _run("kernel.py", cwd=tmp_path)
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert ended.stdout.split() == ["2", "11", "7", "True"]


@pytest.mark.slow
def test_a_script_whose_import_fails_in_the_worker_says_so(tmp_path: Path) -> None:
    """Behaviours 107, 110."""
    (tmp_path / "prog.py").write_text(
        "if __name__ != '__main__':\n    raise RuntimeError('not to be imported')\n" + GUARDED
    )
    ended = _run("prog.py", cwd=tmp_path)
    assert ended.returncode == 1
    assert "not to be imported" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_script_works_under_each_start_method(method: str, tmp_path: Path) -> None:
    """Behaviour 110."""
    program = GUARDED.replace(
        "ProcessPoolExecutor(2)", f"ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({method!r}))"
    )
    (tmp_path / "prog.py").write_text("import multiprocessing\n" + program)
    ended = _run("prog.py", cwd=tmp_path)
    assert (ended.stdout, ended.returncode) == ("[0, 1, 4, 9]\n", 0), ended.stderr
