"""Pools in the tasks of a pool: what stops an outer task stops all that it has started."""

import os
import time

import stoppable
from stoppable import ProcessPoolExecutor, TaskStopped


def simulate(step):
    """One step of a simulation, which would take a minute."""
    stoppable.sleep(60)
    return step


def study(steps):
    """Run many steps in a pool of its own, and say who works on them."""
    with ProcessPoolExecutor(max_workers=2) as pool:
        futures = [pool.submit(simulate, step) for step in range(steps)]
        while sum(future.running() for future in futures) < 2:
            time.sleep(0.01)
        stoppable.publish(pool.workers())
        return [future.result() for future in futures]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    with ProcessPoolExecutor(max_workers=2) as pool:
        studies = [pool.submit(study, 10), pool.submit(study, 20)]
        while not all(future.partial() for future in studies):
            time.sleep(0.01)
        inner = [pid for future in studies for pid in future.partial()]
        print("inner workers at work:", all(map(is_alive, inner)))
        pool.stop("the question has changed")
        for future in studies:
            try:
                future.result()
            except TaskStopped as stopped:
                print(f"{stopped.task} was stopped: {stopped.reason.message}")
        print("inner workers left:", sum(map(is_alive, inner)))
