"""Tasks for the pools of the live tests: importable, so that they pickle by name."""

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NoReturn

import stoppable
from watching import await_file, say

LONG_S = 1000.0


def double(x: Any) -> Any:
    return x + x


def pid() -> int:
    return os.getpid()


def raises(text: str) -> NoReturn:
    raise ValueError(text)


def append(path: str, line: str) -> None:
    """Note that this ran; lines of concurrent writers stay whole."""
    with open(path, "a") as file:
        file.write(f"{line}\n")


# --- that last until they are stopped ---------------------------------------------------------


def sleep(path: str = "") -> None:
    """Sleep without ever looking at the token."""
    if path:
        say(path)
    time.sleep(LONG_S)


def polite(path: str = "") -> None:
    if path:
        stoppable.check()
        say(path)
    stoppable.sleep(LONG_S)


def hold_gil(path: str = "") -> None:
    """Be in a C call that holds the GIL for longer than any test lasts."""
    told: Iterator[object] = iter(())
    if path:
        # Told from inside the call: after a line of Python an interrupt could still come before it.
        part = f"{path}.part"
        Path(part).write_text(str(os.getpid()))
        told = map(os.rename, [part], [path])
    # Not a regular expression: those look at signals now and then.
    deque(itertools.chain(told, itertools.repeat(None)), maxlen=0)


def stubborn(path: str = "") -> None:
    """Ignore all that can be ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            if path:
                say(path)  # from inside: an interrupt could come before the next line
            time.sleep(LONG_S)
        except BaseException:
            path = ""


def wait_for(path: str, begun: str = "") -> str:
    """Wait for a file without looking at the token; return what is in it."""
    if begun:
        say(begun)
    return await_file(path, 60)


def look_until_there(path: str, begun: str) -> str:
    """Wait for a file, and look at the token all the time; return what is in it."""
    say(begun)
    while not os.path.exists(path):
        stoppable.check()
    stoppable.check()
    return await_file(path)


# --- that leave processes ----------------------------------------------------------------------


def child(path: str) -> None:
    subprocess.Popen(["sleep", "1000"])
    sleep(path)


def child_in_session(path: str) -> None:
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    sleep(path)


def daemonise() -> None:
    """Leave a process in its own session whose parent has ended, as a daemon does."""
    subprocess.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 </dev/null &"], check=True)


def daemon(path: str) -> None:
    daemonise()
    sleep(path)


def nested(path: str) -> None:
    """Run an inner pool whose two tasks sleep."""
    with stoppable.ProcessPoolExecutor(2, policy=SHORT) as pool:
        tasks = [pool.submit(polite, f"{path}.inner{n}") for n in range(2)]
        for n in range(2):
            await_file(f"{path}.inner{n}")
        say(path, "\n".join(map(str, pool.workers())))
        for task in tasks:
            task.result()


def nested_polite(path: str) -> list[str]:
    """The same, but look at the token, and say how the inner tasks ended."""
    with stoppable.ProcessPoolExecutor(2, policy=SHORT) as pool:
        tasks = [pool.submit(polite, f"{path}.inner{n}") for n in range(2)]
        for n in range(2):
            await_file(f"{path}.inner{n}")
        say(path, "\n".join(map(str, pool.workers())))
        try:
            stoppable.sleep(LONG_S)
        except stoppable.StopRequested:
            ends = []
            for task in tasks:
                error = None
                try:
                    task.result(20)
                except BaseException as end:
                    error = end
                ends.append(f"{type(error).__name__} {getattr(error, 'rung', None)}")
            return ends
    return []


# --- that end their worker ---------------------------------------------------------------------


def exit_hard(code: int) -> NoReturn:
    os._exit(code)


def segfault() -> None:
    # A core file would be written beside the tests.
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def big_after(path: str, size: int) -> bytes:
    """Say that it begins, then return *size* bytes."""
    say(path)
    return bytes(size)


class SlowBytes:
    """Large, and says when half of its pickle is made, so that its sender can be killed in the middle."""

    def __init__(self, path: str, size: int) -> None:
        self.path, self.size = path, size

    def __reduce__(self) -> tuple[Any, ...]:
        say(self.path)
        return bytes, (bytes(self.size),)


def slow_bytes(path: str, size: int) -> SlowBytes:
    return SlowBytes(path, size)


# --- initializers ------------------------------------------------------------------------------

kept: dict[str, Any] = {}


def keep(**values: Any) -> None:
    kept.update(values)


def keep_args(*values: Any) -> None:
    kept["args"] = values


def kept_args() -> Any:
    return kept["args"]


def kept_call() -> Any:
    """Call what the initializer was given: something that does not pickle."""
    return kept["args"][0]()


def use_lock_and_queue(value: int) -> None:
    lock, queue = kept["args"]
    with lock:
        queue.put(value)


def fails(path: str = "") -> NoReturn:
    if path:
        append(path, str(os.getpid()))
    raise RuntimeError("no licence found")


def dies(path: str = "") -> NoReturn:
    if path:
        append(path, str(os.getpid()))
    os._exit(7)


# --- that say what they see --------------------------------------------------------------------


def read_stdin() -> tuple[str, str]:
    return sys.stdin.read(), os.readlink("/proc/self/fd/0")


def print_line(text: str) -> None:
    print(text)


def signals_seen() -> dict[str, Any]:
    return {
        "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "sigusr1": signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL,
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "wakeup": signal.set_wakeup_fd(-1),
        "leads_group": os.getpgid(0) == os.getpid(),
    }


def bump(mapping: Any, key: str) -> int:
    """Use a manager's proxy."""
    mapping[key] = mapping.get(key, 0) + 1
    return int(mapping[key])


def fork_and_return(path: str) -> str:
    """Fork, and let the child return from the task's function, too."""
    if os.fork() == 0:
        say(path)
        return "child"
    os.wait()
    return "parent"


def fork_and_use_functions(path: str) -> str:
    """Fork; the child calls the in-task functions, which must not speak for the task."""
    here = os.fork()
    if here == 0:
        stoppable.publish("child")
        stoppable.progress(1, 2)
        stoppable.check()
        say(path)
        os._exit(0)
    os.waitpid(here, 0)
    return "parent"


def submit_from_thread(pool: Executor, count: int, out: list[int]) -> threading.Thread:
    def run() -> None:
        out.extend(pool.submit(double, n).result(60) for n in range(count))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


SHORT = stoppable.StopPolicy(ask=1.0, interrupt=1.0, terminate=1.0)


def exists(path: str) -> bool:
    return Path(path).exists()


def double_in_place(arrays: list[Any]) -> list[Any]:
    for array in arrays:
        array *= 2
    return arrays


def nap_and_keep() -> None:
    time.sleep(0.2)
