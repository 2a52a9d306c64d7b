"""A program to be interrupted on a terminal wherever it waits: `python pressing.py SCENE HOW FOLDER`.

HOW: `plain`; `caught` if it catches the KeyboardInterrupt and goes on; `lingering` if its tasks do not end when asked.
"""

import asyncio
import concurrent.futures
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import chores
import pressed
import stoppable
from stoppable import ProcessPoolExecutor, StopPolicy
from watching import await_file

task: Callable[[str], None] = chores.polite
begun = ""
kept: list[ProcessPoolExecutor] = []


def lingering(path: str) -> None:
    """Go on although asked."""
    stoppable.check()
    chores.stubborn(path)


def ready() -> None:
    await_file(begun)
    print("ready", flush=True)


def submit(pool: ProcessPoolExecutor) -> None:
    print("ready", flush=True)
    while True:
        tasks = [pool.submit(chores.double, number) for number in range(100)]
        tasks[-1].result()


def map_(pool: ProcessPoolExecutor) -> None:
    results = pool.map(chores.double, iter(int, 1), buffersize=4)
    next(results)
    print("ready", flush=True)
    for _ in results:
        pass


def result(pool: ProcessPoolExecutor) -> None:
    running = pool.submit(task, begun)
    ready()
    running.result()


def wait(pool: ProcessPoolExecutor) -> None:
    tasks = [pool.submit(task, begun), pool.submit(chores.double, 1)]
    ready()
    concurrent.futures.wait(tasks)


def as_completed(pool: ProcessPoolExecutor) -> None:
    tasks = [pool.submit(task, begun), pool.submit(chores.double, 1)]
    ready()
    for _ in concurrent.futures.as_completed(tasks):
        pass


def leaving(pool: ProcessPoolExecutor) -> None:
    """Return, and so leave the `with` while a task runs."""
    pool.submit(task, begun)
    ready()


def shutdown(pool: ProcessPoolExecutor) -> None:
    pool.submit(task, begun)
    ready()
    pool.shutdown()


def construct(pool: ProcessPoolExecutor) -> None:
    print("ready", flush=True)
    while True:
        with ProcessPoolExecutor(1) as another:
            another.submit(chores.double, 1)


def executor(pool: ProcessPoolExecutor) -> None:
    async def main() -> None:
        waiting = asyncio.get_running_loop().run_in_executor(pool, task, begun)
        await asyncio.to_thread(ready)
        await waiting

    asyncio.run(main())


def wrapped(pool: ProcessPoolExecutor) -> None:
    async def main() -> None:
        waiting = asyncio.wrap_future(pool.submit(task, begun))
        await asyncio.to_thread(ready)
        await waiting

    asyncio.run(main())


SCENES: dict[str, Callable[[ProcessPoolExecutor], None]] = {
    "submit": submit,
    "map": map_,
    "result": result,
    "wait": wait,
    "as_completed": as_completed,
    "leaving": leaving,
    "shutdown": shutdown,
    "construct": construct,
    "executor": executor,
    "wrapped": wrapped,
}


def main(scene: str, how: str) -> None:
    if scene not in ("executor", "wrapped"):  # there asyncio has a handler of its own, in place of the default one
        signal.signal(signal.SIGINT, pressed.press)
    policy = StopPolicy(ask=chores.LONG_S) if how == "lingering" else StopPolicy(ask=1.0, interrupt=0.5, terminate=0.5)
    if scene == "exit":
        without_with(policy)
        return
    with ProcessPoolExecutor(2, policy=policy) as pool:
        if how != "caught":
            SCENES[scene](pool)
            return
        try:
            SCENES[scene](pool)
        except KeyboardInterrupt:
            print("caught", flush=True)
        print("works", pool.submit(chores.double, 2).result(), flush=True)
        pool.stop()


def without_with(policy: StopPolicy) -> None:
    """Come to the program's end while tasks of two pools run."""
    pools = [ProcessPoolExecutor(1, policy=policy) for _ in range(2)]
    names = [f"{begun}.{number}" for number in range(2)]
    for pool, name in zip(pools, names, strict=True):
        pool.submit(task, name)
    for name in names:
        await_file(name)
    kept.extend(pools)  # a press that falls into their finalizers would be told as ignored
    print("ready", flush=True)


if __name__ == "__main__":
    begun = str(Path(sys.argv[3], "begun"))
    if sys.argv[2] == "lingering":
        task = lingering
    main(sys.argv[1], sys.argv[2])
