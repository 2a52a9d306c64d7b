"""The command line of the chaos: see `chaos.py`."""

import argparse
import faulthandler
import logging
import multiprocessing
import os
import random
import secrets
import sys
from collections import Counter

import chaos_plan
import chaos_run
import leaks


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description="Run a pool under random stops and kills, and check all it promises.")
    parser.add_argument("--seed", type=int, help="of the first run (default: a new one)")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=10_000, help="of each run")
    parser.add_argument("--context", choices=("default", "fork"), default="default")
    parser.add_argument("--ahead", type=int, help="tasks sent ahead to a worker (default: what the pool does)")
    parser.add_argument("--every", type=float, default=0.06, help="seconds between two signals from outside")
    return parser.parse_args()


def main() -> int:
    """Do the runs and return the exit status."""
    args = arguments()
    os.environ[leaks.MARK] = secrets.token_hex(8)
    context = None if args.context == "default" else multiprocessing.get_context(args.context)
    logging.basicConfig(level=logging.CRITICAL)
    first = random.SystemRandom().randrange(1 << 32) if args.seed is None else args.seed
    totals: Counter[str] = Counter()
    bad: list[int] = []
    for number in range(args.runs):
        seed = first + number
        # A hang that the run itself does not see ends the program, with all stacks.
        faulthandler.dump_traceback_later(300 + args.tasks / 20, exit=True)
        print(f"run {number + 1}/{args.runs}  seed {seed}  ", end="", flush=True)
        plan = chaos_plan.make(seed, args.tasks)
        done = chaos_run.run(plan, context=context, ahead=args.ahead, every_s=args.every)
        totals += done.counts
        print(f"{args.tasks} tasks  {done.took_s:.1f} s  {len(done.violations)} violations", flush=True)
        for line in done.violations[:50]:
            print(f"    {line}", flush=True)
        if done.violations:
            bad.append(seed)
    faulthandler.cancel_dump_traceback_later()
    for name, count in sorted(totals.items()):
        print(f"{count:10,} {name}")
    if bad:
        print(f"violations; seeds: {bad}", file=sys.stderr)
    return 1 if bad else 0
