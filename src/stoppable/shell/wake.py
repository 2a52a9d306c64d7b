"""Waking a thread that sleeps in a select."""

import os
import threading


class Wake:
    """Something that a sleeping select can be woken by, from any thread, also after it was closed."""

    def __init__(self) -> None:
        # Re-entrant, since a signal handler may post mail while its thread is posting some.
        self._lock = threading.RLock()
        self._closed = False
        self._pipe: tuple[int, ...]
        if hasattr(os, "eventfd"):
            fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._pipe = (fd, fd)
        else:
            self._pipe = os.pipe()
            for fd in self._pipe:
                os.set_blocking(fd, False)

    def fileno(self) -> int:
        return self._pipe[0]

    def set(self) -> None:
        """Wake the sleeper, or keep it from falling asleep."""
        with self._lock:
            if self._closed:
                return  # the descriptor may be somebody else's by now
            try:
                os.write(self._pipe[1], b"\1\0\0\0\0\0\0\0")
            except BlockingIOError:
                pass  # it is awake a thousand times already

    def clear(self) -> None:
        try:
            os.read(self._pipe[0], 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for fd in set(self._pipe):
                os.close(fd)
