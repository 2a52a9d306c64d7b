"""Measure this pool and its peers side by side, and write the table and the plot.

    python bench/run.py [--rounds 3] [--cases noops,round_trip] [--peers stoppable,mp.Pool] [--out bench]

Each measurement is a process of its own with a time limit. They are interleaved: every round runs
every pool once for a case before it goes on to the next case, in another order each round, so that a
busy moment of the machine does not fall on one pool alone. The table shows the median of the rounds
and, for each number, the ratio to the best peer and whether the target is met.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cases import CASES, OURS_ONLY
from peers import PEERS
from report import document, flag_table, floor_table, plot, short, summary, table
from rows import US, Results

HERE = Path(__file__).parent
LIMIT_S = 60
_CLEAN_UP_S = 2.0


def measure(case: str, peer: str, counts: dict[str, Any] | None = None, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Run one measurement in its own process; what goes wrong is said in the result."""
    command = [sys.executable, "-W", "ignore", str(HERE / "cases.py"), case, peer, json.dumps(counts or {})]
    # Without bytecode files, every process that a pool starts would compile its modules again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # Files, because what a pool leaves behind would keep a pipe open.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+", errors="replace") as err:
        # Its own group, so that what a pool leaves behind ends with it.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True, env=environment
        )
        try:
            status: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end_group(process)
        if status is None:
            return {"cannot": f"not done within {limit_s:g} s"}
        out.seek(0)
        err.seek(0)
        said, complaints = out.read().strip().splitlines(), err.read().strip().splitlines()
    try:
        found: dict[str, Any] = json.loads(said[-1])
    except (IndexError, ValueError):
        return {"cannot": complaints[-1][:120] if complaints else f"ended with status {status}"}
    return found


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a measurement; first in the way that lets trackers of shared memory clean up."""
    for number, bound_s in ((signal.SIGTERM, _CLEAN_UP_S), (signal.SIGKILL, 0.0)):
        until = time.monotonic() + bound_s
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < until:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except ProcessLookupError:  # nothing is left of it
            break
    process.wait()


def run(cases: list[str], peers: list[str], rounds: int, seed: int) -> Results:
    """Measure everything, with a line of progress for each."""
    order = random.Random(seed)
    by_case = {case: [US] if case in OURS_ONLY else peers for case in cases}
    results: Results = {case: {peer: [] for peer in those} for case, those in by_case.items()}
    total, number = rounds * sum(map(len, by_case.values())), 0
    for turn in range(rounds):
        for case, those in by_case.items():
            for peer in order.sample(those, len(those)):
                number += 1
                print(f"[{number}/{total}] round {turn + 1}: {case}, {peer}", end=": ", flush=True)
                start = time.monotonic()
                found = measure(case, peer)
                results[case][peer].append(found)
                told = ", ".join(f"{key} {short(value)}" for key, value in found.items())
                print(f"{told} ({time.monotonic() - start:.1f} s)", flush=True)
    return results


def names(text: str, there: dict[str, Any], what: str, parser: argparse.ArgumentParser) -> list[str]:
    """Return the names in *text*, which has commas between them; leave with a message if one is not *there*."""
    chosen = text.split(",")
    for name in chosen:
        if name not in there:
            parser.error(f"no such {what}: {name!r}; there are {', '.join(there)}")
    return chosen


def main() -> None:
    """Measure, and write `results.json`, `RESULTS.md` and `results.png`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES), help="which, with commas (all)")
    parser.add_argument("--peers", default=",".join(PEERS), help="which, with commas (all)")
    parser.add_argument("--seed", type=int, default=1, help="of the order within a round")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"argument --rounds: must be at least 1, was {given.rounds}")
    cases, peers = names(given.cases, CASES, "case", parser), names(given.peers, PEERS, "pool", parser)
    results = run(cases, peers, given.rounds, given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (given.out / "RESULTS.md").write_text(document(results, peers, given.rounds))
    drawn = plot(results, peers, given.out / "results.png")
    print(f"\n{table(results, peers)}\n{flag_table(results)}\n{floor_table(results)}\n{summary(results)}")
    print(
        f"written to {given.out}: RESULTS.md, results.json"
        + (", results.png" if drawn else "; no plot without matplotlib")
    )


if __name__ == "__main__":
    main()
