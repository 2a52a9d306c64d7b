"""End a busy program at random instants, in each way that a process can end, and look whether all is gone 2 s later.

By hand: `make parent-death RUNS=200 SEED=1`, with `METHOD=spawn` for one start method and `WAY=SIGKILL` for one way
only; else all of both take turns. It prints how it goes, and at the end how long it took from the end of the program
until the last process was gone; its exit status is 1 if any was alive after 2 s, which it then names.
"""

import argparse
import os
import random
import shutil
import signal
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
# What is done to it, and what its end then looks like.
WAYS: dict[str, tuple[signal.Signals, int]] = {
    "SIGKILL": (signal.SIGKILL, -signal.SIGKILL),
    "group": (signal.SIGKILL, -signal.SIGKILL),  # to its whole process group
    "SIGTERM": (signal.SIGTERM, -signal.SIGTERM),
    "SIGSEGV": (signal.SIGSEGV, -signal.SIGSEGV),
    "SIGHUP": (signal.SIGHUP, -signal.SIGHUP),
    "exit": (signal.SIGUSR1, 3),  # os._exit
    "exec": (signal.SIGUSR1, 4),
    "fail": (signal.SIGUSR1, 1),  # an exception, out of wherever the main thread is
    "return": (signal.SIGUSR1, 0),
}
HANG_S = 30.0


class Run(NamedTuple):
    """One program, ended.

    Attributes:
        method, way, seed, after_s: what it was, how it was ended, and how long after its beginning.
        alive: how many processes there were just before.
        took_s: until the last of them was gone; None if they never went.
        late: those that were alive after the promised time, with what they are.
        failed: what the program said, if it had ended before, or ended otherwise than it should.
    """

    method: str
    way: str
    seed: int
    after_s: float
    alive: int
    took_s: float | None
    late: dict[int, str]
    failed: str


def run(method: str, seed: int, bound_s: float = PROMISE_S, way: str = "SIGKILL") -> Run:
    """Start the program, end it at an instant that *seed* gives, and see what is left after *bound_s* seconds."""
    # Some of them early: much goes on while a pool starts.
    chance = random.Random(f"{method} {way} {seed}")
    after_s = chance.uniform(0, 0.5) if chance.random() < 0.3 else chance.uniform(0, 2.5)
    brand = branding.new()
    folder = tempfile.mkdtemp(prefix="parent-death-")
    try:
        with Path(folder, "stderr").open("w") as stderr:
            program = subprocess.Popen(
                [sys.executable, "-W", "ignore", commotion.__file__, str(brand), method, str(seed), way],
                env={**os.environ, "TMPDIR": folder},  # multiprocessing's helpers cannot tidy up for it
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        assert program.stdout is not None
        program.stdout.readline()
        failed = ""
        try:
            failed = f"it ended by itself, with {program.wait(after_s)}:\n{Path(folder, 'stderr').read_text()}"
        except subprocess.TimeoutExpired:
            pass
        alive = len(branding.bearers(brand))
        code = _end(program, way)
        program.stdout.close()
        if not failed and code != WAYS[way][1]:
            failed = f"it ended with {code}, not {WAYS[way][1]}:\n{Path(folder, 'stderr').read_text()}"
        killed_at = time.monotonic()
        late: dict[int, str] = {}
        if branding.await_end(brand, bound_s) is None:
            late = branding.described(brand) or {0: "gone while it was looked at"}
        gone = branding.await_end(brand, HANG_S) is not None
        took_s = time.monotonic() - killed_at if gone else None
        return Run(method, way, seed, after_s, alive, took_s, late, failed)
    finally:
        branding.kill(brand)
        shutil.rmtree(folder, ignore_errors=True)


def _end(program: "subprocess.Popen[bytes]", way: str) -> int | None:
    """End it in that way; return its status, or None if it does not end."""
    until = time.monotonic() + HANG_S
    while time.monotonic() < until:
        if way == "group":
            os.killpg(program.pid, signal.SIGKILL)
        else:
            program.send_signal(WAYS[way][0])
        try:
            return program.wait(3.0 if way == "fail" else HANG_S)
        except subprocess.TimeoutExpired:
            continue  # its exception was raised where Python swallows it, in a `__del__` for example
    program.kill()
    program.wait()
    return None


def main() -> int:
    """Do the runs; return the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--method", choices=METHODS, help="only this start method; none: the default")
    arguments.add_argument("--way", choices=list(WAYS), help="only this way to end")
    options = arguments.parse_args()
    methods = [options.method] if options.method else METHODS
    ways = [options.way] if options.way else list(WAYS)
    runs: list[Run] = []
    for n in range(options.runs):
        # Each way with each method, in turn.
        way = ways[(n // len(methods)) % len(ways)]
        one = run(methods[n % len(methods)], options.seed * 1_000_000 + n, way=way)
        runs.append(one)
        if one.failed:
            print(f"run {n} ({one.method}, {one.way}, seed {one.seed}): {one.failed}", flush=True)
        if one.late:
            print(
                f"run {n} ({one.method}, {one.way}, seed {one.seed}, ended after {one.after_s:.3f} s): alive after 2 s:"
            )
            print("".join(f"    {pid}: {what}\n" for pid, what in one.late.items()), flush=True)
        if (n + 1) % 20 == 0:
            print(f"{n + 1} of {options.runs} runs; {_count(runs)}", flush=True)
    for method in methods:
        _tell(method, [one for one in runs if one.method == method])
    for way in ways:
        _tell(way, [one for one in runs if one.way == way])
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
