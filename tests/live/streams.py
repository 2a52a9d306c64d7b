"""Generators for the tests of streaming tasks: importable, so that they pickle by name."""

import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import hostile
import jobs
import stoppable
from stoppable import StopInterrupt, StopRequested, wire
from stoppable.wire import Kind
from watching import say


def count(to: int) -> Generator[int, None, str]:
    yield from range(to)
    return f"{to} counted"


def note_and_count(path: str, to: int = 1 << 60) -> Iterator[int]:
    """Note each item in a file before it is yielded: its size is how many were."""
    with open(path, "ab", buffering=0) as file:
        for number in range(to):
            file.write(b".")
            yield number


def tell_cleanup(cleaned: str, to: int = 1 << 60) -> Iterator[int]:
    """Say at the end by what, and whether the functions of a task still worked."""
    seen = "nothing"
    try:
        yield from range(to)
    except BaseException as error:
        seen = type(error).__name__
        raise
    finally:
        say(cleaned, f"{seen} {stoppable.current_token().is_set()}")


def count_then(end: str, to: int, begun: str = "") -> Iterator[int]:
    """Yield some, and then end in a way that is no return."""
    yield from range(to)
    if begun:
        say(begun)
    match end:
        case "raise":
            raise ValueError("no more of it")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "nap":
            time.sleep(jobs.LONG_S)
        case "spin":
            while True:
                pass
        case "polite":
            stoppable.sleep(jobs.LONG_S)


def arrays(number: int, size: int) -> Iterator[Any]:
    import numpy as np  # here, so that no other task waits for that

    for each in range(number):
        yield np.full(size, each, np.uint8)


def yield_a_lock(cleaned: str, go_on: bool) -> Iterator[Any]:
    yield 1
    try:
        yield threading.Lock()
    except TypeError:
        if not go_on:
            raise
    finally:
        say(cleaned)
    yield 2


class Unreadable:
    """Does not unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("unreadable",)


def yield_unreadable() -> Iterator[Any]:
    yield 1
    yield Unreadable()
    yield 3


def yield_in_shield(path: str) -> Iterator[Any]:
    """Yield in a shield once the stop was asked for, and once after it."""
    token = stoppable.current_token()
    with stoppable.shield(60):
        yield "begun"
        token.wait(60)
        yield "in the shield"
        say(path)
    yield "after it"
    say(f"{path}.never")


def yield_in_limit() -> Iterator[str]:
    try:
        with stoppable.time_limit(0.2):
            while True:
                yield "in time"
    except TimeoutError:
        yield "over"


def yield_last_words(to: int) -> Generator[Any, None, str]:
    """Yield more once stopped, and return."""
    try:
        yield from range(1 << 60)
    except StopRequested:
        for word in range(to):
            try:
                yield f"last {word}"
            except StopRequested:
                continue
    return "ended well"


def yield_though_stopped(heard: str, interrupted: str) -> Iterator[int]:
    """Go on after a stop, with an item that there is no room for."""
    try:
        yield 0
        yield 1
    except StopRequested:
        say(heard)
    try:
        yield 2
    except StopInterrupt:
        say(interrupted)
        raise


def in_list(*items: int) -> list[int]:
    return list(items)


def mapped(number: int) -> Iterator[str]:
    return map(str, range(number))


async def asynchronous() -> AsyncIterator[int]:
    yield 1


def stop_iteration() -> Iterator[int]:
    raise StopIteration


def stop_async_iteration() -> Iterator[int]:
    raise StopAsyncIteration


def linger(begun: str, stopping: str, release: str) -> Iterator[int]:
    """Yield nothing; hear the stop, say so, and end only when released."""
    jobs.linger(begun, stopping, release)
    yield 1


def fail_in_cleanup(begun: str) -> Iterator[int]:
    jobs.fail_in_cleanup(begun)
    yield 1


def fork_and_yield(path: str) -> Iterator[str]:
    """Fork; the child must not yield into its parent's stream."""
    here = os.fork()
    if here == 0:
        try:
            yield "child"
        except RuntimeError as error:
            say(path, str(error))
            os._exit(0)
        os._exit(1)
    os.waitpid(here, 0)
    yield "parent"


def flood(number: int, begun: str) -> Iterator[int]:
    """Write items past all bounds."""
    channel, me = hostile.own_channel(), hostile.own_number()
    yield 0
    say(begun)
    channel.sendall(hostile.frame(Kind.ITEM, wire.dumps("forged"), me) * number)
    time.sleep(jobs.LONG_S)


def send_unasked(path: str) -> None:
    """Yield from a task that nobody takes items of."""
    say(path)
    hostile.own_channel().sendall(hostile.frame(Kind.ITEM, wire.dumps("forged"), hostile.own_number()))
    time.sleep(jobs.LONG_S)


def lie_about_credit(path: str) -> Iterator[int]:
    """Say in the page that all was taken, always."""
    page, me = hostile.own_page(), hostile.own_number()
    say(path)
    for number in range(1000):
        page.tell_taken(me, 0, closed=True)
        yield number


def of_inner_pool(begun: str) -> Iterator[int]:
    """Hand on what a task of an inner pool yields."""
    with stoppable.ProcessPoolExecutor(1) as pool, pool.stream(note_and_count, begun) as inner:
        yield from inner


def noted(path: str | Path) -> int:
    return Path(path).stat().st_size if Path(path).exists() else 0
