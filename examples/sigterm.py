"""End well when a supervisor says so: `docker stop`, `systemctl stop`, Kubernetes."""

import os
import signal
import threading

import stoppable
from stoppable import ProcessPoolExecutor


def work(number):
    try:
        stoppable.sleep(60)
    finally:
        print(f"task {number} cleans up", flush=True)


def main():
    with ProcessPoolExecutor(max_workers=2) as pool:
        futures = [pool.submit(work, number) for number in range(4)]  # two run, two wait
        try:
            for future in futures:
                future.result()
        finally:
            print("the program cleans up", flush=True)


if __name__ == "__main__":
    stoppable.install_signal_handlers(grace_s=10)
    threading.Timer(3, os.kill, [os.getpid(), signal.SIGTERM]).start()  # stands for the supervisor
    main()
