"""Stop a running task with a flag kept by a `multiprocessing.Manager`.

One line differs from the same program for the standard library, where it was
`from concurrent.futures import ProcessPoolExecutor`. `tutorial_event.py` does it with no manager.
"""

from multiprocessing import Manager
from time import sleep

from stoppable import ProcessPoolExecutor  # the one changed line


def work(event):
    for _ in range(10):
        sleep(1)  # one block of work: reading from a file, say
        if event.is_set():
            print("The task was told to stop: it closes its files and returns.", flush=True)
            return


if __name__ == "__main__":
    with Manager() as manager:
        event = manager.Event()
        with ProcessPoolExecutor() as executor:
            future = executor.submit(work, event)
            print("The task is running...")
            sleep(2)
            future.cancel()  # in case it has not started
            print("Stopping the task...")
            event.set()
            print("Waiting...")
        print("All done.")
