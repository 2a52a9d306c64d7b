"""Which descriptors the reactor waits for, and who is called for each. Used by its thread only."""

import selectors
from collections.abc import Callable

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
Handler = Callable[[int], None]  # called with what is ready, READ and WRITE


class Watch:
    """The descriptors that are waited for in *selector*.

    A descriptor must be removed before it is closed: its number may be another's at once.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._watched: dict[int, tuple[int, Handler]] = {}

    def __contains__(self, fd: int) -> bool:
        return fd in self._watched

    def put(self, fd: int, mask: int, handler: Handler) -> None:
        """Call *handler* when *fd* is ready for any of *mask*, and for nothing else."""
        old = self._watched.get(fd)
        if old is None:
            self._selector.register(fd, mask, handler)
        elif old[0] != mask:
            self._selector.modify(fd, mask, handler)
        self._watched[fd] = (mask, handler)

    def change(self, fd: int, mask: int) -> None:
        """Wait for *mask* from now on, if *fd* is waited for at all."""
        old = self._watched.get(fd)
        if old is not None and old[0] != mask:
            self.put(fd, mask, old[1])

    def remove(self, fd: int) -> None:
        """Wait for *fd* no more; nothing if it is not waited for."""
        if self._watched.pop(fd, None) is not None:
            self._selector.unregister(fd)
