"""Tasks that say how far they are, and a program that shows it on a terminal. Importable, so that they pickle by name."""

import os
import sys
import time
from collections.abc import Iterable
from typing import Any

import stoppable
from stoppable import ProcessPoolExecutor, StopRequested
from stoppable.worker import intask
from stoppable.worker.page import DONE
from watching import await_file, say


def track_until(begun: str, release: str, items: Iterable[Any], total: float | None = None) -> int:
    """Wait at the third item."""
    done = 0
    for _ in stoppable.track(items, total):
        done += 1
        if done == 3:
            say(begun)
            await_file(release, 60)
    return done


def track_generator(begun: str, release: str, total: float | None) -> int:
    return track_until(begun, release, (n for n in range(5)), total)


def track_in_track(begun: str, release: str) -> tuple[float, float]:
    for outer in stoppable.track("abcd"):
        for _ in stoppable.track(range(100)):
            pass
        if outer == "c":
            say(begun)
            await_file(release, 60)
    for _ in stoppable.track(range(7)):  # and the next one is an outermost again
        pass
    return (0, 0)


def track_for_ever(begun: str) -> list[int]:
    done: list[int] = []
    numbers = stoppable.track(range(1 << 60))
    try:
        for number in numbers:
            if number == 10:
                say(begun)
            done.append(number)
    except StopRequested:
        return [len(done), len([1 for _ in stoppable.track([])])]
    return []


def fork_in_track(child: str) -> int:
    """Go on in a fork, which must not speak for the task."""
    for number in stoppable.track(range(10)):
        if number == 2:
            here = os.fork()
            if here == 0:
                continue
            os.waitpid(here, 0)
            task = intask.current()
            assert task is not None
            return int(task.page.f64[DONE])
    say(child)
    os._exit(0)


def slow(number: int) -> int:
    for _ in stoppable.track(range(10)):
        time.sleep(0.01)
    return number


def wait_at_half(number: int, begun: str, release: str) -> int:
    stoppable.progress(1, 2)
    say(f"{begun}{number}")
    await_file(release, 60)
    return number


def program(what: str, style: str) -> None:
    with ProcessPoolExecutor(2) as pool:
        if what == "map":
            print("sum", sum(pool.map(slow, range(12), progress=style)))  # type: ignore[arg-type]
        elif what == "block":
            futures = [pool.submit(slow, number) for number in range(12)]
            with stoppable.show_progress(pool, style):  # type: ignore[arg-type]
                print("sum", sum(future.result() for future in futures))
        else:
            try:
                print("begun")
                list(pool.map(time.sleep, [1000.0] * 2, progress=style))  # type: ignore[arg-type]
            except KeyboardInterrupt:
                print("press 1")
                raise


if __name__ == "__main__":
    program(*sys.argv[1:])
