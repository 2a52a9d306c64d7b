"""How fast tasks go through a pool, and what they cost.

Each case takes a pool's class and how often to do it, and returns numbers whose names end with their unit.
"""

import itertools
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import processes
import work
from peer import Cannot, Peer

WORKERS = 2
PULLS = 100_000  # so many items pulled for a hundred results count as endless
LONG_S = 6.0  # so long goes on what would not end
Numbers = dict[str, float | str]


async def warm(peer: Peer) -> None:
    """Have every worker there, with the module of the tasks imported."""
    await peer.all_of([(work.who, 0.002)] * 8 * WORKERS)


def in_pool(kind: type[Peer], body: Callable[[Peer], Coroutine[Any, Any, Numbers]]) -> Numbers:
    """Make a pool, warm it, and run *body* with it. What is left of it ends with this process."""
    kind.load()
    peer = kind(WORKERS)

    async def all_of_it() -> Numbers:
        await warm(peer)
        return await body(peer)

    found: Numbers = peer.run(all_of_it)
    return found


def noops(kind: type[Peer], count: int = 10_000) -> Numbers:
    """No-ops, a handle each: how many a second, and the processor time of this process and of all below it."""
    if not kind.handles:
        raise Cannot("it has no handle for each call, and sends them in batches")

    async def body(peer: Peer) -> Numbers:
        below, own, start = processes.cpu_below_s(os.getpid()), time.process_time(), time.perf_counter()
        await peer.all_of([(work.noop, None)] * count)
        took = time.perf_counter() - start
        parent = time.process_time() - own
        children = sum(now - below.get(pid, 0.0) for pid, now in processes.cpu_below_s(os.getpid()).items())
        each_10k = 10_000 / count
        return {
            "per_s": count / took,
            "parent_cpu_us": parent / count * 1e6,
            "children_cpu_us": children / count * 1e6,
            "cpu_10k_s": (parent + children) * each_10k,
        }

    return in_pool(kind, body)


def chunks(kind: type[Peer], count: int = 300_000) -> Numbers:
    """`map` of no-ops in chunks of 1,000."""

    async def body(peer: Peer) -> Numbers:
        items: list[Any] = [None] * count
        start = time.perf_counter()
        peer.map(work.noop, items, 1000)
        return {"per_s": count / (time.perf_counter() - start)}

    return in_pool(kind, body)


def round_trip(kind: type[Peer], count: int = 1000, limit_s: float = 10) -> Numbers:
    """One no-op after the other."""

    async def body(peer: Peer) -> Numbers:
        took: list[float] = []
        end = time.perf_counter() + limit_s
        while len(took) < count and time.perf_counter() < end:
            start = time.perf_counter()
            await peer.call(work.noop, None)
            took.append(time.perf_counter() - start)
        return quantiles(took, "us")

    return in_pool(kind, body)


def quantiles(took_s: list[float], unit: str) -> Numbers:
    """Return the median and the 99th percentile, in *unit*: us or ms."""
    took_s = sorted(took_s)
    factor = {"us": 1e6, "ms": 1e3}[unit]
    middle, late = took_s[len(took_s) // 2], took_s[len(took_s) * 99 // 100]
    return {f"median_{unit}": middle * factor, f"p99_{unit}": late * factor}


def efficiency(kind: type[Peer], count: int = 2000) -> Numbers:
    """Tasks of 1 ms: the part of the workers' time that goes into them."""

    async def body(peer: Peer) -> Numbers:
        start = time.perf_counter()
        await peer.all_of([(work.spin, 0.001)] * count)
        return {"part": count * 0.001 / WORKERS / (time.perf_counter() - start)}

    return in_pool(kind, body)


def arrays(kind: type[Peer], sizes_mb: tuple[int, ...] = (8, 100)) -> Numbers:
    """Arrays as argument and as result, GB/s; the best of a few."""
    import numpy as np

    async def best(peer: Peer, times: int, *call: Any) -> float:
        took = []
        for _ in range(times):
            start = time.perf_counter()
            await peer.call(*call)
            took.append(time.perf_counter() - start)
        return min(took)

    async def body(peer: Peer) -> Numbers:
        found: Numbers = {}
        await peer.all_of([(work.array_of, 8)] * 2 * WORKERS)  # numpy is imported by then
        for size_mb in sizes_mb:
            times = 8 if size_mb < 50 else 3
            array = np.ones(size_mb * 125_000)
            make_s = min(_time(work.array_of, array.nbytes) for _ in range(3))
            there = await best(peer, times, work.bytes_of, array)
            back = await best(peer, times, work.array_of, array.nbytes)
            found[f"argument_{size_mb}mb_gb_s"] = size_mb / 1e3 / there
            found[f"result_{size_mb}mb_gb_s"] = size_mb / 1e3 / max(1e-9, back - make_s)
        return found

    return in_pool(kind, body)


def _time(what: Callable[..., object], *args: object) -> float:
    start = time.perf_counter()
    what(*args)
    return time.perf_counter() - start


def head_of_line(kind: type[Peer]) -> Numbers:
    """Fifty tasks of 1 ms submitted behind one of 3 s, on two workers: until the last of them is there."""

    async def body(peer: Peer) -> Numbers:
        start = time.perf_counter()
        peer.submit(work.nap, 3.0)
        for handle in [peer.submit(work.spin, 0.001) for _ in range(50)]:
            await peer.ended(handle)
        return {"ms": (time.perf_counter() - start) * 1e3}

    return in_pool(kind, body)


def endless(kind: type[Peer], taken: int = 100, pulls: int = PULLS) -> Numbers:
    """An input without end: how many items the pool has pulled when a hundred results were taken, and a moment later."""
    pulled, until = 0, 0.0

    def items() -> Iterator[int]:
        nonlocal pulled
        for number in itertools.count():
            pulled += 1
            if pulled > pulls or time.monotonic() > until:
                raise Cannot(f"endless: it pulls all that there is, {pulled - 1:,} items and more")
            yield number

    async def body(peer: Peer) -> Numbers:
        nonlocal until
        until = time.monotonic() + LONG_S
        for _ in itertools.islice(peer.stream(work.noop, items()), taken):
            pass
        # A pool that pulls in a thread goes on with that.
        seen, before = pulled, -1
        while pulled != before and pulled <= pulls and time.monotonic() < until:
            before = pulled
            time.sleep(0.3)
        if pulled > pulls or pulled != before or time.monotonic() >= until:
            raise Cannot(f"endless: {seen:,} pulled with the last result, and it goes on")
        return {"pulled": float(pulled)}

    return in_pool(kind, body)


def queue(kind: type[Peer], count: int = 30_000) -> Numbers:
    """What a task that waits costs: the time to submit it, and the parent's memory."""

    if kind.no_queue:
        raise Cannot(kind.no_queue)

    async def body(peer: Peer) -> Numbers:
        for _ in range(WORKERS):
            peer.submit(work.nap, 30.0)
        await peer.sleep(0.2)
        before, start = processes.rss_bytes(), time.perf_counter()
        handles: list[Any] = []
        while len(handles) < count and time.perf_counter() < start + LONG_S:
            handles += [peer.submit(work.noop, None) for _ in range(1000)]
        took, after = time.perf_counter() - start, processes.rss_bytes()
        return {"submit_us": took / len(handles) * 1e6, "queued_bytes": (after - before) / len(handles)}

    return in_pool(kind, body)
