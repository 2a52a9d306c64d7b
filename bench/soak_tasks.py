"""What the soak runs in the pool. Importable, so that the tasks pickle by name."""

import os
import signal
import subprocess
import time
from typing import Any

import stoppable
from stoppable import Event, ProcessPoolExecutor, StopToken

LONG_S = 1000.0


def double(x: int) -> int:
    return x + x


def polite(begun: Event) -> None:
    stoppable.check()
    begun.set()
    stoppable.sleep(LONG_S)


def deaf(begun: Event) -> None:
    begun.set()
    time.sleep(LONG_S)


def stubborn(begun: Event) -> None:
    """Swallow interrupts, and end by SIGTERM only."""
    begun.set()
    while True:
        try:
            time.sleep(LONG_S)
        except BaseException:
            continue


def unkind(begun: Event) -> None:
    """Swallow interrupts and ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stubborn(begun)


def partial(begun: Event) -> None:
    stoppable.publish(list(range(1000)))
    stoppable.progress(1, 2)
    begun.set()
    stoppable.sleep(LONG_S)


def with_children(begun: Event) -> None:
    subprocess.Popen(["sleep", str(LONG_S)])
    subprocess.Popen(["sleep", str(LONG_S)], start_new_session=True)
    begun.set()
    time.sleep(LONG_S)


def wait_for(go: Event) -> bool:
    return go.wait(60)


def wait_for_token(begun: Event, token: StopToken) -> str:
    begun.set()
    token.wait(60)
    return str(token.reason)


def big(size: int, argument: bytes) -> bytes:
    return argument[:1] * size


def fail(text: str) -> None:
    raise ValueError(text)


def die() -> None:
    os._exit(3)


def nested(numbers: list[int]) -> list[Any]:
    with ProcessPoolExecutor(1) as pool:
        return list(pool.map(double, numbers))
