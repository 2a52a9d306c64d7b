"""A program with a pool, to be killed by SIGKILL: `python doomed.py START_METHOD SCENE FOLDER`.

START_METHOD is `none` for the default. It prints `ready` once the scene is set.
"""

import multiprocessing
import os
import sys
import time
from pathlib import Path

import chores
import stoppable
from watching import await_file, marked, until

SCENES = (
    "idle",
    "starting",
    "sleeping",
    "stubborn",
    "hold_gil",
    "child",
    "child_in_session",
    "daemon",
    "idle_with_daemon",
    "nested",
    "sibling",
)


def main(method: str, scene: str, folder: str) -> None:
    context = None if method == "none" else multiprocessing.get_context(method)
    pool = stoppable.ProcessPoolExecutor(2, mp_context=context)
    first = pool.submit(chores.double, 1)
    if scene != "starting":
        first.result(60)
    begun = str(Path(folder, "begun"))
    if scene == "idle_with_daemon":
        pool.submit(chores.daemonise).result(60)
        mark = f"DOOMED={os.environ['DOOMED']}"
        until(lambda: any(what.startswith("sleep") for what in marked(mark).values()))
    elif scene == "sibling":
        task = "sleep"
        pool.submit(chores.sleep, begun)
        await_file(begun)
        if (sibling := os.fork()) == 0:
            os.close(1)
            time.sleep(1000)
            os._exit(0)
        Path(folder, "sibling").write_text(str(sibling))
    elif scene not in ("idle", "starting"):
        task = "sleep" if scene == "sleeping" else scene
        pool.submit(getattr(chores, task), begun)
        await_file(begun)
    Path(folder, "pids").write_text(" ".join(map(str, pool.workers())))
    print("ready", flush=True)
    time.sleep(1000)


if __name__ == "__main__":
    main(*sys.argv[1:])
