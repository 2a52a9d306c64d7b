"""What `chaos_peers.py` does. A file of its own, since each worker imports the program again."""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import logging
import multiprocessing
import os
import platform
import secrets
import signal
import tempfile
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import chaos_plan
import chaos_run
import chaos_tasks
import leaks
import stoppable
from chaos_harm import Harmer
from chaos_history import HarmDone, read_log
from chaos_plan import Kind, Order

WORKERS = 4
WINDOW = 100  # tasks that are submitted and not done
_SLACK_S = 0.1  # a signal on its way
_LATE_S = 1.0  # from a kill to the loss of a task that it hit before it began
HANG_S = 15.0  # without any task's end
WEIGHTS = {
    Kind.NOOP: 45,
    Kind.NAP: 30,
    Kind.SPIN: 8,
    Kind.BYTES: 10,
    Kind.CARRY: 3,
    Kind.RAISE: 3,
    Kind.DEAF: 4,
}
RIGHT, FAILED, STOPPED, HIT, INNOCENT, WRONG, HUNG = "right", "failed", "stopped", "hit", "innocent", "wrong", "hung"


class Peer:
    """A pool as far as all have one. `pool` is replaced when it breaks."""

    name = ""
    version = ""
    can_stop = False
    warden = False  # whether a process between us and the workers is harmed too

    def __init__(self) -> None:
        self.pool: Any = self.make()

    def make(self) -> Any:
        raise NotImplementedError

    def submit(self, *call: Any) -> "Future[Any]":
        future: Future[Any] = self.pool.submit(*call)
        return future

    def workers(self) -> list[int]:
        return [child.pid for child in multiprocessing.active_children() if child.pid]

    def parent(self) -> int | None:
        return os.getpid()

    def warden_pid(self) -> int | None:
        return None

    def abandon(self) -> None:
        """End a pool that is broken or hangs, by force."""
        for pid in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        self.pool.shutdown()


class Ours(Peer):
    name, version, can_stop = "stoppable", stoppable.__version__, True

    def make(self) -> Any:
        return stoppable.ProcessPoolExecutor(WORKERS, policy=chaos_run.POLICY)

    def workers(self) -> list[int]:
        found: list[int] = self.pool.workers()
        return found

    def parent(self) -> int | None:
        reactor = self.pool._reactor
        process = None if reactor is None else reactor.launcher._process
        return None if process is None else int(process.pid)

    def warden_pid(self) -> int | None:
        return self.parent() if self.warden else None

    def abandon(self) -> None:
        self.pool.kill_workers()


class OursHarder(Ours):
    name, warden = "stoppable, its warden harmed too", True


class Standard(Peer):
    name, version = "concurrent.futures", platform.python_version()

    def make(self) -> Any:
        return ProcessPoolExecutor(WORKERS)


class Pebble(Peer):
    name, can_stop = "pebble", True

    def make(self) -> Any:
        import pebble

        Pebble.version = importlib.metadata.version("pebble")
        return pebble.ProcessPool(max_workers=WORKERS)

    def submit(self, *call: Any) -> "Future[Any]":
        future: Future[Any] = self.pool.schedule(call[0], args=call[1:])
        return future

    def abandon(self) -> None:
        super().abandon()
        self.pool.stop()

    def close(self) -> None:
        self.pool.close()
        self.pool.join()


PEERS: tuple[type[Peer], ...] = (Ours, OursHarder, Standard, Pebble)


class Match:
    """One peer against one list of tasks."""

    def __init__(self, peer: Peer, orders: list[Order], folder: str) -> None:
        self.peer = peer
        self.orders = {order.number: order for order in orders if peer.can_stop or order.kind is not Kind.DEAF}
        self.log = str(Path(folder) / "log")
        Path(self.log).touch()
        self.ends: dict[int, str] = {}
        self.lost: dict[int, float] = {}
        self.errors: dict[int, str] = {}
        self.pools = 1
        self.pending: dict[Future[Any], Order] = {}
        self.changed = threading.Condition()

    def go(self, seed: int, every_s: float) -> Counter[str]:
        """Run all of it and count what became of it."""
        peer = self.peer
        with Harmer(
            seed,
            self.log,
            {number: dataclasses.replace(order, harm=None) for number, order in self.orders.items()},
            peer.workers,
            peer.warden_pid,
            parent=peer.parent,
            every_s=every_s,
            warden_every_s=every_s * 40,
        ) as harmer:
            for order in self.orders.values():
                self._room(WINDOW - 1)
                self._submit(order)
            self._room(0)
        closer = threading.Thread(target=peer.close, daemon=True)
        closer.start()
        closer.join(HANG_S)
        counts = self._judge(harmer.done)
        counts["pools"], counts["kills"] = self.pools, sum(h.signum == signal.SIGKILL for h in harmer.done)
        counts["shutdown hangs"] = int(closer.is_alive())
        if closer.is_alive():
            peer.abandon()
        return counts

    def _submit(self, order: Order) -> None:
        extra = chaos_tasks.blob(order.number, order.size) if order.kind is Kind.CARRY else None
        call = (chaos_tasks.perform, self.log, order.number, str(order.kind), order.size, order.lasts_s, extra)
        for _ in range(3):
            try:
                future = self.peer.submit(*call)
                break
            except Exception:  # it is broken, or was never whole
                self._replace()
        else:
            self.ends[order.number] = INNOCENT
            return
        with self.changed:
            self.pending[future] = order
        future.add_done_callback(self._on_end)
        if order.kind is Kind.DEAF:
            timer = threading.Timer(0.05, future.cancel)
            timer.daemon = True
            timer.start()

    def _on_end(self, future: "Future[Any]") -> None:
        with self.changed:
            order = self.pending.pop(future, None)
            if order is not None:
                self.ends[order.number] = self._end(order, future)
            self.changed.notify()

    def _end(self, order: Order, future: "Future[Any]") -> str:
        if future.cancelled():
            return STOPPED if order.kind is Kind.DEAF else INNOCENT
        error = future.exception()
        if error is None:
            return WRONG if chaos_run.fault_of(order, future.result()) else RIGHT
        if order.kind is Kind.RAISE and isinstance(error, ValueError):
            return FAILED
        self.lost[order.number] = time.monotonic()
        self.errors[order.number] = type(error).__name__
        return HIT  # or not: see `_judge`

    def _room(self, most: int) -> None:
        """Wait until at most so many are pending; what does not move for `HANG_S` hangs."""
        with self.changed:
            while len(self.pending) > most:
                before = len(self.pending)
                if not self.changed.wait_for(lambda before=before: len(self.pending) < before, HANG_S):  # type: ignore[misc]
                    for order in self.pending.values():
                        self.ends[order.number] = HUNG
                    self.pending.clear()
                    hung = True
                    break
            else:
                hung = False
        if hung:
            self._replace()

    def _replace(self) -> None:
        self.pools += 1
        old = threading.Thread(target=self.peer.abandon, daemon=True)
        old.start()
        old.join(HANG_S)
        self.peer.pool = self.peer.make()

    def _judge(self, harms: list[HarmDone]) -> Counter[str]:
        """Count the ends. A task is hit if its own worker was killed while it ran: at most one for each kill."""
        kills = [harm for harm in harms if harm.signum == signal.SIGKILL]
        left = {harm: WORKERS if harm.warden else 1 for harm in kills}
        begun: dict[int, list[tuple[int, float]]] = {}
        for record in read_log(self.log):
            if record.what == chaos_tasks.BEGUN:
                begun.setdefault(record.number, []).append((record.pid, record.at))
        counts: Counter[str] = Counter()
        # Those of which more is known choose first.
        for number, at in sorted(self.lost.items(), key=lambda item: item[0] not in begun):
            found = next((harm for harm in kills if left[harm] and _hits(harm, begun.get(number, []), at)), None)
            if found is None:
                self.ends[number] = INNOCENT
                counts[f"innocent: {self.errors[number]}"] += 1
            else:
                left[found] -= 1
        counts.update(self.ends.values())
        counts["tasks"] = len(self.orders)
        counts["twice"] = sum(len(runs) > 1 for runs in begun.values())
        return counts


def _hits(harm: HarmDone, runs: list[tuple[int, float]], at: float) -> bool:
    """Say whether the kill may have cost a task that ran there, or that was lost at *at* and never began."""
    if harm.began > at:
        return False
    if not runs:
        return at - harm.ended < _LATE_S
    return any((harm.warden or pid == harm.pid) and started <= harm.ended + _SLACK_S for pid, started in runs)


def orders_of(seed: int, tasks: int) -> list[Order]:
    """Return the tasks of a seed: the same for every peer. The DEAF ones last until they are stopped."""
    plain = chaos_plan.make(seed, tasks, weights=WEIGHTS).orders()
    return [
        dataclasses.replace(
            order,
            stops=(),
            timeout_s=None,
            batch=None,
            lasts_s=chaos_plan.ENDLESS_S if order.kind is Kind.DEAF else order.number % 30 / 1000,
        )
        for order in plain
    ]


def row(kind: type[Peer], totals: Counter[str], took_s: float) -> str:
    """Return a line of the table."""
    cells = (
        f"{kind.name} {kind.version}",
        f"{totals['tasks']:,}",
        f"{totals['kills']:,}",
        f"{totals[HIT]:,}",
        f"**{totals[INNOCENT]:,}**",
        f"{totals[HUNG]:,}",
        f"{totals['twice']:,}",
        f"{totals[WRONG]:,}",
        f"{totals[STOPPED]:,}" if kind.can_stop else "cannot",
        f"{totals['pools']:,}",
        f"{took_s:.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """Run every peer against every seed and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--every", type=float, default=0.1, help="seconds between two signals to workers")
    parser.add_argument("--peers", nargs="+", default=[kind.__name__ for kind in PEERS])
    args = parser.parse_args()
    os.environ[leaks.MARK] = secrets.token_hex(8)
    warnings.simplefilter("ignore", DeprecationWarning)  # forks with threads: the peers' own way
    logging.disable(logging.CRITICAL)
    print("| pool | tasks | kills | hit | innocent lost | hung | run twice | wrong | stopped | pools | seconds |")
    print("| --- " * 11 + "|", flush=True)
    for kind in PEERS:
        if kind.__name__ not in args.peers:
            continue
        totals: Counter[str] = Counter()
        began = time.monotonic()
        for seed in args.seeds:
            with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
                totals += Match(kind(), orders_of(seed, args.tasks), folder).go(seed, args.every)
        print(row(kind, totals, time.monotonic() - began), flush=True)
        notes = [f"{name}: {count}" for name, count in totals.items() if name.startswith(("innocent:", "shutdown"))]
        notes = [note for note in notes if not note.endswith(": 0")]
        if notes:
            print(f"    ({kind.name}: {', '.join(notes)})", flush=True)
    return 0
