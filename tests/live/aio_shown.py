"""A program that shows progress on a terminal, in a loop."""

import sys
import time

import anyio

from shown import slow
from stoppable import ProcessPoolExecutor, aio


async def main(what: str) -> None:
    async with aio.Pool(ProcessPoolExecutor(2)) as pool:
        if what == "map":
            print("sum", sum([value async for value in pool.map(slow, range(12), progress=True)]))
        elif what == "block":
            futures = [pool.executor.submit(slow, number) for number in range(12)]
            async with aio.show_progress(pool):
                print("sum", sum([await aio.result(future) for future in futures]))
        else:
            try:
                async for _ in pool.map(time.sleep, [1000.0] * 2, progress=True):
                    pass
            finally:
                print("press 1")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], backend=sys.argv[2])
