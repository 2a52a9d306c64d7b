"""`install_signal_handlers`: programs that a supervisor ends by SIGTERM, and what is left of them."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import handled
import stoppable
from stoppable import ProcessPoolExecutor, install_signal_handlers
from stoppable.shell.tree import children
from watching import await_file, is_alive, until

BOUND_S = 60.0


class Program:
    """A scene of `handled.py` in a process of its own, running and ready."""

    def __init__(self, folder: Path, scene: str, *args: str, before: tuple[str, ...] = ()) -> None:
        self.folder = folder
        command = [*before, sys.executable, handled.__file__, scene, str(folder), *args]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, start_new_session=True
        )
        self.text = ""
        assert self.process.stdout is not None
        while "ready" not in self.text:
            line = self.process.stdout.readline()
            self.text += line
            assert line, self.text
        self.workers = [int(path.read_text()) for path in folder.glob("begun*[0-9]")]

    def send(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end; return its status, negative if a signal ended it."""
        self.text += self.process.communicate(timeout=BOUND_S)[0]
        return self.process.returncode

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate(timeout=BOUND_S)


Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Program] = []

    def start(scene: str, *args: str, **more: Any) -> Program:
        started.append(Program(tmp_path, scene, *args, **more))
        return started[-1]

    yield start
    for program in started:
        program.close()


# --- programs --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_tasks_runs_the_finally_blocks_and_ends_the_program(
    start: Start, number: signal.Signals
) -> None:
    program = start("with")
    program.send(number)
    assert program.end() == -number, program.text
    reason = f"shutdown: {number.name}"
    assert f"task: {reason}\n" in program.text
    assert f"end: ask {reason}\nend: None {reason}\nfinally\n" in program.text
    assert "Traceback" not in program.text


@pytest.mark.slow
def test_a_task_that_goes_on_is_killed_within_the_grace_whatever_its_policy(start: Start) -> None:
    program = start(
        "lingering", "4.0"
    )  # of which a rung has a second: a busy machine may let the pool sleep for most of one
    program.send()
    assert program.end() == -signal.SIGTERM, program.text
    assert ": interrupt, " in program.text  # no rung is left out, though its policy stays on ask for ever
    assert "end: kill shutdown: SIGTERM\n" in program.text


@pytest.mark.slow
def test_a_task_in_a_long_shield_is_killed_at_the_end_of_the_grace(start: Start) -> None:
    program = start("shielded", "1.5")
    program.send()
    assert program.end() == -signal.SIGTERM, program.text
    assert "end: kill shutdown: SIGTERM\n" in program.text


@pytest.mark.slow
def test_an_immediate_duplicate_is_ignored_and_a_second_signal_ends_the_program_at_once(start: Start) -> None:
    program = start("lingering")
    program.send()
    program.send()
    time.sleep(0.8)  # what is tested is this interval
    assert program.process.poll() is None
    program.send()
    assert program.end() == -signal.SIGTERM, program.text
    assert "finally" not in program.text
    until(lambda: not any(map(is_alive, program.workers)))


@pytest.mark.slow
def test_a_with_that_is_being_left_ends_when_its_tasks_have_ended(start: Start) -> None:
    program = start("leaving")
    time.sleep(0.2)  # for it to be at the end of the `with`
    program.send()
    assert program.end() == -signal.SIGTERM, program.text
    assert "end: ask shutdown: SIGTERM\n" in program.text


@pytest.mark.slow
def test_a_program_that_catches_it_may_end_otherwise(start: Start) -> None:
    program = start("caught")
    program.send()
    assert program.end() == 0, program.text
    assert "caught SIGTERM 143\n" in program.text


@pytest.mark.slow
def test_the_pools_take_nothing_more_once_the_signal_came(start: Start) -> None:
    program = start("late")
    program.send()
    assert program.end() == -signal.SIGTERM, program.text
    assert "refused\n" in program.text
    assert "never printed" not in program.text


@pytest.mark.slow
def test_tasks_are_stopped_though_the_main_thread_is_in_c_code_and_a_second_signal_ends_that(start: Start) -> None:
    program = start("c")
    program.send()
    await_file(program.folder / "asked")
    time.sleep(0.6)  # from here on it is a second one
    program.send()
    # Ended by the signal itself if it came before the main thread was in the call: a shell shows both as 143.
    assert program.end() in (143, -signal.SIGTERM), program.text


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["asyncio", "exit", "shutdown", "destructor"])
def test_it_ends_by_the_signal_wherever_the_program_waits(start: Start, scene: str) -> None:
    program = start(scene)
    program.send()
    assert program.end() == -signal.SIGTERM, program.text
    assert "task: shutdown: SIGTERM\n" in program.text
    assert scene != "asyncio" or "cancelled" in program.text  # the newline may follow what is said on stderr
    assert "Traceback" not in program.text


@pytest.mark.slow
def test_a_program_with_no_handlers_ends_at_once_and_leaves_no_worker(start: Start) -> None:
    """Behaviour 97."""
    program = start("bare")
    program.send()
    assert program.end() == -signal.SIGTERM, program.text
    assert "finally" not in program.text
    until(lambda: not any(map(is_alive, program.workers)))


@pytest.mark.slow
def test_what_nohup_made_ignored_stays_ignored(start: Start) -> None:
    program = start("with", before=("nohup",))
    program.send(signal.SIGHUP)
    program.send(signal.SIGTERM)
    assert program.end() == -signal.SIGTERM, program.text
    assert "SIGHUP" not in program.text


# --- as process 1 ------------------------------------------------------------------------------------

NEW_INIT = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def can_be_init() -> bool:
    try:
        return subprocess.run([*NEW_INIT, "true"], capture_output=True, timeout=BOUND_S).returncode == 0
    except OSError:
        return False


needs_namespace = pytest.mark.skipif(not can_be_init(), reason="no process id namespace is to be had here")


@pytest.mark.slow
@needs_namespace
def test_it_ends_the_first_process_of_a_container_with_the_same_status(start: Start) -> None:
    program = start("with", before=NEW_INIT)
    assert "ready 1\n" in program.text
    os.kill(children(program.process.pid)[0], signal.SIGTERM)
    assert program.end() == 128 + signal.SIGTERM, program.text  # no default action ends a process 1
    assert program.text.count("task: shutdown: SIGTERM\n") == 1
    assert "end: None shutdown: SIGTERM\n" in program.text  # the one that waited never started
    assert "finally\n" in program.text


@pytest.mark.slow
@needs_namespace
def test_the_first_process_of_a_container_ends_inside_its_grace_whatever_the_task_does(start: Start) -> None:
    program = start("lingering", "1.5", before=NEW_INIT)
    os.kill(children(program.process.pid)[0], signal.SIGTERM)
    assert program.end() == 128 + signal.SIGTERM, program.text
    assert "end: kill shutdown: SIGTERM\n" in program.text


@pytest.mark.slow
@needs_namespace
def test_a_second_signal_ends_the_first_process_of_a_container(start: Start) -> None:
    program = start("lingering", before=NEW_INIT)
    init = children(program.process.pid)[0]
    os.kill(init, signal.SIGTERM)
    time.sleep(0.7)  # what is tested is this interval
    os.kill(init, signal.SIGTERM)
    assert program.end() == 128 + signal.SIGTERM, program.text
    assert "finally" not in program.text


@pytest.mark.slow
@needs_namespace
def test_the_first_process_of_a_container_reaps_what_a_killed_warden_leaves_to_it(start: Start) -> None:
    program = start("orphans", before=NEW_INIT)
    assert program.end() == 0, program.text
    assert "left: []\n" in program.text


# --- the function ------------------------------------------------------------------------------------


@pytest.fixture
def as_before() -> Iterator[None]:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before
    fd = signal.set_wakeup_fd(-1)
    assert fd == -1


@pytest.mark.usefixtures("as_before")
def test_closing_the_handle_puts_the_former_handlers_back() -> None:
    former = signal.getsignal(signal.SIGTERM)
    with install_signal_handlers() as outer:
        assert signal.getsignal(signal.SIGTERM) != former
        inner = install_signal_handlers([signal.SIGTERM])
        inner.close()
        inner.close()
        assert signal.getsignal(signal.SIGTERM) == outer._on_signal


@pytest.mark.usefixtures("as_before")
def test_closing_leaves_a_handler_alone_that_came_later() -> None:
    former = signal.getsignal(signal.SIGTERM)
    handlers = install_signal_handlers()

    def later(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, later)
    handlers.close()
    try:
        assert signal.getsignal(signal.SIGTERM) is later
    finally:
        signal.signal(signal.SIGTERM, former)


@pytest.mark.usefixtures("as_before")
def test_the_signal_is_an_exception_in_the_main_thread_and_stops_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stoppable.handlers._SECOND_SIGNAL_S", 1000.0)
    pool = ProcessPoolExecutor(1)
    task = pool.submit(handled.tidy, str(tmp_path))
    until(lambda: list(tmp_path.glob("begun*[0-9]")))
    with install_signal_handlers() as handlers:
        assert handlers.received is None
        with pytest.raises(stoppable.Terminated) as caught:
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # a duplicate: nothing
        assert (handlers.received, caught.value.signal, caught.value.code) == (signal.SIGTERM, signal.SIGTERM, 143)
        with pytest.raises(stoppable.TaskStopped) as stopped:
            task.result(BOUND_S)
    assert str(stopped.value.reason) == "shutdown: SIGTERM"
    pool.shutdown()


@pytest.mark.usefixtures("as_before")
def test_a_signal_that_no_handler_was_asked_for_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with install_signal_handlers([signal.SIGTERM]):
        assert signal.getsignal(signal.SIGHUP) == before


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("grace_s", [0, -1, float("nan"), "10", True])
def test_a_grace_that_is_none_is_refused(grace_s: Any) -> None:
    with pytest.raises(ValueError, match="grace_s"):
        install_signal_handlers(grace_s=grace_s)


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("number", [signal.SIGKILL, 0, 1000])
def test_a_signal_that_cannot_be_handled_is_refused_and_nothing_is_left(number: int) -> None:
    with pytest.raises(ValueError, match=str(int(number))):
        install_signal_handlers([signal.SIGTERM, number])


@pytest.mark.usefixtures("as_before")
def test_it_is_refused_outside_the_main_thread() -> None:
    errors: list[BaseException] = []

    def install() -> None:
        try:
            install_signal_handlers()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=install)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


@pytest.mark.slow
def test_it_is_refused_in_a_task() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="in a task"):
        pool.submit(handled.install).result(BOUND_S)


@pytest.mark.usefixtures("as_before")
def test_a_fork_of_the_program_has_the_former_handlers_and_wakes_nobody() -> None:
    with install_signal_handlers() as handlers:
        pid = os.fork()
        if pid == 0:
            try:
                time.sleep(BOUND_S)  # the default action ends this
            finally:
                os._exit(1)
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
        assert handlers.received is None


@pytest.mark.usefixtures("as_before")
def test_a_wakeup_descriptor_that_is_in_use_stays() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    try:
        with install_signal_handlers(), pytest.raises(stoppable.Terminated):
            signal.raise_signal(signal.SIGTERM)
        assert os.read(read, 10) == bytes([signal.SIGTERM])
    finally:
        assert signal.set_wakeup_fd(-1) == write
        os.close(read)
        os.close(write)
