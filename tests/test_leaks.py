"""The look at what a test leaves behind sees each kind of thing, and is silent when there is none."""

import itertools
import multiprocessing
import multiprocessing.shared_memory
import os
import select
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

import leaks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SHORT_S = 0.05  # to settle; what is looked for here never does

# Starts a process in a session of its own, prints its pid, and leaves; it lives until its stdin is closed.
ORPHAN = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=0, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, start_new_session=True)
print(child.pid, flush=True)
child.returncode = 0  # it is left alone on purpose, so no warning
"""

# Maps the file named by its argument into a process of which this one knows nothing, prints its pid, and leaves.
STRANGER = """
import mmap, os, sys
file = open(sys.argv[1], "w+b")
file.truncate(4096)
block = mmap.mmap(file.fileno(), 4096)
pid = os.fork()
if pid == 0:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.read(0, 1)
    os._exit(0)
print(pid, flush=True)
os._exit(0)
"""


def found(before: leaks.Snapshot, *folders: Path) -> str:
    return "\n".join(leaks.leftovers(before, folders, SHORT_S))


def test_nothing_is_reported_when_nothing_is_left():
    assert leaks.leftovers(leaks.snapshot(), (), SHORT_S) == []


def test_a_child_that_lives_is_reported():
    before = leaks.snapshot()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert f"process {child.pid} (" in found(before)
        assert child.stdin
        child.stdin.write(b"\n")
    assert found(before) == ""


def test_a_child_that_was_not_reaped_is_reported():
    before = leaks.snapshot()
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", ""])
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert f"process {pid} (" in found(before)
    assert "state Z" in found(before)
    os.waitpid(pid, 0)


def test_an_orphan_in_its_own_session_is_reported():
    before = leaks.snapshot()
    reader, writer = os.pipe()
    parent = subprocess.run([sys.executable, "-c", ORPHAN], stdin=reader, capture_output=True, text=True, timeout=60)
    os.close(reader)
    pid = int(parent.stdout)
    assert f"process {pid} (" in found(before)
    os.close(writer)
    assert leaks.leftovers(before) == []


def test_an_orphan_that_was_only_forked_is_reported():
    before = leaks.snapshot()
    told, tell = os.pipe()
    wait, let_go = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.close(let_go)
            os.write(tell, str(os.getpid()).encode())
            os.read(wait, 1)
        os._exit(0)
    os.waitpid(child, 0)
    pid = int(os.read(told, 100))
    report = found(before)
    for fd in (told, tell, wait, let_go):
        os.close(fd)
    assert f"process {pid} (" in report
    assert leaks.leftovers(before) == []


def test_a_thread_is_reported():
    before = leaks.snapshot()
    go = threading.Event()
    thread = threading.Thread(target=go.wait, name="left-alone")
    thread.start()
    assert found(before) == "thread 'left-alone'"
    go.set()
    thread.join()
    assert found(before) == ""


def test_a_file_descriptor_is_reported():
    before = leaks.snapshot()
    fd = os.memfd_create("left-open")
    assert f"file descriptor {fd} -> /memfd:left-open" in found(before)
    os.close(fd)
    assert found(before) == ""


def test_a_descriptor_that_is_now_something_else_is_reported():
    first = os.memfd_create("first")
    before = leaks.snapshot()
    second = os.memfd_create("second")
    os.dup2(second, first)
    os.close(second)
    assert f"file descriptor {first} -> /memfd:second" in found(before)
    os.close(first)


def test_shared_memory_is_reported():
    before = leaks.snapshot()
    # Mapped, so that a second run of the tests on this machine sees that it is not its own.
    block = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
    try:
        assert f"file /dev/shm/{block.name.lstrip('/')}" in found(before)
    finally:
        block.close()
        block.unlink()


def test_shared_memory_that_only_another_program_maps_is_not_reported():
    before = leaks.snapshot()
    path = Path("/dev/shm") / f"stoppable-{os.getpid()}-other"
    reader, writer = os.pipe()
    unmarked = {name: value for name, value in os.environ.items() if name != leaks.MARK}
    command = [sys.executable, "-c", STRANGER, str(path)]
    try:
        parent = subprocess.run(command, stdin=reader, capture_output=True, text=True, timeout=60, env=unmarked)
        stranger = os.pidfd_open(int(parent.stdout))
        report = found(before)
        assert path.exists()
        assert str(path) not in report
    finally:
        path.unlink()
        os.close(reader)
        os.close(writer)
    assert select.select([stranger], [], [], 60)[0], "the other program is still there"
    os.close(stranger)


def test_what_comes_and_goes_is_not_reported_but_endless_change_is(monkeypatch: pytest.MonkeyPatch):
    before = leaks.snapshot()
    numbers = itertools.count()
    rounds = 4
    monkeypatch.setattr(leaks, "_compare", lambda *_: [f"file {n}"] if (n := next(numbers)) < rounds else [])
    assert leaks.leftovers(before) == []
    assert next(numbers) > rounds
    monkeypatch.setattr(leaks, "_compare", lambda *_: [f"file {next(numbers)}"])
    assert len(leaks.leftovers(before, settle_s=SHORT_S)) == 2


def test_a_named_semaphore_is_known_for_its_makers():
    before = leaks.snapshot()
    lock = multiprocessing.get_context("spawn").Lock()
    assert "file /dev/shm/sem.mp-" in found(before)
    del lock
    assert leaks.leftovers(before) == []


def test_a_file_in_the_temp_folder_is_reported(tmp_path: Path):
    before = leaks.snapshot([tmp_path])
    (tmp_path / "left").touch()
    assert found(before, tmp_path) == f"file {tmp_path / 'left'}"


def test_temp_files_of_the_tests_go_where_they_are_watched():
    fd, name = tempfile.mkstemp()
    os.close(fd)
    assert "stoppable-tests-" in name
    os.unlink(name)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.slow
def test_the_helpers_of_multiprocessing_are_known(method: str):
    before = leaks.snapshot()
    context = multiprocessing.get_context(method)
    lock = context.Lock()
    child = context.Process(target=os.kill, args=(0, 0))
    child.start()
    child.join(60)
    child.close()
    del child, lock
    assert leaks.leftovers(before) == []


def test_a_name_with_parentheses_and_spaces_is_read_right():
    odd = "open('/proc/self/comm', 'w').write('a) b (c'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", odd], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        stat = leaks.read_stat(child.pid)
        assert stat is not None
        assert (stat.name, stat.ppid) == ("a) b (c", os.getpid())
        child.stdin.write(b"\n")
