"""Stop a running task with a flag that needs no server process.

`stoppable.Event` is passed to the task like any other argument. It works in the standard executor
too: run this with --stock to see it there.
"""

import sys
from time import sleep

from stoppable import Event

if "--stock" in sys.argv:
    from concurrent.futures import ProcessPoolExecutor
else:
    from stoppable import ProcessPoolExecutor


def work(event):
    for block in range(1, 11):
        sleep(1)  # one block of work; `event.wait(1)` would end at once when the flag is set
        if event.is_set():
            return f"The task saw the flag after block {block}, cleaned up and returned."
    return "The task ran to its end."


if __name__ == "__main__":
    event = Event()
    with ProcessPoolExecutor() as executor:
        future = executor.submit(work, event)
        print("The task is running...")
        sleep(2)
        print("Stopping the task...")
        event.set()
        print("Waiting...")
        print(future.result())
    print("All done.")
