"""How fast a running task can be stopped.

What counts is the real end: a task holds a pipe open, and its end is seen there. Some pools say "done" long before, or
long after.
"""

import functools
import multiprocessing
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import work
from cases_rate import WORKERS, Numbers, quantiles, warm
from peer import Cannot, Peer


class Watched:
    """A path that a task holds open: its end is seen here the moment the task closes it, or its process ends."""

    def __init__(self, peer: Peer, folder: str, name: str) -> None:
        self.peer, self.path = peer, str(Path(folder, name))
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    async def begun(self) -> None:
        """Wait until the task runs."""
        await self.peer.readable(self.fd)
        os.read(self.fd, 1)

    async def end(self) -> None:
        """Wait until nobody holds it any more."""
        while True:
            await self.peer.readable(self.fd)
            if os.read(self.fd, 1) == b"":
                os.close(self.fd)
                return


async def over(peer: Peer, handle: Any) -> None:
    """Wait for the end of a stopped task, however its pool says it."""
    try:
        await peer.ended(handle)
    except Cannot:
        raise
    except BaseException:  # each pool has its own way to say that a task was stopped
        pass


def _each(
    kind: type[Peer], ways: tuple[str, ...], times: int, end: Callable[[Peer, Any], None]
) -> dict[str, dict[str, list[float]]]:
    """Run and end a task of each way so many times: seconds until it has let go, and until its future says so too.

    Each time in a new pool: a stop ends some pools as a whole, and a worker with which pebble has replaced a stopped one
    does not see the signal in a loop, so that a second stop takes 3 s there (5.2.3, CPython 3.13) and a first one 0.08.
    """
    kind.load()
    took: dict[str, dict[str, list[float]]] = {way: {"gone": [], "done": []} for way in ways}

    async def once(peer: Peer, folder: str, way: str, number: int) -> None:
        await warm(peer)
        path = Watched(peer, folder, f"{way}-{number}")
        handle = peer.submit(work.hold, way, path.path)
        await path.begun()
        await peer.sleep(0.1)  # what a pool keeps warm is warm by then; the task is in its sleep or loop
        start = time.perf_counter()
        end(peer, handle)
        await path.end()
        took[way]["gone"].append(time.perf_counter() - start)
        await over(peer, handle)
        took[way]["done"].append(time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        for way in ways:
            for number in range(times):
                peer = kind(WORKERS)
                peer.run(functools.partial(once, peer, folder, way, number))
                _close_quietly(peer)
    return took


def _close_quietly(peer: Peer) -> None:
    try:
        peer.close()
    except Exception:  # a pool that has lost a worker may say so
        pass


def _told(took: dict[str, dict[str, list[float]]]) -> Numbers:
    found: Numbers = {}
    for way, by_end in took.items():
        for what, seconds in by_end.items():
            found[f"{way}_{what}_ms"] = quantiles(seconds, "ms")["median_ms"]
    return found


def stops(kind: type[Peer], times: int = 5) -> Numbers:
    """Stop a running task by force, asleep, in a loop, and in a C call that keeps the GIL."""
    return _told(_each(kind, ("sleep", "loop", "c"), times, lambda peer, handle: peer.stop(handle)))


def interrupts(kind: type[Peer], times: int = 10) -> Numbers:
    """Raise in a running task, asleep and in a loop; its worker goes on."""
    return _told(_each(kind, ("sleep", "loop"), times, lambda peer, handle: peer.interrupt(handle)))


def asks(kind: type[Peer], times: int = 60) -> Numbers:
    """Ask a task to end that looks at its flag: until it has ended and its future says so.

    Ours has a token of its own. A peer's has the best flag that it can have: one of `multiprocessing` that a forked
    worker inherits, otherwise a Manager's, sent as an argument.
    """
    kind.load()
    own = kind.__name__ == "Stoppable"
    flag: Any = None
    task: Callable[..., None] = work.hold
    more: tuple[Any, ...] = ()
    if own:
        task = work.hold_token
    elif kind.forks:
        work.FLAG = flag = multiprocessing.get_context("fork").Event()
    else:
        manager = multiprocessing.Manager()
        flag = manager.Event()
        task, more = work.hold_sent, (bytes(multiprocessing.current_process().authkey), pickle.dumps(flag))
    peer = kind(WORKERS)

    async def body() -> Numbers:
        await warm(peer)
        found: Numbers = {}
        with tempfile.TemporaryDirectory() as folder:
            for way, name in (("poll", "polling"), ("wait", "waiting")):
                took = []
                for number in range(times):
                    path = Watched(peer, folder, f"{way}-{number}")
                    handle = peer.submit(task, way, path.path, *more)
                    await path.begun()
                    await peer.sleep(0.002)  # it polls, or waits
                    start = time.perf_counter()
                    if own:
                        handle.stop()
                    else:
                        flag.set()
                    await over(peer, handle)
                    took.append(time.perf_counter() - start)
                    await path.end()
                    if not own:
                        flag.clear()
                told = quantiles(took, "us")
                found[f"{name}_us"], found[f"{name}_p99_us"] = told["median_us"], told["p99_us"]
        return found

    found: Numbers = peer.run(body)
    return found


def recovery(kind: type[Peer], times: int = 7) -> Numbers:
    """Stop a task by force while the other worker is busy: until the next task's result is there."""
    kind.load()
    peer = kind(WORKERS)

    async def body() -> Numbers:
        took = []
        await warm(peer)
        with tempfile.TemporaryDirectory() as folder:
            other = Watched(peer, folder, "other")
            busy = peer.submit(work.hold, "sleep", other.path)
            await other.begun()
            for number in range(times):
                path = Watched(peer, folder, str(number))
                handle = peer.submit(work.hold, "sleep", path.path)
                await path.begun()
                await peer.sleep(0.3)  # what a pool keeps warm is warm by then
                start = time.perf_counter()
                peer.stop(handle)
                try:
                    await peer.call(work.noop, None)
                except Cannot:
                    raise
                except Exception as error:
                    raise Cannot(f"the whole pool is lost: {type(error).__name__}") from error
                took.append(time.perf_counter() - start)
                await path.end()
            del busy
        return {"median_ms": quantiles(took, "ms")["median_ms"]}

    found: Numbers = peer.run(body)
    return found
