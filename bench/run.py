"""Measure this pool and its peers side by side, and write the table and the plot.

    python bench/run.py [--rounds 3] [--cases noops,round_trip] [--peers stoppable,mp.Pool] [--out bench]

Each measurement is a process of its own with a time limit. They are interleaved: every round runs
every pool once for a case before it goes on to the next case, in another order each round, so that a
busy moment of the machine does not fall on one pool alone. The table shows the median of the rounds
and, for each number, the ratio to the best peer.
"""

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from cases import CASES
from peers import PEERS

HERE = Path(__file__).parent
LIMIT_S = 90
US = "stoppable"


class Row(NamedTuple):
    """A line of the table: a number of a case, how to show it, and which way is better."""

    case: str
    key: str
    title: str
    more_is_better: bool = False


ROWS = [
    Row("noops", "per_s", "no-ops a second, a future each", True),
    Row("chunks", "per_s", "no-ops a second, `map` in chunks of 1,000", True),
    Row("round_trip", "median_us", "round trip of one no-op, µs"),
    Row("round_trip", "p99_us", "the same, 99th percentile, µs"),
    Row("efficiency", "part", "2,000 tasks of 1 ms: part of the time spent in them", True),
    Row("noops", "parent_cpu_us", "CPU of the parent for each no-op, µs"),
    Row("arrays", "argument_8mb_gb_s", "8 MB array as argument, GB/s", True),
    Row("arrays", "result_8mb_gb_s", "8 MB array as result, GB/s", True),
    Row("arrays", "argument_100mb_gb_s", "100 MB array as argument, GB/s", True),
    Row("arrays", "result_100mb_gb_s", "100 MB array as result, GB/s", True),
    Row("asks", "polling_us", "ask a polling task: to done, µs"),
    Row("asks", "waiting_us", "ask a waiting task: to done, µs"),
    Row("asks", "waiting_p99_us", "the same, 99th percentile, µs"),
    Row("stops", "sleep_gone_ms", "kill a sleeping task: really gone, ms"),
    Row("stops", "sleep_done_ms", "the same: its future says so, ms"),
    Row("stops", "loop_done_ms", "kill a looping task: gone and done, ms"),
    Row("stops", "c_done_ms", "kill a C call: gone and done, ms"),
    Row("recovery", "median_ms", "kill, to the next task's result, ms"),
    Row("life", "first_ms", "first result of a new pool, ms"),
    Row("life", "shutdown_ms", "shutdown of an idle pool, ms"),
    Row("head_of_line", "ms", "50 × 1 ms beside one 3 s task, ms"),
    Row("memory", "all_mb", "memory of all processes of an idle pool, MB (PSS)"),
    Row("memory", "queued_bytes", "a waiting task in the parent, bytes"),
    Row("memory", "submit_us", "submit of a task that waits, µs"),
]

Results = dict[str, dict[str, list[dict[str, Any]]]]


def measure(case: str, peer: str) -> dict[str, Any]:
    """Run one measurement in its own process; what goes wrong is said in the result."""
    command = [sys.executable, "-W", "ignore", str(HERE / "cases.py"), case, peer]
    try:
        # Its own group, so that what a pool leaves behind ends with it.
        done = subprocess.run(
            command, check=False, capture_output=True, timeout=LIMIT_S, start_new_session=True, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return {"cannot": f"not done within {LIMIT_S} s"}
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    except (IndexError, ValueError):
        last = done.stderr.decode(errors="replace").strip().splitlines()
        return {"cannot": last[-1][:120] if last else f"ended with status {done.returncode}"}


def run(cases: list[str], peers: list[str], rounds: int, seed: int) -> Results:
    """Measure everything, with a line of progress for each."""
    order = random.Random(seed)
    results: Results = {case: {peer: [] for peer in peers} for case in cases}
    total, number = len(cases) * len(peers) * rounds, 0
    for turn in range(rounds):
        for case in cases:
            for peer in order.sample(peers, len(peers)):
                number += 1
                print(f"[{number}/{total}] round {turn + 1}: {case}, {peer}", end=": ", flush=True)
                found = measure(case, peer)
                results[case][peer].append(found)
                print(", ".join(f"{key} {_short(value)}" for key, value in found.items()), flush=True)
    return results


def middle(results: Results, row: Row, peer: str) -> float | None:
    """Return the median of the rounds, or None if the peer cannot."""
    found = [each[row.key] for each in results.get(row.case, {}).get(peer, []) if row.key in each]
    return statistics.median(found) if found else None


def table(results: Results, peers: list[str]) -> str:
    """Return the Markdown table; the second column says how we compare to the best peer."""
    others = [peer for peer in peers if peer != US]
    lines = ["| what | ratio | " + " | ".join(peers) + " |", "| --- " * (len(peers) + 2) + "|"]
    for row in ROWS:
        if row.case not in results:
            continue
        values = {peer: middle(results, row, peer) for peer in peers}
        best = [value for peer in others if (value := values[peer]) is not None]
        ours, ratio = values.get(US), "–"
        if ours is not None and best:
            ratio = f"{ours / (max(best) if row.more_is_better else min(best)):.2f} ×"
        shown = " | ".join("–" if value is None else _short(value) for value in values.values())
        lines.append(f"| {row.title} | {ratio} | {shown} |")
    return "\n".join(lines) + "\n"


def notes(results: Results, peers: list[str]) -> str:
    """Return why a peer has no number, each reason once."""
    lines = []
    for case, by_peer in results.items():
        for peer in peers:
            reasons = {each["cannot"] for each in by_peer.get(peer, []) if "cannot" in each}
            lines += [f"- {case}, {peer}: {reason}" for reason in sorted(reasons)]
    return "\n".join(lines) + "\n"


def versions(peers: list[str]) -> str:
    """Return what was measured, where and when."""
    named = [(peer, PEERS[peer].package) for peer in peers]
    packages = ", ".join(f"{package} {importlib.metadata.version(package)}" for _, package in named if package)
    today = dt.datetime.now(dt.UTC).date().isoformat()
    cpus = len(os.sched_getaffinity(0))
    return (
        f"{today}; CPython {platform.python_version()}, {platform.system()} {platform.release().split('-')[0]}, "
        f"{platform.machine()}, {cpus} CPUs, load {os.getloadavg()[0]:.1f} at the end. {packages}."
    )


def plot(results: Results, peers: list[str], path: Path) -> None:
    """Draw how many times better we are than each peer, one row a measurement; 1 is equal."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in ROWS if middle(results, row, US)]
    figure, axes = plt.subplots(figsize=(10, 0.42 * len(rows) + 1.5))
    for number, peer in enumerate(peer for peer in peers if peer != US):
        xs, ys = [], []
        for y, row in enumerate(rows):
            ours, theirs = middle(results, row, US), middle(results, row, peer)
            if ours and theirs:
                xs.append(ours / theirs if row.more_is_better else theirs / ours)
                ys.append(len(rows) - y)
        axes.plot(xs, ys, "osD^v<>ph*X8"[number % 12], label=peer, alpha=0.75)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows), 0, -1), [row.title for row in rows], fontsize=8)
    axes.set_xlabel("times better than the peer (right of 1: better, left: worse)")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110, bbox_inches="tight")


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    """Measure, and write `results.json`, `RESULTS.md` and `results.png`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES), help="which, with commas (all)")
    parser.add_argument("--peers", default=",".join(PEERS), help="which, with commas (all)")
    parser.add_argument("--seed", type=int, default=1, help="of the order within a round")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    given = parser.parse_args()
    cases, peers = given.cases.split(","), given.peers.split(",")
    for name in cases:
        if name not in CASES:
            parser.error(f"no such case: {name!r}; there are {', '.join(CASES)}")
    for name in peers:
        if name not in PEERS:
            parser.error(f"no such pool: {name!r}; there are {', '.join(PEERS)}")
    results = run(cases, peers, given.rounds, given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    plot(results, peers, given.out / "results.png")
    text = (
        "# Results\n\nWritten by `make bench`; medians of the rounds, all pools interleaved in one run, 2 workers each.\n"
        "The ratio is ours to the best peer's: for rates above 1 is better, for times and sizes below 1 is better.\n\n"
        f"{versions(peers)}\n\n{table(results, peers)}\n![ratios](results.png)\n\n"
        f"## Who cannot, and why\n\n{notes(results, peers)}"
    )
    (given.out / "RESULTS.md").write_text(text)
    print(f"\n{table(results, peers)}\nwritten to {given.out}/RESULTS.md, results.json and results.png")


if __name__ == "__main__":
    main()
