"""Which descriptors the reactor waits for, and who is called for each. Used by its thread only.

On Linux this is epoll itself: `selectors` around it costs more than the wait, twice for each task.
"""

import os
import select
import selectors
from collections.abc import Callable

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
Handler = Callable[[int], None]  # called with what is ready, READ and WRITE
# At most so many handlers in one wait: a worker may have 64 answers, and until the wait is over no stop is looked at. With
# 100 workers at no-ops on two busy CPUs, a stop reached its task after 0.5 s; with this, after 0.03 s, and no task costs
# more. Who is left comes first the next time: epoll goes round.
_AT_ONCE = 8


class _Selected:
    """What `Watch` asks of the kernel, by way of `selectors`: for every system."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.register, self.modify, self.unregister = (
            self._selector.register,
            self._selector.modify,
            self._selector.unregister,
        )
        self.close = self._selector.close

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Return the ready descriptors with what each is ready for."""
        return [(key.fd, mask) for key, mask in self._selector.select(timeout)]

    once = False  # a bell must be cleared, or it rings on
    bells = READ


class _Polled:
    """The same, by epoll."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.unregister, self.close = self._epoll.unregister, self._epoll.close

    def register(self, fd: int, mask: int) -> None:
        self._epoll.register(fd, _EVENTS[mask])

    def modify(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, _EVENTS[mask])

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Return the ready descriptors with what each is ready for."""
        # As `selectors` rounds: up, or a wait that is due in a moment would spin.
        ready = self._epoll.poll(-1 if timeout is None else -(-timeout * 1e3 // 1) * 1e-3, _AT_ONCE)
        # An end or an error counts as both, so that whoever reads or writes finds it.
        return [(fd, _MASKS.get(event, READ | WRITE)) for fd, event in ready]

    # An eventfd rings once for each time it is set, so nobody need clear it; a pipe would fill up.
    once = hasattr(os, "eventfd")
    bells = READ | 4 if once else READ


if hasattr(select, "epoll"):
    _EVENTS = {
        READ: select.EPOLLIN,
        WRITE: select.EPOLLOUT,
        READ | WRITE: select.EPOLLIN | select.EPOLLOUT,
        READ | 4: select.EPOLLIN | select.EPOLLET,
    }
    _MASKS = {select.EPOLLIN: READ, select.EPOLLOUT: WRITE}
    _Kernel: Callable[[], _Polled | _Selected] = _Polled
else:
    _Kernel = _Selected


class Watch:
    """The descriptors that are waited for.

    A descriptor must be removed before it is closed: its number may be another's at once.
    """

    def __init__(self) -> None:
        self._kernel = _Kernel()
        self._watched: dict[int, tuple[int, Handler]] = {}

    def __contains__(self, fd: int) -> bool:
        return fd in self._watched

    def wait(self, timeout: float | None) -> None:
        """Sleep until a descriptor is ready or *timeout* seconds have passed; call the handlers of the ready ones."""
        for fd, mask in self._kernel.poll(timeout):
            watched = self._watched.get(fd)
            if watched is not None:  # else the handler of another has removed it
                watched[1](mask)

    def put(self, fd: int, mask: int, handler: Handler) -> None:
        """Call *handler* when *fd* is ready for any of *mask*, and for nothing else."""
        old = self._watched.get(fd)
        if old is None:
            self._kernel.register(fd, mask)
        elif old[0] != mask:
            self._kernel.modify(fd, mask)
        self._watched[fd] = (mask, handler)

    def put_bell(self, fd: int, clear: Callable[[], None]) -> None:
        """End `wait` when somebody writes to *fd*; *clear* empties it, where that must be done."""
        self.put(fd, self._kernel.bells, (lambda _: None) if self._kernel.once else (lambda _: clear()))

    def change(self, fd: int, mask: int) -> None:
        """Wait for *mask* from now on, if *fd* is waited for at all."""
        old = self._watched.get(fd)
        if old is not None and old[0] != mask:
            self.put(fd, mask, old[1])

    def remove(self, fd: int) -> None:
        """Wait for *fd* no more; nothing if it is not waited for."""
        if self._watched.pop(fd, None) is not None:
            self._kernel.unregister(fd)

    def close(self) -> None:
        """Let go of everything."""
        self._kernel.close()


def is_readable(fd: int | None) -> bool:
    """Say whether *fd* can be read now, whatever its number is; False for None."""
    poll = select.poll()
    if fd is not None:
        poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
