"""What a pool costs besides its tasks: its start and end, its memory, its import, a look at its flag."""

import os
import subprocess
import sys
import time

import flag_cost
import processes
import work
from cases_rate import WORKERS, Numbers, warm
from peer import Peer
from peers import FUTURES


def life(kind: type[Peer]) -> Numbers:
    """The first result of a new pool, and the end of an idle one, with its workers."""
    kind.load()
    start = time.perf_counter()
    peer = kind(WORKERS)
    found: Numbers = {}
    left = 0.0

    async def body() -> processes.Ends:
        nonlocal left
        await peer.call(work.noop, None)
        found["first_ms"] = (time.perf_counter() - start) * 1e3
        await warm(peer)
        workers = set(await peer.all_of([(work.who, 0.01)] * 4 * WORKERS))
        await peer.sleep(0.3)
        ends = processes.Ends(workers)
        left = time.perf_counter()
        return ends

    ends = peer.run(body)
    peer.close()
    if ends.wait(3):
        found["shutdown_ms"] = (time.perf_counter() - left) * 1e3
    else:
        found["shutdown_ms"] = "its workers stay until the program ends"
    return found


def memory(kind: type[Peer]) -> Numbers:
    """Proportional set size of an idle worker, and of each process that helps; MB."""
    kind.load()
    peer = kind(WORKERS)

    async def body() -> Numbers:
        await warm(peer)
        workers = set(await peer.all_of([(work.who, 0.02)] * 4 * WORKERS))
        await peer.sleep(0.3)
        found: dict[str, float] = {"helpers_mb": 0.0}
        for pid in set(processes.descendants(os.getpid())) - workers:
            size = processes.pss_mb(pid)
            key = f"{processes.role(pid)}_mb"
            found[key] = found.get(key, 0.0) + size
            found["helpers_mb"] += size
        return {
            "worker_mb": sum(map(processes.pss_mb, workers)) / len(workers),
            "workers": float(len(workers)),
            **found,
        }

    found: Numbers = peer.run(body)
    return found


def imports(kind: type[Peer], times: int = 7) -> Numbers:
    """What a program waits for the import, without the interpreter's own start; and for the standard pool's, beside it.

    The least of several, interleaved: what the machine does beside it can only add to that.
    """
    statements = {"bare": "pass", "import": kind.imports, "standard": FUTURES}
    best = dict.fromkeys(statements, float("inf"))
    for _ in range(times):
        for name, statement in statements.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)
            best[name] = min(best[name], time.perf_counter() - start)
    ours, standard = best["import"] - best["bare"], best["standard"] - best["bare"]
    return {"ms": ours * 1e3, "standard_ms": standard * 1e3}


def flag(kind: type[Peer], rounds: int = 15) -> Numbers:
    """A look at each flag, in a worker, nanoseconds; the least of several rounds, interleaved."""
    kind.load()
    peer = kind(1)

    async def body() -> Numbers:
        return dict(await peer.call(flag_cost.in_a_worker, rounds))

    found: Numbers = peer.run(body)
    return found
