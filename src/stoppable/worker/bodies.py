"""What is inside the frames of one task: one side packs it, the other unpacks it.

Loaded with the pool's class, so it imports neither the page nor the flags.
"""

import math
import os
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from stoppable import wire
from stoppable.reason import StopKind, StopReason
from stoppable.worker.context import Carried

_LENGTH, _PROGRESS = struct.Struct("<I"), struct.Struct("<dd")
_STACK_BYTES = 3000  # with the reason, a STOPPED frame stays below what the parent reads of one
_HERE = os.path.dirname(__file__)


class Options(NamedTuple):
    """What a task's worker must know about it besides the call. Sent only when it is not all default."""

    name: str | None = None
    timeout_s: float | None = None
    deadline: float | None = None
    tokens: tuple[Any, ...] = ()
    looked: bool = False  # its own token is among its arguments
    context: Mapping[str, Any] | None = None  # what the user has attached to it
    carried: Carried = ()  # values of context variables
    watched: bool = False  # by a watchdog

    def pack(self, *, named: bool, by_value: bool) -> bytes:
        """Return it as bytes; none if all is as usual. *named*: its name was given to it, and is not its function's."""
        return wire.dumps(tuple(self), by_value=by_value) if named or self[1:] != DEFAULT[1:] else b""


DEFAULT = Options()


def pack_stop(reason: StopReason | None, error: BaseException | None) -> bytes:
    """Return the body of a STOPPED frame: the reason and, if time was up, where *error* was raised.

    The parent asks for the stack when it sees that time is up; a task that sees it first answers before that.
    """
    raw = b"" if reason is None else reason.encode(1 << 10)
    text = ""
    if error is not None and reason is not None and reason.kind is StopKind.DEADLINE:
        import traceback

        text = "".join(traceback.format_tb(without_ours(error)))
    return _join(raw, text.encode("utf-8", "replace")[-_STACK_BYTES:])


def unpack_stop(body: "bytes | bytearray | memoryview") -> tuple[StopReason | None, str | None]:
    """Return (reason, stack) from a STOPPED frame, None for what is not in it."""
    raw, text = _split(body)
    return StopReason.decode(raw) if raw else None, str(text, "utf-8", "replace") or None


def pack_error(text: str, raw: bytes) -> bytes:
    """Return the body of an ERROR frame: the traceback's text and the pickle of (error, stop in its context)."""
    return _join(text.encode("utf-8", "replace"), raw)


def unpack_error(body: "bytes | bytearray | memoryview") -> tuple[str, memoryview]:
    """Return what `pack_error` was given."""
    text, raw = _split(body)
    return str(text, "utf-8", "replace"), raw


def _join(first: bytes, rest: bytes) -> bytes:
    return _LENGTH.pack(len(first)) + first + rest


def _split(body: "bytes | bytearray | memoryview") -> tuple[memoryview, memoryview]:
    """Return what `_join` was given."""
    view = memoryview(body)
    end = _LENGTH.size + _LENGTH.unpack_from(view)[0]
    return view[_LENGTH.size : end], view[end:]


def pack_progress(done: float, total: float) -> bytes:
    """Return the body of a PROGRESS frame; *total* is NaN when it is not known."""
    return _PROGRESS.pack(done, total)


def unpack_progress(body: "bytes | bytearray | memoryview") -> tuple[float, float | None]:
    """Return (done, total) from a PROGRESS frame; total is None when it is not known."""
    done, total = _PROGRESS.unpack(body)
    return done, None if math.isnan(total) else total


def without_ours(error: BaseException) -> Any:
    """Return the traceback from the task's function on: the loop's own frames say nothing to its author."""
    trace = error.__traceback__
    while trace is not None and os.path.dirname(trace.tb_frame.f_code.co_filename) == _HERE:
        trace = trace.tb_next
    return trace
