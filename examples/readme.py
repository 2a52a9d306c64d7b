"""Stop three running tasks that each need more force than the one before; a fourth is left alone."""

import itertools
import time

import stoppable
from stoppable import ProcessPoolExecutor, TaskStopped


def polite():
    stoppable.publish("3 rows of 1000")  # kept, also if this process is killed
    stoppable.sleep(60)  # wakes and raises when the task is stopped


def deaf():
    try:
        while True:  # never asks whether it should stop
            pass
    finally:
        print("deaf    cleans up", flush=True)


def stuck():
    sum(itertools.repeat(0))  # one call into C that never comes back


if __name__ == "__main__":
    with ProcessPoolExecutor(max_workers=4) as pool:
        running = [pool.submit(task) for task in (polite, deaf, stuck)]
        untouched = pool.submit(pow, 2, 10)
        untouched.result()  # the last of four: all have a worker now
        time.sleep(3)  # for a busy machine; they are at work at once
        for future in running:
            future.cancel()  # returns at once: the standard one does nothing here
            try:
                future.result()
            except TaskStopped as stopped:
                name = stopped.task.split("(")[0]
                print(f"{name:7} ended by {stopped.rung}, published: {stopped.partial}")
        print("pow     returned", untouched.result())
