"""Helpers for tests of the flag in several processes: what the children run, and how they are handed a token."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import cloudpickle

from stoppable.flags import Event, StopToken

START_METHODS = ("fork", "spawn", "forkserver")
HANG_S = 60.0

Answer = tuple[int, bool, bool, "str | None"]


def watch(flag: "Event | StopToken", ready: "Event | None" = None) -> Answer:
    """Tell: pid, set at first, woken, the reason's text."""
    first = flag.is_set()
    if ready is not None:
        ready.set()
    woken = flag.wait(HANG_S)
    reason = flag.reason if isinstance(flag, StopToken) else None
    return os.getpid(), first, woken, None if reason is None else f"{reason} by {reason.source.pid}"


def watch_nested(data: dict[str, Any]) -> Answer:
    return watch(data["deep"][0], data["ready"])


def watch_from_queue(incoming: Any, outgoing: Any) -> None:
    outgoing.put(watch(*incoming.get()))


def watch_argument(flag: "Event | StopToken", ready: Event, outgoing: Any) -> None:
    outgoing.put(watch(flag, ready))


def call_pickled(data: bytes) -> Any:
    return pickle.loads(data)()


# --- the ways to hand a flag over: each yields a function that returns the answer -----------------


@contextmanager
def by_process(method: str, flag: Any, ready: Event) -> Iterator[Callable[[], Answer]]:
    context: Any = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    process = context.Process(target=watch_argument, args=(flag, ready, answers))
    process.start()
    yield answers.get
    process.join()
    process.close()
    answers.close()


@contextmanager
def by_queue(method: str, flag: Any, ready: Event) -> Iterator[Callable[[], Answer]]:
    context: Any = multiprocessing.get_context(method)
    there, back = context.SimpleQueue(), context.SimpleQueue()
    process = context.Process(target=watch_from_queue, args=(there, back))
    process.start()
    there.put((flag, ready))
    yield back.get
    process.join()
    process.close()
    there.close()
    back.close()


@contextmanager
def by_pool(method: str, flag: Any, ready: Event) -> Iterator[Callable[[], Answer]]:
    context: Any = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        yield pool.apply_async(watch_nested, ({"deep": [flag], "ready": ready},)).get
        pool.close()
        pool.join()


@contextmanager
def by_executor(method: str, flag: Any, ready: Event) -> Iterator[Callable[[], Answer]]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as executor:
        yield executor.submit(watch, flag, ready).result


@contextmanager
def by_closure(method: str, flag: Any, ready: Event) -> Iterator[Callable[[], Answer]]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as executor:
        yield executor.submit(call_pickled, cloudpickle.dumps(lambda: watch(flag, ready))).result


WAYS = (by_process, by_queue, by_pool, by_executor, by_closure)


@contextmanager
def by_thread(flag: Any, ready: Event) -> Iterator[Callable[[], Answer]]:
    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(watch, flag, ready).result


@contextmanager
def by_subprocess(flag: Any, ready: Event) -> Iterator[Callable[[], Answer]]:
    with program("import pickle, sys, flag_processes as f; print(f.watch(*pickle.load(sys.stdin.buffer)))") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump((flag, ready), process.stdin)
        process.stdin.close()
        stdout = process.stdout
        yield lambda: eval(stdout.read())


@contextmanager
def program(code: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run *code* in a fresh Python that can import what this one can; end it on leaving."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise
        process.wait(HANG_S)


def until(fact: Callable[[], object], at_most_s: float = HANG_S) -> None:
    """Wait for *fact* to become true."""
    end = time.monotonic() + at_most_s
    while not fact():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.001)


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]
