"""Keep what was computed when a task is stopped: a checkpoint, written where no stop can cut it in two."""

import json
import os
import tempfile
from pathlib import Path

import stoppable
from stoppable import ProcessPoolExecutor, TaskStopped


def add_up(below, checkpoint):
    """Add the squares of the numbers below *below*, going on from *checkpoint* if there is one."""
    number, total = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, 0)
    try:
        while number < below:
            stoppable.check()
            total += number * number
            number += 1
            stoppable.progress(number, below)
        return total
    finally:
        with stoppable.shield(limit=10):  # an interrupt waits until this block is left
            part = checkpoint.with_suffix(".part")
            part.write_text(json.dumps((number, total)))
            os.replace(part, checkpoint)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(max_workers=1) as pool:
        checkpoint = Path(folder) / "squares.json"
        first = pool.submit(add_up, 10**12, checkpoint)
        while not first.progress or first.progress[0] < 1000:
            stoppable.sleep(0.01)
        first.stop("the machine is needed")
        try:
            first.result()
        except TaskStopped as stopped:
            print("stopped:", stopped.reason.message)
        number, total = json.loads(checkpoint.read_text())
        print("the checkpoint is right:", total == (number - 1) * number * (2 * number - 1) // 6)
        below = number + 1000
        second = pool.submit(add_up, below, checkpoint)  # begins at *number*, not at 0
        print("the second run is right:", second.result() == (below - 1) * below * (2 * below - 1) // 6)
