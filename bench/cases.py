"""The measurements. Each takes a pool's class and returns numbers; each runs in a process of its own.

    python bench/cases.py CASE PEER        # prints one JSON object

Times are of the clock, seconds unless the key says otherwise. Nothing is averaged here: `run.py` does.
"""

import json
import os
import select
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import work
from peers import PEERS, Cannot, Peer, _Async

WORKERS = 2
Numbers = dict[str, float]
Case = Callable[[type[Peer]], Numbers]


def in_loop(peer: _Async, body: Callable[[], Awaitable[Any]]) -> Any:
    """Run *body* in Trio."""
    import trio

    return trio.run(body)


def all_of(peer: Peer, calls: list[tuple[Any, ...]]) -> list[Any]:
    """Make all calls at once and return their results."""
    if not isinstance(peer, _Async):
        return peer.get_all(calls)
    import trio

    results: list[Any] = [None] * len(calls)
    limit = trio.CapacityLimiter(WORKERS)

    async def one(number: int, call: tuple[Any, ...]) -> None:
        async with limit:
            results[number] = await peer.call(*call)

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            for number, call in enumerate(calls):
                nursery.start_soon(one, number, call)

    in_loop(peer, body)
    return results


def warm(peer: Peer) -> None:
    all_of(peer, [(work.noop, None)] * 20)


def noops(kind: type[Peer], count: int = 10_000) -> Numbers:
    """No-ops, a handle each: how many a second, and what a submit takes."""
    peer = kind(WORKERS)
    warm(peer)
    before, start = os.times(), time.perf_counter()
    all_of(peer, [(work.noop, None)] * count)
    took, after = time.perf_counter() - start, os.times()
    parent = after.user + after.system - before.user - before.system
    peer.close()
    ended = os.times()
    children = ended.children_user + ended.children_system
    return {"per_s": count / took, "parent_cpu_us": parent / count * 1e6, "children_cpu_s": children}


def chunks(kind: type[Peer], count: int = 300_000) -> Numbers:
    """`map` of no-ops in chunks of 1,000."""
    peer = kind(WORKERS)
    if isinstance(peer, _Async):
        raise Cannot
    warm(peer)
    items: list[Any] = [None] * count
    start = time.perf_counter()
    peer.map(work.noop, items, 1000)
    took = time.perf_counter() - start
    peer.close()
    return {"per_s": count / took}


def round_trip(kind: type[Peer], count: int = 1000) -> Numbers:
    """One no-op after the other."""
    peer = kind(WORKERS)
    warm(peer)
    took: list[float] = []
    if isinstance(peer, _Async):

        async def body() -> None:
            for _ in range(count):
                start = time.perf_counter()
                await peer.call(work.noop, None)
                took.append(time.perf_counter() - start)

        in_loop(peer, body)
    else:
        end = time.perf_counter() + 20
        while len(took) < count and time.perf_counter() < end:
            start = time.perf_counter()
            peer.get(peer.submit(work.noop, None))
            took.append(time.perf_counter() - start)
    peer.close()
    took.sort()
    return {"median_us": took[len(took) // 2] * 1e6, "p99_us": took[len(took) * 99 // 100] * 1e6}


def efficiency(kind: type[Peer], count: int = 2000) -> Numbers:
    """Tasks of 1 ms: the part of the workers' time that goes into them."""
    peer = kind(WORKERS)
    warm(peer)
    start = time.perf_counter()
    all_of(peer, [(work.spin, 0.001)] * count)
    took = time.perf_counter() - start
    peer.close()
    return {"part": count * 0.001 / WORKERS / took}


def arrays(kind: type[Peer]) -> Numbers:
    """Arrays as argument and as result, GB/s; the best of a few."""
    import numpy as np

    peer = kind(1)
    found: Numbers = {}
    all_of(peer, [(work.array_of, 8)])
    for size_mb, times in ((8, 8), (100, 3)):
        array = np.ones(size_mb * 125_000)
        make_s = min(_time(lambda size=array.nbytes: work.array_of(size)) for _ in range(3))  # type: ignore[misc]
        there = min(_time(lambda a=array: all_of(peer, [(work.bytes_of, a)])) for _ in range(times))  # type: ignore[misc]
        back = min(_time(lambda size=array.nbytes: all_of(peer, [(work.array_of, size)])) for _ in range(times))  # type: ignore[misc]
        found[f"argument_{size_mb}mb_gb_s"] = size_mb / 1e3 / there
        found[f"result_{size_mb}mb_gb_s"] = size_mb / 1e3 / max(1e-9, back - make_s)
    peer.close()
    return found


def _time(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


class Watched:
    """A path that a task holds open: its end is seen here the moment the task's process closes it."""

    def __init__(self, folder: str, number: int) -> None:
        self.path = str(Path(folder, str(number)))
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def begun(self) -> None:
        select.select([self.fd], [], [])
        os.read(self.fd, 1)

    def end(self) -> None:
        """Wait until nobody holds it any more."""
        while True:
            select.select([self.fd], [], [], 10)
            if os.read(self.fd, 1) == b"":
                os.close(self.fd)
                return


def stops(kind: type[Peer], times: int = 15) -> Numbers:
    """Stop a running task by force: until its process has really let go, and until its future says so."""
    found: Numbers = {}
    with tempfile.TemporaryDirectory() as folder:
        for how in ("sleep", "loop", "c"):
            gone, done = [], []
            for number in range(times):
                peer = kind(WORKERS)
                warm(peer)
                path = Watched(folder, hash((how, number)) & 0xFFFFFF)
                handle = peer.submit(work.hold, how, path.path)
                path.begun()
                start = time.perf_counter()
                peer.stop(handle)
                path.end()
                gone.append(time.perf_counter() - start)
                try:
                    peer.get(handle)
                except BaseException:  # each pool has its own way to say that it was stopped
                    pass
                done.append(time.perf_counter() - start)
                _close_quietly(peer)
            found[f"{how}_gone_ms"] = statistics.median(gone) * 1e3
            found[f"{how}_done_ms"] = statistics.median(done) * 1e3
    return found


def asks(kind: type[Peer], times: int = 100) -> Numbers:
    """Ask a task to end that looks at its flag: until it has ended and its future says so, microseconds."""
    found: Numbers = {}
    peer = kind(WORKERS)
    warm(peer)
    with tempfile.TemporaryDirectory() as folder:
        for name, function in (("polling", work.own_poll), ("waiting", work.own_sleep)):
            took = []
            for number in range(times):
                path = Watched(folder, hash((name, number)) & 0xFFFFFF)
                handle = peer.submit(function, path.path)
                path.begun()
                start = time.perf_counter()
                peer.ask(handle)
                try:
                    peer.get(handle)
                except BaseException:
                    pass
                took.append(time.perf_counter() - start)
                path.end()
            took.sort()
            found[f"{name}_us"] = took[times // 2] * 1e6
            found[f"{name}_p99_us"] = took[times * 99 // 100] * 1e6
    peer.close()
    return found


def recovery(kind: type[Peer], times: int = 10) -> Numbers:
    """Stop a task by force while the other worker is busy: until the next task's result is there."""
    took = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            peer = kind(WORKERS)
            warm(peer)
            path, other = Watched(folder, 2 * number), Watched(folder, 2 * number + 1)
            handle, busy = peer.submit(work.hold, "sleep", path.path), peer.submit(work.hold, "sleep", other.path)
            path.begun()
            other.begun()
            time.sleep(0.3)  # what a pool keeps warm is warm by then
            start = time.perf_counter()
            peer.stop(handle)
            try:
                peer.get(peer.submit(work.noop, None))
            except Exception as error:
                raise Cannot(f"the whole pool is lost: {type(error).__name__}") from error
            took.append(time.perf_counter() - start)
            peer.stop(busy)
            _close_quietly(peer)
    return {"median_ms": statistics.median(took) * 1e3}


def _close_quietly(peer: Peer) -> None:
    try:
        peer.close()
    except BaseException:  # a pool that has lost a worker may say so
        pass


def life(kind: type[Peer]) -> Numbers:
    """The first result of a new pool, and the end of an idle one."""
    start = time.perf_counter()
    peer = kind(WORKERS)
    all_of(peer, [(work.noop, None)])
    first = time.perf_counter() - start
    warm(peer)
    time.sleep(0.3)
    start = time.perf_counter()
    peer.close()
    return {"first_ms": first * 1e3, "shutdown_ms": (time.perf_counter() - start) * 1e3}


def head_of_line(kind: type[Peer]) -> Numbers:
    """Fifty tasks of 1 ms submitted behind one of 3 s, on two workers: until the last of them is there."""
    peer = kind(WORKERS)
    if isinstance(peer, _Async):
        raise Cannot
    warm(peer)
    start = time.perf_counter()
    peer.submit(work.nap, 3.0)
    for handle in [peer.submit(work.spin, 0.001) for _ in range(50)]:
        peer.get(handle)
    took = time.perf_counter() - start
    peer.close()
    return {"ms": took * 1e3}


def memory(kind: type[Peer], queued: int = 50_000) -> Numbers:
    """Proportional set size of the pool's processes, idle; and what a waiting task costs the parent."""
    peer = kind(WORKERS)
    if isinstance(peer, _Async):
        raise Cannot
    warm(peer)
    time.sleep(0.3)
    below = _descendants(os.getpid())
    sizes = sorted(_pss_mb(pid) for pid in below)
    with tempfile.TemporaryDirectory() as folder:
        held = [Watched(folder, n) for n in range(WORKERS)]
        blockers = [peer.submit(work.nap, 20.0) for _ in held]
        time.sleep(0.2)
        before = _rss_bytes()
        start = time.perf_counter()
        handles = [peer.submit(work.noop, None) for _ in range(queued)]
        submit = (time.perf_counter() - start) / queued
        after = _rss_bytes()
        del handles, blockers
    numbers = {
        "processes": float(len(sizes)),
        "all_mb": sum(sizes),
        "largest_mb": sizes[-1] if sizes else 0.0,
        "queued_bytes": (after - before) / queued,
        "submit_us": submit * 1e6,
    }
    print(json.dumps(numbers), flush=True)
    os._exit(0)  # what waits is not to be run


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for each in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (each / "children").read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


CASES: dict[str, Case] = {
    "noops": noops,
    "chunks": chunks,
    "round_trip": round_trip,
    "efficiency": efficiency,
    "arrays": arrays,
    "stops": stops,
    "asks": asks,
    "recovery": recovery,
    "life": life,
    "head_of_line": head_of_line,
    "memory": memory,
}


def main() -> None:
    case, peer = sys.argv[1:3]
    try:
        numbers: Any = CASES[case](PEERS[peer])
    except Cannot as no:
        numbers = {"cannot": str(no) or "it has no way to"}
    except ImportError as missing:
        numbers = {"cannot": f"not installed: {missing.name}"}
    print(json.dumps(numbers), flush=True)
    os._exit(0)  # some pools leave threads that would hold the process


if __name__ == "__main__":
    main()
