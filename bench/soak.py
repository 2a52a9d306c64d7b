"""Run a mixed load for a long time, and say whether anything grows.

    python bench/soak.py --minutes 10          (or: make soak MINUTES=10)

Between the steps of the load, when nothing is under way, it counts file descriptors, threads, memory,
shared memory and records of flags, in this process, the warden and the workers. At the end the median
of the last quarter of the samples is compared with that of the second (the first is for warming up).
It exits with 1 if one of them has grown by more than its tolerance, or if the load went wrong.

It writes soak.csv, and soak.png if matplotlib is there (`pip install -e .[bench]`).
"""

import argparse
import csv
import ctypes
import gc
import logging
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from soak_load import Load

from stoppable.flags import slab
from stoppable.shell import tree

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that is counted, and by how much it may grow: this factor, and so much more."""

    name: str
    factor: float
    more: float


_MEMORY = (1.05, 2048.0)  # 5 % and 2 MB
_COUNT = (1.0, 2.0)
COLUMNS = (
    Column("parent_fds", *_COUNT),
    Column("parent_threads", *_COUNT),
    Column("parent_rss_kb", *_MEMORY),
    Column("parent_pss_kb", *_MEMORY),
    Column("warden_fds", *_COUNT),
    Column("warden_rss_kb", *_MEMORY),
    Column("warden_pss_kb", *_MEMORY),
    Column("calm_worker_fds", *_COUNT),
    Column("calm_worker_rss_kb", *_MEMORY),
    Column("calm_worker_pss_kb", *_MEMORY),
    Column("workers_pss_kb", *_MEMORY),
    Column("processes", *_COUNT),
    Column("shared_files", *_COUNT),
    Column("shared_maps", *_COUNT),
    Column("flag_chunks", *_COUNT),
    Column("flag_records", *_COUNT),
    Column("tasks_kept", *_COUNT),
)
Sample = dict[str, float]


# --- looking -------------------------------------------------------------------------------------


def memory_kb(pid: int) -> tuple[int, int]:
    """Return the resident and the proportional memory of a process; (0, 0) if it is gone."""
    found = {"Rss": 0, "Pss": 0}
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0])
    except OSError:
        pass
    return found["Rss"], found["Pss"]


def fds(pid: int | str) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def look(load: Load, begun: float) -> Sample:
    """Return what there is now."""
    gc.collect()
    slab.trim()
    # What was freed counts as gone. Otherwise the parent stands 0, 4 or 8 MB higher for a while, as the last
    # large result happened to leave malloc, and the medians of two quarters differ by chance.
    ctypes.CDLL(None).malloc_trim(0)
    me = os.getpid()
    below = tree.descendants(me)
    wardens = [pid for pid in tree.children(me) if name_of(pid) == "stoppable-ward"]
    workers = load.pool.workers()
    calm = load.calm.workers()[0]
    maps = Path("/proc/self/maps").read_text()
    parent, oldest, guard = memory_kb(me), memory_kb(calm), [memory_kb(pid) for pid in wardens]
    chunks = slab.mapped()
    reactors = [pool._reactor for pool in (load.pool, load.calm)]
    return {
        "seconds": round(time.monotonic() - begun, 2),
        "steps": load.done.total(),
        "load_1min": round(os.getloadavg()[0], 2),
        "parent_fds": fds(me),
        "parent_threads": len(os.listdir("/proc/self/task")),
        "parent_rss_kb": parent[0],
        "parent_pss_kb": parent[1],
        "warden_fds": max(map(fds, wardens), default=0),
        "warden_rss_kb": max((rss for rss, _ in guard), default=0),
        "warden_pss_kb": max((pss for _, pss in guard), default=0),
        "calm_worker_fds": fds(calm),
        "calm_worker_rss_kb": oldest[0],
        "calm_worker_pss_kb": oldest[1],
        "workers_pss_kb": max((memory_kb(pid)[1] for pid in workers), default=0),
        "processes": len(below),
        "shared_files": sum(name.startswith(("stoppable", "psm_", "sem.")) for name in os.listdir("/dev/shm")),
        "shared_maps": maps.count("/memfd:stoppable"),
        "flag_chunks": len(chunks),
        "flag_records": sum(len(chunk.live) for chunk in chunks),
        "tasks_kept": sum(len(reactor.hands.tasks) for reactor in reactors if reactor is not None),
    }


# --- judging -------------------------------------------------------------------------------------


def judge(samples: list[Sample]) -> list[tuple[str, float, float, bool]]:
    """Return for each column: its name, the medians of the second and the last quarter, and whether it is flat."""
    quarter = max(1, len(samples) // 4)
    found = []
    for column in COLUMNS:
        values = [sample[column.name] for sample in samples]
        before = statistics.median(values[quarter : 2 * quarter] or values)
        after = statistics.median(values[-quarter:])
        found.append((column.name, before, after, after <= before * column.factor + column.more))
    return found


def plot(samples: list[Sample], path: Path, title: str) -> bool:
    """Draw every column against time; False if there is nothing to draw with."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        return False
    columns = 3
    rows = -(-len(COLUMNS) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(14, 2.1 * rows), sharex=True, layout="constrained")
    seconds = [sample["seconds"] for sample in samples]
    for axis, column in zip(axes.flat, COLUMNS, strict=False):
        axis.plot(seconds, [sample[column.name] for sample in samples], linewidth=1)
        axis.set_title(column.name, fontsize=9)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(COLUMNS) :]:
        axis.set_visible(False)
    figure.suptitle(title, fontsize=10)
    figure.supxlabel("seconds", fontsize=9)
    figure.savefig(path, dpi=90)
    return True


# --- the run -------------------------------------------------------------------------------------


def run(minutes: float, seed: int) -> tuple[Load, list[Sample]]:
    """Run the load; look some hundred times, at most every 2 s, between its steps."""
    begun = time.monotonic()
    end, every_s = begun + minutes * 60, min(2.0, minutes * 60 / 40)
    load, samples, due = Load(seed), [], begun
    load.burst()
    try:
        while time.monotonic() < end:
            load.step()
            if time.monotonic() >= due:
                samples.append(look(load, begun))
                due = time.monotonic() + every_s
    finally:
        load.close()
    return load, samples


def main() -> int:
    """Print what came of it and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=HERE, help="where soak.csv and soak.png go")
    parser.add_argument("--no-plot", action="store_true")
    given = parser.parse_args()
    logging.getLogger("stoppable").setLevel(logging.ERROR)  # each rung is a warning, and they are meant
    machine = f"Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} CPUs"
    before = os.getloadavg()[0]
    load, samples = run(given.minutes, given.seed)
    others = f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} at the end"
    with open(given.folder / "soak.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, samples[0].keys())
        writer.writeheader()
        writer.writerows(samples)
    title = f"{load.done.total()} steps in {given.minutes:g} minutes; {machine}; {others}"
    print(title)
    print("steps: " + ", ".join(f"{count} {name}" for name, count in sorted(load.done.items())))
    found = judge(samples)
    for name, first, last, flat in found:
        print(f"{name:20} {first:10.0f} -> {last:10.0f}   {'flat' if flat else 'GROWS'}")
    if not given.no_plot and not plot(samples, given.folder / "soak.png", title):
        print("no plot: matplotlib is not installed")
    return 0 if all(flat for *_, flat in found) else 1


if __name__ == "__main__":
    sys.exit(main())
