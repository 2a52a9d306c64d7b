"""A program with a task group, to be interrupted: `python grouped.py SCENE FOLDER`."""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import chores
import stoppable
from watching import await_file, once_it_waits, say

presses = 0


def press(signum: int, frame: FrameType | None) -> None:
    """Count the presses that came, then do as Python does."""
    global presses
    presses += 1
    try:
        signal.default_int_handler(signum, frame)
    finally:
        os.write(1, f"press {presses}\n".encode())


def patient(begun: str, go: str) -> str:
    """Look at the token; once asked, take until there is a file *go*."""
    stoppable.check()
    try:
        say(begun)
        stoppable.sleep(chores.LONG_S)
    except stoppable.StopRequested as stop:
        await_file(go, 60)
        return f"cleaned up {stop.reason.kind if stop.reason else None}"
    return "slept"


def main(scene: str, folder: str) -> None:
    signal.signal(signal.SIGINT, press)
    pool = stoppable.ProcessPoolExecutor(2, policy=stoppable.StopPolicy(ask=1000.0))
    group = pool.task_group(name="the group")
    try:
        with group:
            tasks = [group.submit(patient, f"{folder}/begun{n}", f"{folder}/go") for n in range(2)]
            for number in range(2):
                await_file(Path(folder, f"begun{number}"))
            if scene == "block":
                print("ready", flush=True)
                time.sleep(chores.LONG_S)
            once_it_waits(lambda: print("ready", flush=True))
    finally:
        print("all ended:", all(task.done() for task in tasks), flush=True)
        for outcome in group.outcomes():
            error = outcome.error
            print("end:", outcome.value or f"stopped {getattr(error, 'rung', None)}", flush=True)
        pool.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
