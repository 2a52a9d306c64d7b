"""Writes what was measured: the tables, why a peer has no number, the versions, the plot."""

import datetime as dt
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from peers import PEERS
from rows import FLAG_ROWS, FLOOR_ROWS, ROWS, US, Results, Row, middle, ratio, verdict, wanted


def short(value: Any) -> str:
    """Return a number with three digits, a text as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(results: Results, peers: list[str]) -> str:
    """Return the Markdown table: what, how we compare to the best peer, what we want, whether that is so, all numbers."""
    lines = ["| what | ratio | target | verdict | " + " | ".join(peers) + " |", "| --- " * (len(peers) + 4) + "|"]
    for row in ROWS:
        if row.case not in results:
            continue
        times = ratio(results, row)
        shown = ["–" if times is None else f"{times:.2f} ×", wanted(row), verdict(results, row)]
        for peer in peers:
            value = middle(results, row, peer)
            shown.append("–" if value is None else short(value))
        lines.append(f"| {_title(row)} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def flag_table(results: Results) -> str:
    """Return the Markdown table of the looks at a flag; empty if they were not measured."""
    if middle(results, FLAG_ROWS[0], US) is None:
        return ""
    lines = ["| one look, in a worker | ns | to threading.Event | target | verdict |", "| --- " * 5 + "|"]
    for row in FLAG_ROWS:
        value, base = middle(results, row, US), middle(results, row, US, "threading_ns")
        if value is None or not base:
            continue
        is_time = row.unit == "ns"
        shown = [short(value) if is_time else "", f"{value / base:,.2f} ×" if is_time else f"{value:,.0f} ×"]
        lines.append(f"| {row.title} | " + " | ".join([*shown, wanted(row), verdict(results, row)]) + " |")
    return "\n".join(lines) + "\n"


def floor_table(results: Results) -> str:
    """Return the Markdown table of what the machine can do at best; empty if that was not measured."""
    shown = [(row, middle(results, row, US)) for row in FLOOR_ROWS]
    lines = ["| what | at best |", "| --- | --- |"]
    lines += [f"| {row.title} | {short(value)} {row.unit} |" for row, value in shown if value is not None]
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _title(row: Row) -> str:
    return f"{row.title}, {row.unit}" if row.unit else row.title


def summary(results: Results) -> str:
    """Return how many targets are met, and which are not."""
    said = [(row, verdict(results, row)) for row in [*ROWS, *FLAG_ROWS] if row.case in results and row.targets]
    met = [row for row, word in said if word == "met"]
    lines = [f"Targets met: {len(met)} of {len(said)}."]
    lines += [f"- {word}: {row.title} ({wanted(row)})" for row, word in said if word != "met"]
    return "\n".join(lines) + "\n"


def notes(results: Results, peers: list[str]) -> str:
    """Return why a peer has no number, each reason once."""
    lines = []
    for case, by_peer in results.items():
        for peer in peers:
            reasons: set[str] = set()
            for each in by_peer.get(peer, []):
                reasons |= {
                    text if key == "cannot" else f"{key}: {text}" for key, text in each.items() if isinstance(text, str)
                }
            lines += [f"- {case}, {peer}: {reason}" for reason in sorted(reasons)]
    return "\n".join(lines) + "\n"


def versions(peers: list[str]) -> str:
    """Return what was measured, when, and on what class of machine."""
    packages = ", ".join(f"{name} {_version(name)}" for peer in peers if (name := PEERS[peer].package))
    today = dt.datetime.now(dt.UTC).date().isoformat()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{today}; stoppable {_version(US)}, CPython {platform.python_version()}, {platform.system()} "
        f"{platform.release().split('-')[0]}, {platform.machine()}, {len(os.sched_getaffinity(0))} CPUs ({_cpu()}), "
        f"{memory_gb:.0f} GB, load {os.getloadavg()[0]:.1f} at the end. {packages}."
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "unknown"
    names = (line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, "unknown")


def plot(results: Results, peers: list[str], path: Path) -> bool:
    """Draw how many times better we are than each peer, one row a measurement, 1 is equal; say whether that was possible."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    others = [peer for peer in peers if peer != US]
    rows = [row for row in ROWS if ratio(results, row)]
    figure, axes = plt.subplots(figsize=(10, 0.42 * len(rows) + 1.5))
    for number, peer in enumerate(others):
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
    return True


def document(results: Results, peers: list[str], rounds: int) -> str:
    """Return the text of RESULTS.md."""
    flags, floors = flag_table(results), floor_table(results)
    return (
        f"# Results\n\nWritten by `make bench`; medians of {rounds} round{'s' if rounds > 1 else ''}, all pools interleaved in "
        "one run, 2 workers each.\nThe ratio is ours divided by the best peer's: of rates above 1 is better, of times and "
        "sizes below 1 is better.\nA target is what the project has set itself; the verdict is computed from these numbers.\n\n"
        f"{versions(peers)}\n\n{summary(results)}\n## Pools\n\n{table(results, peers)}\n![ratios](results.png)\n\n"
        + (f"## The flag\n\n{flags}\n" if flags else "")
        + (f"## What this machine can do at best\n\nWithout any pool: see `floors.py`.\n\n{floors}\n" if floors else "")
        + f"## Who cannot, and why\n\n{notes(results, peers)}"
    )
