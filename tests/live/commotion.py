"""A program that does all that a pool can do, at random, until it is ended: `python commotion.py BRAND METHOD SEED WAY`.

It prints `begun` before it makes its first pool, then makes pools, submits, stops, nests, leaves
processes, and shuts down, over and over. WAY says what it does when SIGUSR1 comes.
"""

import concurrent.futures
import multiprocessing
import os
import random
import signal
import sys
import time
from contextlib import suppress

import branding
import chores
import doomed
import stoppable

POLICY = stoppable.StopPolicy(ask=0.05, interrupt=0.05, terminate=0.05)


def blink() -> None:
    time.sleep(0.02)


def with_family() -> None:
    doomed.family()
    chores.sleep()


def family_left_behind() -> None:
    """End well, and leave a family."""
    doomed.family()


def nested(seed: int) -> None:
    turn(random.Random(seed), "none", depth=1)


TASKS = (
    blink, blink, blink, chores.sleep, chores.polite, chores.stubborn, chores.hold_gil, doomed.stopped,
    with_family, with_family, family_left_behind,
)  # fmt: skip


def turn(chance: random.Random, method: str, depth: int = 0) -> None:
    """Make a pool, use it, and end it, all by chance."""
    context = None if method == "none" else multiprocessing.get_context(method)
    with suppress(RuntimeError), stoppable.ProcessPoolExecutor(chance.randint(1, 3), context, policy=POLICY) as pool:
        tasks: list[stoppable.Future[object]] = []
        for _ in range(chance.randint(1, 8)):
            match chance.randrange(8):
                case 0 | 1 | 2 | 3:
                    tasks.append(pool.submit(chance.choice(TASKS)))
                case 4:
                    tasks.append(pool.submit(bytes, chance.choice((10, 100 << 10, 20 << 20))))
                case 5 if depth == 0:
                    tasks.append(pool.submit(nested, chance.getrandbits(32)))
                case 6 if tasks:
                    chance.choice(tasks).stop(at=chance.choice(("ask", "interrupt", "terminate", "kill")))
                case _:
                    concurrent.futures.wait(tasks, chance.uniform(0, 0.1))
        match chance.randrange(4):
            case 0:
                pool.stop()
            case 1:
                pool.kill_workers()
            case 2:
                raise RuntimeError("left")
            case _:
                concurrent.futures.wait(tasks, chance.uniform(0, 0.3))
                pool.stop(at="terminate")


class Doomed(Exception):
    """Raised in the main thread, wherever that is."""


class End:
    """What SIGUSR1 does, by the way that the program is to end."""

    def __init__(self, way: str) -> None:
        self.way, self.asked = way, False
        signal.signal(signal.SIGUSR1, self)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it is ignored below `nohup`

    def __call__(self, *_: object) -> None:
        match self.way:
            case "exit":
                os._exit(3)
            case "exec":
                os.execv("/bin/sh", ["sh", "-c", "exit 4"])
            case "fail":
                raise Doomed
            case "return":
                self.asked = True


def main(brand: str, method: str, seed: str, way: str = "") -> None:
    branding.take(int(brand))
    chance, end = random.Random(int(seed)), End(way)
    print("begun", flush=True)
    try:
        while not end.asked:
            turn(chance, method)
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # another one, while Python ends, would be its default action


if __name__ == "__main__":
    main(*sys.argv[1:])
