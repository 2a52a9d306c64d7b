"""Tasks that log, warn and print, and that look at what they were given. Importable, so that they pickle by name."""

import contextvars
import itertools
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import stoppable
from watching import await_file, say

log = logging.getLogger("relayed")
request: contextvars.ContextVar[Any] = contextvars.ContextVar("request")
tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


class Keeper(logging.Handler):
    """Keeps the records that come to it."""

    def __init__(self, before: Callable[[logging.LogRecord], object] = lambda _: None) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._before = before

    def emit(self, record: logging.LogRecord) -> None:
        self._before(record)
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


class Custom(UserWarning):
    """A category of one's own."""


class Local:
    """Pickles, but not into another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return only_in, (os.getpid(),)


def only_in(pid: int) -> int:
    if os.getpid() != pid:
        raise RuntimeError("not here")
    return pid


# --- log ------------------------------------------------------------------------------------------


def log_lines(count: int, text: str = "line") -> int:
    for number in range(count):
        log.warning("%s %d", text, number)
    return os.getpid()


def log_with_all() -> int:
    try:
        raise ValueError("bad value")
    except ValueError:
        log.exception("failed in %s", "here", extra={"answer": 42, "lock": threading.Lock()}, stack_info=True)
    return os.getpid()


def log_local() -> None:
    log.warning("with local", extra={"local": Local()})


def log_long(size: int) -> None:
    log.warning("x" * size)


def log_wrongly() -> str:
    log.warning("%d", "no number")
    return "went on"


class Counted:
    """Counts how often its text was made."""

    made = 0

    def __str__(self) -> str:
        Counted.made += 1
        return "costly"


def log_costly() -> int:
    for name in ("relayed", "relayed.deep", "relayed.quiet"):
        for level in (logging.DEBUG, logging.INFO, logging.ERROR):
            logging.getLogger(name).log(level, "%s", Counted())
    return Counted.made


def log_and_die(begun: str) -> None:
    log_lines(3)
    say(begun)
    time.sleep(1000)


def log_in_inner_pool() -> None:
    with stoppable.ProcessPoolExecutor(1) as pool:
        pool.options(name="inner").submit(log_lines, 1).result()


def add_file_handler(path: str) -> None:
    log.addHandler(logging.FileHandler(path))


def log_from_threads(threads: int, count: int) -> bytes:
    """Log from threads while this one publishes and answers with what does not fit into the socket at once."""

    def run(who: int) -> None:
        for number in range(count):
            log.warning("%d %d", who, number)

    workers = [threading.Thread(target=run, args=(who,)) for who in range(threads)]
    for each in workers:
        each.start()
    while any(each.is_alive() for each in workers):
        stoppable.publish(bytes(500_000))
    for each in workers:
        each.join()
    return bytes(500_000)


def log_in_signal_handler(times: int) -> int:
    """Be hit by signals in the middle of frames; return how many records their handler made."""
    numbers = itertools.count()  # a handler may be hit by the next signal

    def on_alarm(_number: int, _frame: object) -> None:
        log.warning("alarm %d", next(numbers))

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(times):
            stoppable.publish(bytes(1_000_000))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return next(numbers)


def log_until_stopped(begun: str) -> None:
    say(begun)
    while True:
        log.warning("again")


def fork_and_say() -> str:
    """Log, warn and print in a fork, then in the task."""
    child = os.fork()
    if child == 0:
        log.warning("logged in the fork")
        warnings.warn("warned in the fork", Custom, stacklevel=1)
        print("printed in the fork")
        os._exit(0)
    os.waitpid(child, 0)
    log.warning("logged in the task")
    return "parent"


# --- warn -----------------------------------------------------------------------------------------


def warn() -> int:
    warnings.warn("take care", Custom, stacklevel=1)  # its line is returned
    return sys._getframe().f_lineno - 1


# --- print ----------------------------------------------------------------------------------------


def print_in_pieces(word: str, count: int) -> None:
    for _ in range(count):
        for letter in word:
            sys.stdout.write(letter)
        print()


def print_in_threads(words: list[str], count: int) -> None:
    threads = [threading.Thread(target=print_in_pieces, args=(word, count)) for word in words]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def print_both() -> None:
    print("to stdout", flush=True)  # what is written beside it, below, goes past its buffer
    print("to stderr", file=sys.stderr)
    sys.stdout.buffer.write(b"bytes\n")
    sys.stdout.write("two\nlines\nand a rest")


def print_much(size: int) -> None:
    print("y" * size)
    print("z\n" * size, end="")


def print_and_wait(path: str) -> None:
    print("now")
    await_file(path)


# --- look -----------------------------------------------------------------------------------------


def values() -> tuple[Any, str]:
    return request.get(None), tenant.get()


def set_tenant() -> str:
    tenant.set("changed")
    return tenant.get()


def context() -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(dict(stoppable.current_context())))
    thread.start()
    thread.join()
    assert found == [dict(stoppable.current_context())]
    return found[0]


def change_context() -> None:
    stoppable.current_context()["user"] = "other"  # type: ignore[index]


def log_context() -> None:
    log.warning("with context")
