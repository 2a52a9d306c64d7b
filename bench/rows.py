"""The lines of the table, and the target that the project has set itself for each.

A verdict is computed from the numbers of one run and never written by hand. Most targets are ratios to the best peer
in that run, since times differ by machine; where there is no peer to compare with, they are absolute, for a machine of
two cores.
"""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

US = "stoppable"

Results = dict[str, dict[str, list[dict[str, Any]]]]
Values = dict[str, float]  # by peer: the median of the rounds


class Ratio(NamedTuple):
    """Ours to the best peer's: at least (of a rate) or at most (of a time or size) so many times."""

    times: float
    only: tuple[str, ...] = ()  # the peers that it is about; empty: all
    but: tuple[str, ...] = ()  # the peers that it is not about


class Bound(NamedTuple):
    """Ours, in the row's unit: at least (of a rate) or at most (of a time or size)."""

    value: float


class Beside(NamedTuple):
    """Ours to another number of the same measurement."""

    times: float
    key: str
    name: str


Target = Ratio | Bound | Beside


class Row(NamedTuple):
    """A line of the table: a number of a case, how to show it, which way is better, and what is wanted."""

    case: str
    key: str
    title: str
    unit: str = ""
    more_is_better: bool = False
    targets: tuple[Target, ...] = ()


_JOBLIB_2 = (Ratio(2, only=("joblib",)), Ratio(10, but=("joblib",)))
_THREADING = "threading.Event"

ROWS = [
    Row("noops", "per_s", "no-ops, a future each", "/s", True, (Ratio(2.5),)),
    Row("noops", "cpu_10k_s", "CPU for 10,000 no-ops, parent and workers", "s", targets=(Bound(0.3),)),
    Row("noops", "parent_cpu_us", "CPU for each no-op, parent", "µs"),
    Row("noops", "children_cpu_us", "CPU for each no-op, workers and helpers", "µs"),
    Row("chunks", "per_s", "no-ops, `map` in chunks of 1,000", "/s", True, (Ratio(1),)),
    Row("round_trip", "median_us", "round trip of one no-op", "µs", targets=(Ratio(0.7),)),
    Row("round_trip", "p99_us", "round trip of one no-op, 99th percentile", "µs"),
    Row("efficiency", "part", "2,000 tasks of 1 ms: part of the time spent in them", "", True, (Bound(0.95),)),
    Row("head_of_line", "ms", "50 × 1 ms beside one 3 s task", "ms", targets=(Bound(55),)),
    Row("arrays", "argument_8mb_gb_s", "8 MB array as argument", "GB/s", True, _JOBLIB_2),
    Row("arrays", "result_8mb_gb_s", "8 MB array as result", "GB/s", True, _JOBLIB_2),
    Row("arrays", "argument_100mb_gb_s", "100 MB array as argument", "GB/s", True, _JOBLIB_2),
    Row("arrays", "result_100mb_gb_s", "100 MB array as result", "GB/s", True, _JOBLIB_2),
    Row("asks", "polling_us", "ask a task that polls its flag: ended and done", "µs", targets=(Ratio(1),)),
    Row("asks", "polling_p99_us", "ask a task that polls its flag, 99th percentile", "µs", targets=(Bound(2000),)),
    Row("asks", "waiting_us", "ask a task that waits for its flag: ended and done", "µs", targets=(Ratio(1),)),
    Row("asks", "waiting_p99_us", "ask a task that waits for its flag, 99th percentile", "µs", targets=(Bound(2000),)),
    Row("interrupts", "sleep_gone_ms", "interrupt a sleeping task: it has ended", "ms"),
    Row("interrupts", "sleep_done_ms", "interrupt a sleeping task: ended and done", "ms", targets=(Bound(1),)),
    Row("interrupts", "loop_gone_ms", "interrupt a looping task: it has ended", "ms"),
    Row("interrupts", "loop_done_ms", "interrupt a looping task: ended and done", "ms", targets=(Bound(1),)),
    Row("stops", "sleep_gone_ms", "kill a sleeping task: its process is gone", "ms"),
    Row("stops", "sleep_done_ms", "kill a sleeping task: gone and done", "ms", targets=(Bound(1.5),)),
    Row("stops", "loop_done_ms", "kill a looping task: gone and done", "ms", targets=(Bound(1.5),)),
    Row("stops", "c_done_ms", "kill a C call that keeps the GIL: gone and done", "ms", targets=(Bound(1.5),)),
    Row("recovery", "median_ms", "kill to the next task's result, other worker busy", "ms", targets=(Bound(2),)),
    Row("life", "first_ms", "first result of a new pool", "ms", targets=(Bound(35),)),
    Row("life", "shutdown_ms", "shutdown of an idle pool, workers ended", "ms", targets=(Bound(3),)),
    Row("imports", "ms", "import", "ms", targets=(Beside(1.2, "standard_ms", "concurrent.futures.process"),)),
    Row("memory", "worker_mb", "memory of an idle worker (PSS)", "MB", targets=(Bound(4.5),)),
    Row("memory", "warden_mb", "memory of the warden (PSS)", "MB", targets=(Bound(8),)),
    Row("memory", "spare_mb", "memory of the spare worker (PSS)", "MB"),
    Row("memory", "fork_server_mb", "memory of the fork server (PSS)", "MB"),
    Row("memory", "tracker_mb", "memory of the resource tracker (PSS)", "MB"),
    Row("memory", "helpers_mb", "memory of all helpers (PSS)", "MB"),
    Row("queue", "submit_us", "submit of a task that waits", "µs", targets=(Bound(6),)),
    Row("queue", "queued_bytes", "a waiting task in the parent", "B", targets=(Bound(1200),)),
    Row("endless", "pulled", "endless input: items pulled for 100 results", "", targets=(Bound(104),)),
]

# Each is compared with threading.Event in the same process.
FLAG_ROWS = [
    Row("flag", "threading_ns", "`threading.Event().is_set()`", "ns"),
    Row("flag", "event_ns", "`Event().is_set()`", "ns", targets=(Beside(1.3, "threading_ns", _THREADING),)),
    Row("flag", "token_ns", "`current_token().is_set()`", "ns", targets=(Beside(1.3, "threading_ns", _THREADING),)),
    Row("flag", "token_check_ns", "`token.check()`", "ns", targets=(Beside(2.5, "threading_ns", _THREADING),)),
    Row("flag", "check_ns", "`stoppable.check()`", "ns", targets=(Beside(2.5, "threading_ns", _THREADING),)),
    Row("flag", "multiprocessing_ns", "`multiprocessing.Event().is_set()`", "ns"),
    Row("flag", "manager_ns", "`Manager().Event().is_set()`", "ns"),
    Row("flag", "manager_times", "a Manager's event to ours", "×", True, (Bound(1000),)),
]

# What no pool here can be better than in some part of its work: see `floors.py`.
FLOOR_ROWS = [
    Row("floors", "ping_us", "a pickled call and its answer, over a socket", "µs"),
    Row("floors", "ping_thread_us", "the same, when another thread reads the answer", "µs"),
    Row("floors", "bare_ms", "start and end of a bare interpreter", "ms"),
    Row("floors", "forker_ms", "start of an interpreter that can fork workers, to its fork's first word", "ms"),
    Row("floors", "kill_ms", "SIGKILL to the end of a sleeping fork", "ms"),
    Row("floors", "fork_mb", "memory of a fork that has done nothing (PSS)", "MB"),
    Row("floors", "typing_ms", "import of `typing`, which the standard pool does without", "ms"),
    Row("floors", "resident_gb_s", "100 MB copied into memory that is there", "GB/s", True),
    Row("floors", "fresh_gb_s", "100 MB copied into fresh memory", "GB/s", True),
    Row("floors", "socket_gb_s", "100 MB through a socket into fresh memory", "GB/s", True),
]


def middle(results: Results, row: Row, peer: str, key: str | None = None) -> float | None:
    """Return the median of the rounds, or None if the peer has no such number."""
    found = [each.get(key or row.key) for each in results.get(row.case, {}).get(peer, [])]
    numbers = [each for each in found if isinstance(each, int | float)]
    return statistics.median(numbers) if numbers else None


def best_peer(results: Results, row: Row, chosen: Callable[[str], bool] = lambda _: True) -> float | None:
    """Return the best number of the peers that are *chosen*, or None if none of them has any."""
    values = [middle(results, row, peer) for peer in results.get(row.case, {}) if peer != US and chosen(peer)]
    numbers = [value for value in values if value is not None]
    if not numbers:
        return None
    return max(numbers) if row.more_is_better else min(numbers)


def wanted(row: Row) -> str:
    """Return the row's targets in words."""
    sign = "≥" if row.more_is_better else "≤"
    return "; ".join(f"{sign} {_words(target, row.unit)}" for target in row.targets) or "–"


def _words(target: Target, unit: str) -> str:
    if isinstance(target, Bound):
        return f"{target.value:,g} {unit}".strip()
    times = "" if target.times == 1 else f"{target.times:g} × "
    if isinstance(target, Beside):
        return times + target.name
    return times + (" and ".join(target.only) or "the best peer") + ("".join(f" but {name}" for name in target.but))


def verdict(results: Results, row: Row) -> str:
    """Say whether the row's targets are met in these results: `met`, `not met`, or what there is no number of."""
    if not row.targets:
        return "–"
    ours = middle(results, row, US)
    if ours is None:
        return "not measured"
    limits = [_limit(results, row, target) for target in row.targets]
    if not all(_keeps(row, ours, limit) for limit in limits if limit is not None):
        return "not met"
    return "no peer measured" if None in limits else "met"


def _keeps(row: Row, ours: float, limit: float) -> bool:
    return ours >= limit if row.more_is_better else ours <= limit


def _limit(results: Results, row: Row, target: Target) -> float | None:
    """Return what ours may be at the worst, or None if there is no number to compare with."""
    if isinstance(target, Bound):
        return target.value
    if isinstance(target, Beside):
        other = middle(results, row, US, target.key)
    else:
        other = best_peer(
            results, row, lambda peer: peer not in target.but and (not target.only or peer in target.only)
        )
    return None if other is None else other * target.times


def ratio(results: Results, row: Row) -> float | None:
    """Return ours divided by the best peer's."""
    ours, best = middle(results, row, US), best_peer(results, row)
    return ours / best if ours is not None and best else None
