"""Cancel a task that is already running.

One line differs from the same program for the standard library, where it was
`from concurrent.futures import ProcessPoolExecutor`. There the cancel has no effect and the program
takes 10 seconds; here it takes 2.
"""

from time import sleep

from stoppable import ProcessPoolExecutor  # the one changed line


def work():
    for _ in range(10):
        sleep(1)


if __name__ == "__main__":
    with ProcessPoolExecutor() as executor:
        future = executor.submit(work)
        print("The task is running...")
        sleep(2)
        print("Cancel the task...")
        future.cancel()
        print("Waiting...")
    print("All done.")
