"""Waiting in a loop, asyncio's or Trio's, for what happens in another thread.

The other thread only wakes the loop, and never waits for it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import anyio
from anyio.lowlevel import current_token

from stoppable.future import Future

Then = Callable[[Callable[[], object]], object]  # has what it is given called once something has happened


def all_ended(futures: Sequence[Future[Any]]) -> Then:
    """Return what tells of the end of all *futures*."""

    def then(call: Callable[[], object]) -> None:
        left = [None] * len(futures)

        def one_ended(_: object) -> None:
            left.pop()
            if not left:
                call()

        for future in futures:
            future.add_done_callback(one_ended)
        if not futures:
            call()

    return then


def in_loop(call: Callable[[], object]) -> Callable[[], None]:
    """Return what has *call* called in this loop, soon, from whatever thread; nothing happens if the loop is over."""
    # The loop's own way, since `anyio.from_thread` would have the other thread wait for the loop.
    loop: Any = current_token().native_token
    soon = loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon

    def wake() -> None:
        try:
            soon(call)
        except RuntimeError:
            pass  # the loop is over, and with it whoever waited

    return wake


def told(then: Then) -> anyio.Event:
    """Return an event that is set in this loop once what *then* tells of has happened, in whatever thread."""
    event = anyio.Event()
    then(in_loop(event.set))
    return event


class Bell:
    """What other threads ring, and one coroutine at a time waits for, again and again.

    A ring that nobody waits for is forgotten, so who waits looks after `then` whether there is need to.
    """

    def __init__(self) -> None:
        self._wake: Callable[[], object] | None = None

    def then(self, call: Callable[[], object]) -> None:
        """Have *call* called by each ring, in place of what was before."""
        self._wake = call

    def ring(self) -> None:
        """Wake who waits."""
        if self._wake is not None:
            self._wake()


async def wait(event: anyio.Event, stop: Callable[[], object]) -> None:
    """Wait for *event*. Whatever breaks this wait has *stop* called, and is raised when the event has come."""
    try:
        await event.wait()
    except GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
        stop()
        raise
    except BaseException:
        stop()
        await outlast(event)
        raise


async def wait_at_most(event: anyio.Event, limit_s: float) -> None:
    """Wait for *event*, also when this is cancelled, but no longer than that; return or raise the cancellation then."""
    try:
        with anyio.move_on_after(limit_s):
            await event.wait()
    except GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
        raise
    except BaseException:
        await outlast(event, limit_s)
        raise


async def outlast(event: anyio.Event, limit_s: float = math.inf) -> None:
    """Wait for *event*, however often this is cancelled. The caller raises something when it has come.

    Args:
        limit_s: seconds after which it is not waited for any longer.
    """
    end = anyio.current_time() + limit_s
    while not event.is_set() and anyio.current_time() < end:
        try:
            with anyio.CancelScope(deadline=end, shield=True):
                await event.wait()
        except anyio.get_cancelled_exc_class():
            # A second `Task.cancel()` of asyncio, which goes through the shield. `Task.cancelling()` counts it,
            # so `asyncio.timeout` and `TaskGroup` miss nothing by the one CancelledError that is raised.
            continue
