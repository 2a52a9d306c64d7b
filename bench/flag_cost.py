"""What looking at a flag costs, next to threading.Event in the same run, and next to a Manager's event.

    python bench/flag_cost.py     # more of it than the case `flag` of run.py, for whoever works on flags

Each line is the best of several interleaved rounds, so that a busy machine slows all of them alike.
The bound that the project keeps: is_set() of an Event and of a token without deadline or parent
costs at most 1.3 times threading.Event.is_set(), and check() at most 2.5 times.
"""

import multiprocessing
import os
import sys
import threading
import time
import timeit
from collections.abc import Callable

from stoppable.flags import Event, StopToken
from stoppable.flags.words import Word

ROUNDS, CALLS = 25, 20_000


def measure(statements: dict[str, tuple[str, object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return nanoseconds for each statement, in which x is the object given with it."""
    best = dict.fromkeys(statements, float("inf"))
    for _ in range(rounds):
        for name, (statement, x) in statements.items():
            took_s = timeit.timeit(statement, globals={"x": x}, number=CALLS)
            best[name] = min(best[name], took_s / CALLS * 1e9)
    return best


def measure_once(what: Callable[[], object], calls: int) -> float:
    return min(timeit.repeat(what, number=calls, repeat=5)) / calls * 1e9


def in_a_worker(rounds: int) -> dict[str, float]:
    """Return nanoseconds of a look at each flag in the task that this runs as; how many times ours goes into a Manager's."""
    import stoppable

    found = measure(
        {
            "threading_ns": ("x.is_set()", threading.Event()),
            "event_ns": ("x.is_set()", Event()),
            "token_ns": ("x.is_set()", stoppable.current_token()),
            "token_check_ns": ("x.check()", stoppable.current_token()),
            "check_ns": ("x()", stoppable.check),
        },
        rounds,
    )
    found["multiprocessing_ns"] = measure_once(multiprocessing.Event().is_set, 5000)
    with multiprocessing.Manager() as manager:
        found["manager_ns"] = measure_once(manager.Event().is_set, 300)
    found["manager_times"] = found["manager_ns"] / found["event_ns"]
    return found


def answer(go: Event, back: Event) -> None:
    while True:
        go.wait()
        go.clear()
        back.set()


def round_trip_us() -> float:
    """Return the time from set() here to a woken process's set() seen here, two wake-ups in all."""
    go, back = Event(), Event()
    pid = os.fork()
    if pid == 0:
        answer(go, back)
    took = []
    for _ in range(300):
        start = time.perf_counter()
        go.set()
        back.wait()
        back.clear()
        took.append(time.perf_counter() - start)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return sorted(took)[len(took) // 2] * 1e6


def main() -> None:
    token = StopToken()
    base = "threading.Event.is_set"
    took = measure(
        {
            base: ("x.is_set()", threading.Event()),
            "Event.is_set": ("x.is_set()", Event()),
            "StopToken.is_set": ("x.is_set()", token),
            "StopToken.check": ("x.check()", token),
            "with a deadline: is_set": ("x.is_set()", StopToken(timeout=1000)),
            "a child: is_set": ("x.is_set()", token.child()),
            "a child: check": ("x.check()", token.child()),
            "a child with a deadline: is_set": ("x.is_set()", token.child(timeout=1000)),
            "a grandchild: is_set": ("x.is_set()", token.child().child()),
        }
    )
    print(f"Python {sys.version.split()[0]}")
    for name, ns in took.items():
        print(f"{name:36} {ns:9.1f} ns  {ns / took[base]:6.2f} times {base}")
    with multiprocessing.Manager() as manager:
        ns = measure_once(manager.Event().is_set, 500)
        print(f"{'Manager().Event().is_set':36} {ns:9.1f} ns  {ns / took[base]:6.1f}")
    ns = measure_once(multiprocessing.Event().is_set, 5000)
    print(f"{'multiprocessing.Event.is_set':36} {ns:9.1f} ns  {ns / took[base]:6.1f}")
    word = Word(bytearray(4), 0)
    for name, what in (
        ("StopToken()", StopToken),
        ("token.child()", token.child),
        ("Event()", Event),
        ("set, nobody waiting", word.set_and_wake),
    ):
        print(f"{name:36} {measure_once(what, 2000):9.1f} ns")
    tokens = iter([StopToken() for _ in range(5000)])
    print(f"{'stop(), the first':36} {measure_once(lambda: next(tokens).stop('x'), 900):9.1f} ns")
    print(f"{'two wake-ups between processes':36} {round_trip_us():9.1f} us")


if __name__ == "__main__":
    main()
