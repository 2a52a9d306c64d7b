"""Kill a busy program with `kill -9` at random instants, and look whether all is gone 2 s later.

By hand: `make parent-death RUNS=200 SEED=1`. It prints how it goes, and at the end how long it took until
the last process was gone; its exit status is 1 if any was alive after 2 s, which it then names.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import branding
import commotion

METHODS = ("none", "fork", "spawn", "forkserver")
PROMISE_S = 2.0
HANG_S = 30.0


class Run(NamedTuple):
    """One program, killed.

    Attributes:
        method, seed, after_s: what it was, and how long after its beginning it was killed.
        alive: how many processes there were just before.
        took_s: until the last of them was gone; None if they never went.
        late: those that were alive after the promised time, with what they are.
        failed: what the program said, if it had ended before it was killed.
    """

    method: str
    seed: int
    after_s: float
    alive: int
    took_s: float | None
    late: dict[int, str]
    failed: str


def run(method: str, seed: int, bound_s: float = PROMISE_S) -> Run:
    """Start the program, kill it at an instant that *seed* gives, and see what is left after *bound_s* seconds."""
    # Some of them early: much goes on while a pool starts.
    chance = random.Random(f"{method} {seed}")
    after_s = chance.uniform(0, 0.5) if chance.random() < 0.3 else chance.uniform(0, 2.5)
    brand = branding.new()
    folder = tempfile.mkdtemp(prefix="parent-death-")
    try:
        with Path(folder, "stderr").open("w") as stderr:
            program = subprocess.Popen(
                [sys.executable, "-W", "ignore", commotion.__file__, str(brand), method, str(seed)],
                env={**os.environ, "TMPDIR": folder},  # multiprocessing's helpers cannot tidy up for it
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert program.stdout is not None
        program.stdout.readline()
        failed = ""
        try:
            failed = f"it ended by itself, with {program.wait(after_s)}:\n{Path(folder, 'stderr').read_text()}"
        except subprocess.TimeoutExpired:
            pass
        alive = len(branding.bearers(brand))
        program.kill()
        program.wait(HANG_S)
        program.stdout.close()
        killed_at = time.monotonic()
        late: dict[int, str] = {}
        if branding.await_end(brand, bound_s) is None:
            late = branding.described(brand) or {0: "gone while it was looked at"}
        gone = branding.await_end(brand, HANG_S) is not None
        took_s = time.monotonic() - killed_at if gone else None
        return Run(method, seed, after_s, alive, took_s, late, failed)
    finally:
        branding.kill(brand)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Do the runs; return the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    runs: list[Run] = []
    for n in range(options.runs):
        one = run(METHODS[n % len(METHODS)], options.seed * 1_000_000 + n)
        runs.append(one)
        if one.failed:
            print(f"run {n} ({one.method}, seed {one.seed}): {one.failed}", flush=True)
        if one.late:
            print(f"run {n} ({one.method}, seed {one.seed}, killed after {one.after_s:.3f} s): alive after 2 s:")
            print("".join(f"    {pid}: {what}\n" for pid, what in one.late.items()), flush=True)
        if (n + 1) % 20 == 0:
            print(f"{n + 1} of {options.runs} runs; {_count(runs)}", flush=True)
    for method in METHODS:
        _tell(method, [one for one in runs if one.method == method])
    _tell("all", runs)
    print(f"{len(runs)} runs, seed {options.seed}: {_count(runs)}")
    return 1 if any(one.late or one.failed for one in runs) else 0


def _count(runs: list[Run]) -> str:
    bad = sum(bool(one.late) for one in runs)
    return f"{bad} with a process alive after {PROMISE_S:g} s"


def _tell(what: str, runs: list[Run]) -> None:
    times = sorted(one.took_s * 1000 for one in runs if one.took_s is not None)
    if not times:
        return
    alive = statistics.mean(one.alive for one in runs)
    print(
        f"{what:>10}: {len(runs)} runs, {alive:.0f} processes each on average; the last one gone after "
        f"{statistics.median(times):.0f} ms in the median, {times[int(len(times) * 0.95)]:.0f} ms in 95 %, "
        f"{times[-1]:.0f} ms at most"
    )


if __name__ == "__main__":
    sys.exit(main())
