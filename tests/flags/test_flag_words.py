"""Words and what they ask of the system: one contract for Linux and for everywhere else."""

import errno
import mmap
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flag_processes as ways
from stoppable.flags import backing, kernel, linux, portable, private_dir
from stoppable.flags.process import Process, is_alive, me, start_of
from stoppable.flags.waiting import wait_any
from stoppable.flags.words import Word

FORK: Any = multiprocessing.get_context("fork")
KERNELS = [linux, portable] if linux.works() else [portable]


@pytest.fixture(params=KERNELS, ids=lambda module: module.__name__.rpartition(".")[2])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module: ModuleType = request.param
    if module is portable:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return module


@pytest.fixture
def page() -> mmap.mmap:
    return mmap.mmap(-1, mmap.PAGESIZE)


def words_of(page: mmap.mmap, count: int) -> list[Word]:
    return [Word(page, 4 * number) for number in range(count)]


def later(what: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(0.03, what)
    timer.start()
    return timer


def test_a_word_is_four_bytes_of_the_buffer(page: mmap.mmap) -> None:
    one, two = words_of(page, 2)
    two.value = 0x01020304
    assert int.from_bytes(page[4:8], sys.byteorder) == 0x01020304
    assert (one.value, one.is_set(), two.is_set()) == (0, False, True)
    two.clear()
    assert not two.is_set()
    # Any of its bytes counts.
    for byte in range(4):
        page[byte] = 1
        assert one.is_set()
        page[byte] = 0
    assert two.address == one.address + 4


def test_a_word_keeps_its_memory() -> None:
    is_set = Word(mmap.mmap(-1, mmap.PAGESIZE), 8).is_set
    assert not is_set()


def test_a_word_is_claimed_once(system: ModuleType, page: mmap.mmap) -> None:
    one, two = words_of(page, 2)
    assert [system.claim(one) for _ in range(3)] == [True, False, False]
    assert one.value & 0x3FFFFFFF == threading.get_native_id()
    others: list[bool] = []
    thread = threading.Thread(target=lambda: others.append(system.claim(one)))
    thread.start()
    thread.join()
    assert others == [False]
    assert one.value & 0x3FFFFFFF == threading.get_native_id()
    assert system.claim(two) is True


def claim_all(name: str, page: mmap.mmap, count: int, answers: Any) -> None:
    claim = getattr(sys.modules[name], "claim")
    answers.put([number for number in range(count) if claim(Word(page, 4 * number))])


@pytest.mark.slow
def test_of_many_processes_each_word_has_one_winner(system: ModuleType, page: mmap.mmap) -> None:
    answers = FORK.SimpleQueue()
    children = [FORK.Process(target=claim_all, args=(system.__name__, page, 300, answers)) for _ in range(6)]
    for child in children:
        child.start()
    won = [number for _ in children for number in answers.get()]
    for child in children:
        child.join()
    assert sorted(won) == list(range(300))
    answers.close()


def claim_and_die(name: str, page: mmap.mmap) -> None:
    getattr(sys.modules[name], "claim")(Word(page, 0))


def test_a_dead_winner_is_still_the_winner(system: ModuleType, page: mmap.mmap) -> None:
    child = FORK.Process(target=claim_and_die, args=(system.__name__, page))
    child.start()
    child.join()
    word = Word(page, 0)
    assert [system.claim(word) for _ in range(3)] == [False] * 3
    assert word.value & 0x3FFFFFFF == child.pid


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 500])
def test_a_wait_ends_when_any_word_is_set(system: ModuleType, page: mmap.mmap, count: int) -> None:
    words = words_of(page, count)
    start = time.monotonic()
    assert system.wait(words, start + 0.02) is False
    assert time.monotonic() >= start + 0.02
    timer = later(lambda: system.set_and_wake(words[-1]))
    assert system.wait(words, time.monotonic() + ways.HANG_S) is True
    timer.join()
    assert words[-1].value == 1
    assert system.wait(words, None) is True
    assert system.wait(words, 0.0) is True


def test_wait_any_counts_its_seconds_from_the_call(page: mmap.mmap) -> None:
    words = words_of(page, 3)
    assert wait_any(words, 0) is False
    assert wait_any(words, 0.01) is False
    assert wait_any(words, -1) is False
    timer = later(words[1].set_and_wake)
    assert wait_any(words, None) is True
    timer.join()


def test_a_fence_can_be_called_any_time(system: ModuleType) -> None:
    system.fence()
    system.join_fence()
    system.fence()


def test_a_kernel_without_membarrier_still_has_a_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux, "_membarrier_number", 100_000)
    linux.fence()


def test_a_kernel_without_futex_waitv_polls(monkeypatch: pytest.MonkeyPatch, page: mmap.mmap) -> None:
    monkeypatch.setattr(linux, "_WAITV", 100_000)
    words = words_of(page, 2)
    assert linux.wait(words, time.monotonic() + 0.02) is False
    timer = later(lambda: linux.set_and_wake(words[1]))
    assert linux.wait(words, time.monotonic() + ways.HANG_S) is True
    timer.join()


def test_an_unknown_processor_is_not_said_to_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux, "_futex_number", -1)
    assert not linux.works()


def test_a_claim_gives_up_on_a_lock_that_is_never_let_go(
    monkeypatch: pytest.MonkeyPatch, page: mmap.mmap, files: Path
) -> None:
    monkeypatch.setattr(portable, "_LOCK_WAIT_S", 0.02)
    monkeypatch.setattr(portable, "_try_lock", lambda fd: False)
    assert portable.claim(Word(page, 0)) is False
    with portable._mutex:
        assert portable.claim(Word(page, 0)) is False


# --- files, where there is no memfd -----------------------------------------------------------------


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(kernel, "PORTABLE", True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(backing, "_swept", True)
    return tmp_path / f"stoppable-{os.getuid()}"


def test_a_file_is_private_and_goes_with_its_owner(files: Path) -> None:
    memory, place = backing.create(me(), bytes(16), 8192)
    path = Path(place.path)
    assert path.parent == files
    assert path.stat().st_mode & 0o777 == 0o600
    assert files.stat().st_mode & 0o777 == 0o700
    memory[0] = 7
    other = backing.attach(place, 8192)
    assert other is not None
    assert other[0] == 7
    backing.drop(place)
    assert not path.exists()
    assert backing.attach(place, 8192) is None
    other[0] = 8
    assert memory[0] == 8


@pytest.mark.skipif(sys.platform != "linux", reason="no memfd elsewhere")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
def test_a_container_that_forbids_memfd_gets_a_file(files: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(kernel, "PORTABLE", False)
    monkeypatch.setattr(os, "memfd_create", refuse)
    memory, place = backing.create(me(), bytes(16), 4096)
    memory[5] = 5
    other = backing.attach(place, 4096)
    assert other is not None
    assert other[5] == 5
    backing.drop(place)
    assert list(files.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="no memfd elsewhere")
def test_an_old_kernel_gets_a_memfd_without_the_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.memfd_create
    asked: list[int] = []

    def old(name: str, flags: int) -> int:
        asked.append(flags)
        if flags & 8:
            raise OSError(errno.EINVAL, "no such flag")
        return real(name, flags)

    monkeypatch.setattr(kernel, "PORTABLE", False)
    monkeypatch.setattr(os, "memfd_create", old)
    _, place = backing.create(me(), bytes(16), 4096)
    assert len(asked) == 2
    assert backing.attach(place, 4096) is not None
    backing.drop(place)
    assert backing.attach(place, 4096) is None


def test_a_file_of_the_wrong_size_is_not_taken(files: Path) -> None:
    _, place = backing.create(me(), bytes(16), 8192)
    assert backing.attach(place, 4096) is None
    backing.drop(place)


def test_files_of_dead_processes_are_swept(files: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    dead = Process(child.pid, start_of(child.pid) or 0)
    child.wait()
    backing.create(dead, bytes(16), 4096)
    _, mine = backing.create(me(), bytes(16), 4096)
    (files / "lock").touch()
    assert backing.sweep() == 1
    assert sorted(path.name for path in files.iterdir()) == sorted([Path(mine.path).name, "lock"])
    backing.drop(mine)
    backing._files.clear()


def test_a_folder_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = tmp_path / f"stoppable-{os.getuid()}"
    path.mkdir(mode=0o777)
    path.chmod(0o777)
    with pytest.raises(PermissionError):
        private_dir.folder()
    path.rmdir()
    path.symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        private_dir.folder()


# --- processes -------------------------------------------------------------------------------------


def test_a_process_is_alive_until_it_has_ended_and_never_after_its_pid_is_used_again() -> None:
    with ways.program("import sys; sys.stdin.read()") as child:
        process = Process(child.pid, start_of(child.pid) or 0)
        assert is_alive(process)
        assert not is_alive(Process(child.pid, process.start + 1))
        assert child.stdin is not None
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(process), "a zombie has ended"
    assert not is_alive(process)
    assert is_alive(me())


# --- what is loaded, and what is called ---------------------------------------------------------------


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, stoppable.flags as f; print(sorted({'ctypes', 'mmap', 'logging'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "[]\n", done.stderr


STRACED = """
import os
from stoppable.flags import StopToken, Event
token, event = StopToken(), Event()
child = token.child(timeout=100)
os.write(1, b"begin\\n")
for _ in range(1000):
    token.is_set(), event.is_set(), child.is_set(), child.check()
os.write(1, b"end\\n")
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/usr/bin/strace").exists(), reason="needs strace")
def test_looking_makes_no_system_call() -> None:
    """Behaviour 28."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["/usr/bin/strace", sys.executable, "-c", STRACED], capture_output=True, text=True, env=environment
    )
    lines = done.stderr.splitlines()
    begin = next(number for number, line in enumerate(lines) if '"begin' in line)
    assert '"end' in lines[begin + 1]
