"""Run the live tests again and again, several runs beside each other: what depends on luck shows under load.

    python tools/again.py --times 20 --beside 4 [--python PYTHON ...]

Each run is a pytest process of its own. A line is printed as each ends, with the tests that failed in it; its whole output is
kept in the folder that is named at the end. Status 1 if any run failed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Ended(NamedTuple):
    """What became of a run."""

    number: int
    python: str
    took_s: float
    code: int
    last: str  # line of its output
    failed: list[str]


def run(number: int, python: str, tests: list[str], folder: Path) -> Ended:
    """Run *tests* once; its output goes to a file in *folder*."""
    began = time.monotonic()
    path = folder / f"{number:02}.log"
    # Bytecode files are wanted: without, each pool of each test compiles the package again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with path.open("w") as log:
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=environment
        )
    lines = path.read_text(errors="replace").splitlines()
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return Ended(number, python, time.monotonic() - began, done.returncode, lines[-1] if lines else "", failed)


def main() -> int:
    """Do the runs and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--beside", type=int, default=4, help="runs beside each other")
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="taken in turn")
    parser.add_argument("tests", nargs="*", default=["tests/live"])
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="again-"))
    print(
        f"{args.times} runs of {' '.join(args.tests)}, {args.beside} beside each other; output in {folder}", flush=True
    )
    bad = 0
    with ThreadPoolExecutor(args.beside) as pool:
        runs = [
            pool.submit(run, number, args.python[number % len(args.python)], args.tests, folder)
            for number in range(1, args.times + 1)
        ]
        for count, future in enumerate(as_completed(runs), 1):
            one = future.result()
            bad += one.code != 0
            print(f"[{count}/{args.times}] run {one.number}, {one.python}: {one.last}", flush=True)
            for line in one.failed:
                print(f"    {line}", flush=True)
    print(f"{args.times - bad} passed, {bad} failed", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
