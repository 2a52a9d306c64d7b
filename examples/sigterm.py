"""End well when a supervisor says so: `docker stop`, `systemctl stop`, Kubernetes."""

import os
import signal
import threading
import time

import stoppable
from stoppable import ProcessPoolExecutor


def work(number):
    try:
        stoppable.progress(0)
        stoppable.sleep(60)
    finally:
        print(f"task {number} cleans up", flush=True)


def main():
    with ProcessPoolExecutor(max_workers=2) as pool:
        futures = [pool.submit(work, number) for number in range(4)]  # two run, two wait
        while not (futures[0].progress and futures[1].progress):
            time.sleep(0.1)
        threading.Timer(1, os.kill, [os.getpid(), signal.SIGTERM]).start()  # stands for the supervisor
        try:
            for future in futures:
                future.result()
        finally:
            print("the program cleans up", flush=True)


if __name__ == "__main__":
    stoppable.install_signal_handlers(grace_s=10)
    main()
