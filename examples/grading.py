"""Grade a folder of students' files, four of which never end, and lose no other result for them.

    python examples/grading.py

Each file may run for a second. One that takes longer is interrupted, then terminated, then killed:
whatever it takes. The exit status is 1 if not exactly the four were stopped.
"""

import logging
import sys
import time
from concurrent.futures import Future, as_completed
from pathlib import Path

from grader import Grade, grade
from stoppable import ProcessPoolExecutor, StopPolicy, TaskTimeout

SNIPPETS = Path(__file__).with_name("snippets")
ENDLESS = {"nap.py", "ring.py", "spin.py", "stubborn.py"}  # only to check the outcome
WORKERS = 4
TIMEOUT_S = 1.0
POLICY = StopPolicy(ask=0.3, interrupt=0.3, terminate=0.3)  # seconds for each rung; kill is the last


def main() -> int:
    logging.getLogger("stoppable").setLevel(logging.ERROR)  # the warnings say what the table says
    grades: dict[str, Grade] = {}
    timeouts: dict[str, TaskTimeout] = {}
    others: dict[str, Exception] = {}
    paths = sorted(SNIPPETS.glob("*.py"))
    with ProcessPoolExecutor(max_workers=WORKERS) as pool:
        before = alive(pool)
        print(f"{len(paths)} files, {TIMEOUT_S:g} s for each; {len(before)} workers alive", flush=True)
        started = time.monotonic()
        names: dict[Future[Grade], str] = {
            pool.options(timeout=TIMEOUT_S, policy=POLICY, name=path.name).submit(grade, path): path.name
            for path in paths
        }
        for number, future in enumerate(as_completed(names), 1):
            name = names[future]
            try:
                grades[name] = future.result()
                line = "{}/{}  {}".format(*grades[name]).rstrip()
            except TaskTimeout as error:
                timeouts[name] = error
                line = f"---  out of time: stopped by {error.rung}"
            except Exception as error:
                others[name] = error
                line = f"---  {error!r}"
            print(f"{time.monotonic() - started:6.2f} s  {number:2}/{len(paths)}  {name:17} {line}", flush=True)
        took = time.monotonic() - started
        after = alive(pool)
    table(grades, timeouts)
    print(f"\n{took:.2f} s in all; workers alive: {len(before)} before, {len(after)} after", end=", ")
    print(f"{len(after - before)} of them new")
    good = timeouts.keys() == ENDLESS and len(grades) == len(paths) - len(ENDLESS) and len(after) >= WORKERS
    counts = f"{len(grades)} graded, {len(timeouts)} timeouts, {len(others)} lost"
    print(f"{counts}: {'as it should be' if good else 'NOT as it should be'}")
    return 0 if good else 1


def alive(pool: ProcessPoolExecutor) -> set[int]:
    """Keep every worker busy for a moment, and return the process ids (with the spare one kept warm)."""
    list(pool.map(time.sleep, [0.1] * WORKERS))
    return set(pool.workers())


def table(grades: dict[str, Grade], timeouts: dict[str, TaskTimeout]) -> None:
    full = sum(grade.passed == grade.cases for grade in grades.values())
    none = sum(grade.passed == 0 for grade in grades.values())
    print(f"\nPassed all cases: {full}; some: {len(grades) - full - none}; none: {none}; no end: {len(timeouts)}")
    for name, error in sorted(timeouts.items()):
        print(f"\n{name:13} stopped by {error.rung}, at")
        for line in (error.stack or "(no stack)").splitlines():
            print("   ", line)


if __name__ == "__main__":
    sys.exit(main())
