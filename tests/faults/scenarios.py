"""What is run while system calls fail: a pool with a stop at each rung, and the flag between two processes.

Each fills a report: what came out, and the problems that no fault excuses. Nothing is asserted here, since
what has to hold depends on what the supervisor saw, too.
"""

import gc
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import stoppable
from stoppable import Event, ProcessPoolExecutor, Rung, StopPolicy, StopToken, TaskStopped, WorkerDied
from stoppable.died import PoolBroken
from stoppable.flags import slab
from tampering import tell

BEGIN, END, RAN, PUBLISHED = 1, 2, 3, 4
BOUND_S = 12.0
# What a caller can make something of. `RuntimeError`: Python's own for a thread that cannot be started.
CLEAR = (OSError, MemoryError, PoolBroken, WorkerDied, TaskStopped, RuntimeError)
POLICY = StopPolicy(ask=2.0, interrupt=2.0, terminate=2.0)
BRIEF = StopPolicy(ask=0.02, interrupt=2.0, terminate=2.0)


class Report:
    """What a scenario has to say; sent to the supervisor as a pickle."""

    def __init__(self) -> None:
        self.outcomes: dict[int, str] = {}  # task -> "value", "unstarted" or "failed"
        self.notes: list[str] = []
        self.problems: list[str] = []

    def error(self, what: str, error: BaseException) -> None:
        """Note an error that came, and complain if it is not a clear one."""
        self.notes.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")
        if not isinstance(error, CLEAR) or not str(error).strip():
            self.problems.append(f"no clear error: {self.notes[-1]}")

    def attempt(self, what: str, call: Callable[[], Any]) -> Any:
        """Return what *call* returns, or None if it raised."""
        try:
            return call()
        except Exception as error:
            self.error(what, error)
            return None


# --- tasks ---------------------------------------------------------------------------------------


def square(number: int) -> int:
    tell(RAN, number)
    return number * number


def hear(number: int) -> None:
    tell(RAN, number)
    stoppable.check()
    stoppable.progress(1)
    stoppable.sleep(1000)


def deaf(number: int) -> None:
    tell(RAN, number)
    stoppable.progress(1)
    time.sleep(1000)


def publisher(number: int) -> None:
    tell(RAN, number)
    stoppable.publish(number)
    tell(PUBLISHED, number)
    stoppable.progress(1)
    time.sleep(1000)


# --- the pool --------------------------------------------------------------------------------------


def pool(report: Report) -> None:
    """Run tasks, and stop one at each rung."""
    with ProcessPoolExecutor(2, policy=POLICY) as executor:
        for number in (1, 2, 3):
            _submit(report, executor, square, number)
        _collect(report, {number: number * number for number in (1, 2, 3)})
        _stop(report, executor, {4: (hear, Rung.ASK, Rung.ASK), 5: (deaf, Rung.ASK, Rung.INTERRUPT)})
        _stop(report, executor, {6: (publisher, Rung.KILL, Rung.KILL), 7: (deaf, Rung.TERMINATE, Rung.TERMINATE)})
        _submit(report, executor, square, 8)
        _collect(report, {8: 64})


_futures: dict[int, Any] = {}


def _submit(report: Report, executor: ProcessPoolExecutor, function: Callable[..., Any], number: int) -> None:
    future = report.attempt(f"submit {number}", lambda: executor.submit(function, number))
    if future is not None:
        _futures[number] = future


def _collect(report: Report, wanted: dict[int, Any]) -> None:
    for number, value in wanted.items():
        future = _futures.pop(number, None)
        if future is None:
            continue
        try:
            got = future.result(BOUND_S)
        except Exception as error:
            _ended(report, number, future, error)
            continue
        report.outcomes[number] = "value"
        if got != value:
            report.problems.append(f"task {number} gave {got!r}, not {value!r}")


def _ended(report: Report, number: int, future: Any, error: Exception) -> None:
    unstarted = isinstance(error, PoolBroken) or getattr(error, "started", True) is False
    report.outcomes[number] = "unstarted" if unstarted else "failed"
    if not future.done():
        report.problems.append(f"task {number} did not end in {BOUND_S} s")
    report.error(f"task {number}", error)


def _stop(report: Report, executor: ProcessPoolExecutor, wanted: dict[int, tuple[Any, Rung, Rung]]) -> None:
    for number, (function, _, _) in wanted.items():
        _submit(report, executor, function, number)
    for number, (function, at, rung) in wanted.items():
        future = _futures.pop(number, None)
        if future is None:
            continue
        until = time.monotonic() + BOUND_S
        while future.progress is None and not future.done() and time.monotonic() < until:
            time.sleep(0.001)
        stopped = future.stop(at=at, policy=BRIEF if function is deaf else None)
        try:
            future.result(BOUND_S)
            report.problems.append(f"task {number} came back")
        except Exception as error:
            _ended(report, number, future, error)
            if type(error) is TaskStopped and stopped:
                if error.started and (error.rung is None or error.rung < rung):
                    report.problems.append(f"task {number} was stopped by {error.rung}, not {rung}")
                if error.started and error.confirmed and function is publisher:
                    report.outcomes[number] = f"partial {error.partial}"


# --- the flag ----------------------------------------------------------------------------------------


def flags(report: Report) -> None:
    """Make flags, pickle them, have another process open them and wait; stop and set."""
    to_child, to_parent = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    # Forked before there is a flag, so that the child must find its memory by the handle, as a stranger.
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(to_child[1])
            os.close(to_parent[0])
            code = _flags_child(to_child[0], to_parent[1])
        finally:
            os._exit(code)
    os.close(to_child[0])
    os.close(to_parent[1])
    tell(BEGIN)
    try:
        report.attempt("flags", lambda: _flags_parent(report, to_child[1], to_parent[0]))
    finally:
        tell(END)
        os.close(to_child[1])
        os.close(to_parent[0])
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            report.problems.append("the child failed")


def _flags_parent(report: Report, out: int, back: int) -> None:
    event, root = Event(), StopToken(name="root")
    child = root.child(timeout=100)
    called = threading.Event()
    registration = report.attempt("on_stop", lambda: child.on_stop(called.set))
    try:
        _flags_talk(report, event, root, child, out, back)
        if root.is_set() and registration is not None and not called.wait(BOUND_S):
            report.problems.append("the callback was not called")
    finally:
        if registration is not None:
            registration.cancel()


def _flags_talk(report: Report, event: Event, root: StopToken, child: StopToken, out: int, back: int) -> None:
    raw = pickle.dumps((event, child))
    _write(out, raw)
    answer = _read(back)
    if answer != (False, False):
        # A flag that cannot be opened must say so, and never look set.
        if not isinstance(answer, Exception):
            report.problems.append(f"unset flags were read as {answer!r}")
            return
        report.error("in the child", answer)
        return
    event.set()
    answer = _read(back)
    if answer is not True:
        report.problems.append(f"the waiter for the event said {answer!r}")
    if not root.stop("enough"):
        report.problems.append("the first stop was not the first")
    answer = _read(back)
    if isinstance(answer, Exception):
        report.error("in the child", answer)
    elif answer != (True, "enough"):
        report.problems.append(f"the waiter for the token said {answer!r}")


def _flags_child(source: int, out: int) -> int:
    try:
        event, token = pickle.loads(_read_raw(source))
    except Exception as error:
        _write(out, pickle.dumps(error))
        return 0
    _write(out, pickle.dumps((event.is_set(), token.is_set())))
    event.wait(BOUND_S)
    token.wait(0.001)  # several words at once, for certain before they are set
    _write(out, pickle.dumps(event.is_set()))
    try:
        _write(out, pickle.dumps((token.wait(BOUND_S), token.reason and token.reason.message)))
    except Exception as error:
        _write(out, pickle.dumps(error))
    return 0


# The scenario's own pipes are not what is tested: a fault in them is met by trying again.


def _write(fd: int, raw: bytes) -> None:
    data = len(raw).to_bytes(4, "little") + raw
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BrokenPipeError:
            return
        except OSError:
            continue


def _read_raw(fd: int) -> bytes:
    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                part = os.read(fd, size - len(data))
            except OSError:
                continue
            if not part:
                raise EOFError("the other process has ended")
            data += part
        return data

    return exactly(int.from_bytes(exactly(4), "little"))


def _read(fd: int) -> Any:
    return pickle.loads(_read_raw(fd))


# --- around them -------------------------------------------------------------------------------------


class _Critical(logging.Handler):
    def __init__(self, report: Report) -> None:
        super().__init__(logging.CRITICAL)
        self.report = report

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        self.report.problems.append(f"{record.getMessage()}: {cause!r}")


def run(name: str, report: Report) -> None:
    """Run the scenario *name* and see whether this process is afterwards as it was before."""
    logging.getLogger("stoppable").addHandler(_Critical(report))
    before = set(_fds())
    if name == "flags":
        flags(report)
    else:
        tell(BEGIN)
        try:
            report.attempt("pool", lambda: pool(report))
        finally:
            tell(END)
    _futures.clear()
    until = time.monotonic() + 3.0
    while (left := _left(before)) and time.monotonic() < until:
        time.sleep(0.005)
    report.problems += left
    threading._shutdown()  # type: ignore[attr-defined]  # what waits for pools when the interpreter leaves


def _left(before: set[tuple[str, str]]) -> list[str]:
    gc.collect()
    slab.trim()
    left = [f"left behind: descriptor {fd} -> {to}" for fd, to in _fds() if (fd, to) not in before]
    return left + [f"left behind: thread {thread.name}" for thread in threading.enumerate()[1:]]


def _fds() -> list[tuple[str, str]]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append((fd, os.readlink(f"/proc/self/fd/{fd}")))
        except OSError:
            pass  # the one that read the folder
    return found
