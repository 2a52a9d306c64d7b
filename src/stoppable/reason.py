"""Why a stop was asked for: a small frozen fact that never changes once it is decided.

A reason crosses processes through a fixed area of shared memory, so it is encoded here without
pickle: readers may be processes that we do not know.
"""

import os
import struct
import time
from enum import Enum
from functools import lru_cache

from stoppable.frozen import Frozen


class StopKind(Enum):
    """What set a token. `str(kind)` is its value."""

    STOP = "stop"
    DEADLINE = "deadline"
    GROUP = "group"
    RACE = "race"
    SHUTDOWN = "shutdown"
    INTERRUPT = "interrupt"
    ORPHAN = "orphan"
    WATCHDOG = "watchdog"
    MEMORY = "memory"

    def __str__(self) -> str:
        return self.value


_KINDS = tuple(StopKind)
_HEAD = struct.Struct("<BxxxIdHHHH")  # kind, pid, at, lengths of message, host, user, task


class StopSource(Frozen):
    """Who asked: process id, host name, user name, and the task it ran (None outside a task)."""

    __slots__ = ("pid", "host", "user", "task")
    pid: int
    host: str
    user: str
    task: str | None

    def __init__(self, pid: int, host: str, user: str, task: str | None = None) -> None:
        super().__init__(pid, host, user, task)


NOBODY = StopSource(0, "", "")


class StopReason(Frozen):
    """Why and when a stop was asked for.

    Attributes:
        kind: what set the token.
        message: the text given by whoever stopped it, or None.
        source: who asked; process 0 if nobody did, as when a token's deadline has passed or its owner has died.
        at: when, in seconds of `time.monotonic()` (comparable between the processes of a machine).
    """

    __slots__ = ("kind", "message", "source", "at")
    kind: StopKind
    message: str | None
    source: StopSource
    at: float

    def __init__(self, kind: StopKind, message: str | None, source: StopSource, at: float) -> None:
        super().__init__(kind, message, source, at)

    def __str__(self) -> str:
        said = f": {self.message}" if self.message else ""
        return f"{self.kind}{said}"

    def encode(self, size_bytes: int) -> bytes:
        """Return it as at most *size_bytes* bytes; texts too long are cut, at a character's edge."""
        source = self.source
        sizes, others = _texts(source.host, source.user, source.task)
        message = _cut(self.message, size_bytes - _HEAD.size - len(others))
        head = _HEAD.pack(_KINDS.index(self.kind), source.pid, self.at, _size(self.message, message), *sizes)
        return head + message + others

    @classmethod
    def decode(cls, data: "bytes | bytearray | memoryview") -> "StopReason":
        """Return the reason that `encode` wrote at the start of *data*."""
        kind, pid, at, *lengths = _HEAD.unpack_from(data)
        texts: list[str | None] = []
        pos = _HEAD.size
        for length in lengths:
            if not length:
                texts.append(None)
                continue
            texts.append(bytes(data[pos : pos + length - 1]).decode("utf-8", "replace"))
            pos += length - 1
        message, host, user, task = texts
        return cls(_KINDS[kind], message, StopSource(pid, host or "", user or "", task), at)


@lru_cache(16)  # most stops of a process come from itself
def _texts(*texts: str | None) -> tuple[tuple[int, ...], bytes]:
    """Return *texts* as `encode` writes them: sizes and bytes. The message is what people wrote; these take 64 bytes each."""
    raw = [_cut(text, 64) for text in texts]
    return tuple(map(_size, texts, raw)), b"".join(raw)


def _size(text: str | None, raw: bytes) -> int:
    return 0 if text is None else len(raw) + 1


def _cut(text: str | None, size_bytes: int) -> bytes:
    if text is None:
        return b""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= size_bytes:
        return raw
    return raw[: max(0, size_bytes - 3)].decode("utf-8", "ignore").encode() + "…".encode()


_ourselves = NOBODY  # this process as a source, once it was needed: to find it out takes longer than all else of a stop


def here(task: str | None = None) -> StopSource:
    """Return this process as a source; *task* names the task it runs, if any."""
    global _ourselves
    ours, pid = _ourselves, os.getpid()
    if ours.pid != pid:
        if hasattr(os, "uname"):
            host, user = os.uname().nodename, os.environ.get("USER") or str(os.getuid())
        else:  # Windows
            host, user = os.environ.get("COMPUTERNAME", ""), os.environ.get("USERNAME", "")
        ours = _ourselves = StopSource(pid, host, user)
    return ours if task is None else StopSource(pid, ours.host, ours.user, task)


def new_reason(
    kind: StopKind = StopKind.STOP, message: str | None = None, *, at: float | None = None, task: str | None = None
) -> StopReason:
    """Return a reason from this process, *at* seconds of the monotonic clock (now, if not given)."""
    return StopReason(kind, message, here(task), time.monotonic() if at is None else at)
