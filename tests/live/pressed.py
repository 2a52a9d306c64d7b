"""A program to be run on a terminal and interrupted there: `python pressed.py SCENE FOLDER`."""

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


def patient(folder: str) -> str:
    """Look at the token; once asked, take until there is a file `go`."""
    stoppable.check()
    say(Path(folder, f"begun{os.getpid()}"))
    try:
        stoppable.sleep(chores.LONG_S)
    except stoppable.StopRequested:
        await_file(Path(folder, "go"), 60)
        return "cleaned up"
    return "slept"


def main(scene: str, folder: str) -> None:
    signal.signal(signal.SIGINT, press)
    policy = stoppable.StopPolicy(ask=1000.0)
    tasks = []
    try:
        with stoppable.ProcessPoolExecutor(2, policy=policy) as pool:
            tasks = [pool.submit(patient, folder) for _ in range(2)]
            while len(list(Path(folder).glob("begun*[0-9]"))) < 2:
                time.sleep(0.01)
            if scene == "leaving":
                once_it_waits(lambda: print("ready", flush=True))
            else:
                print("ready", flush=True)
                tasks[0].result()
    finally:
        for task in tasks:
            try:
                print("end:", task.result(0), task.report.rung, flush=True)
            except stoppable.TaskStopped as stop:
                kind = None if stop.reason is None else stop.reason.kind
                print("end: stopped", stop.rung, kind, flush=True)


def without_with(folder: str) -> None:
    """Wait for a result, with no `with` around the pool."""
    pool = stoppable.ProcessPoolExecutor(2)
    task = pool.submit(chores.sleep, str(Path(folder, "begun")))
    await_file(Path(folder, "begun"))
    print("ready", flush=True)
    task.result()


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        without_with(sys.argv[2])
    else:
        main(*sys.argv[1:])
