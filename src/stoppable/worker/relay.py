"""What a worker says besides its answers: log records, warnings and printed lines, sent to the parent.

`install` puts a function in place of `warnings.showwarning`, a handler on the root logger (`records.py`) as soon as
somebody imports `logging`, and, if it was asked for, two streams in place of `sys.stdout` and `sys.stderr`.
`warnings` is in every worker already; `logging` costs a tenth of its start, and so is left to those who log.

Invariants:
1. A fork of the worker never writes to the channel: it says what it has to say on its own stderr or stdout.
2. No lock is held while code of the user's runs. The handler has none, since `Loop.say` keeps the frames apart: with
   one, a signal handler that logs in the middle of a frame could wait for a thread that waits for that frame.
3. What cannot be sent fails no task; only the interrupt of the task, which can land in any of its code, passes.
4. No record is handled twice: if a handler that was added in the worker takes it, it is not sent.
"""

import io
import os
import pickle
import sys
import warnings
from _thread import get_ident
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from stoppable import wire
from stoppable.worker import intask
from stoppable.worker.loop import Loop
from stoppable.worker.setup import Setup

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

# What a SAID frame is, in its `extra`.
RECORD, WARNING, STDOUT, STDERR = range(4)

LONGEST = 1 << 16  # characters of one text, if the whole does not fit into a frame
_LONGEST_LINE = 1 << 16  # bytes: what goes on is sent as a line of its own


class Said(NamedTuple):
    """What was said, and in which task (None: in none)."""

    task: str | None
    taskid: int
    process: str  # its name
    what: Any  # of a record: its fields, and a pickle of those that were added; of output: bytes


class Teller:
    """Sends what this process says."""

    def __init__(self, loop: Loop, pool: str) -> None:
        self.loop, self.pid = loop, os.getpid()
        self.process = f"{pool}-{self.pid}"
        self.streams: list[_Lines] = []

    def tell(self, kind: int, what: Any) -> None:
        """Send *what*.

        Raises:
            Exception: it does not pickle, or is too long.
        """
        task = intask.current()
        name, number = (None, 0) if task is None else (task.name, task.id)
        body = pickle.dumps((name, number, self.process, what), 5)
        if len(body) > wire.MAX_SAID_BYTES:
            raise ValueError("too long to be sent")
        try:
            self.loop.say(wire.Kind.SAID, body, 0, kind)
        except OSError:
            pass  # the parent is gone, and the loop will find out

    @property
    def forked(self) -> bool:
        """Whether this is a fork of the worker, so that the channel is not its own."""
        return os.getpid() != self.pid

    def end_lines(self) -> None:
        """Send the lines that were begun, at the end of a task."""
        for stream in self.streams:
            stream.end_lines()


# --- warnings ---------------------------------------------------------------------------------


def _show_in_parent(teller: Teller) -> Callable[..., None]:
    shown_here = warnings.showwarning

    def showwarning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if file is not None or teller.forked:
            shown_here(message, category, filename, lineno, file, line)
            return
        try:
            what = pickle.dumps((message, category), 5)
        except Exception:
            what = b""
        try:
            teller.tell(WARNING, (what, f"{category.__name__}: {message}"[:LONGEST], filename, lineno, line))
        except Exception:
            shown_here(message, category, filename, lineno, None, line)

    return showwarning


# --- printed lines ----------------------------------------------------------------------------


class _Lines(io.RawIOBase):
    """Takes bytes and sends whole lines; those of threads are kept apart."""

    def __init__(self, teller: Teller, kind: int, fd: int) -> None:
        self._teller, self._kind, self._fd = teller, kind, fd
        self._begun: dict[int, bytes] = {}  # thread -> its line so far

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd  # for those who hand it to a process that they start

    def write(self, data: Any) -> int:
        raw = bytes(data)
        if self._teller.forked:
            self._begun.clear()  # what the worker had begun is the worker's
            _write_all(self._fd, raw)
            return len(raw)
        me = get_ident()
        whole, newline, rest = (self._begun.get(me, b"") + raw).rpartition(b"\n")
        while len(rest) > _LONGEST_LINE:  # what is left is never empty, so its end makes no empty line
            whole, newline, rest = whole + newline + rest[:_LONGEST_LINE], b"\n", rest[_LONGEST_LINE:]
        if rest:
            self._begun[me] = rest
        else:
            self._begun.pop(me, None)
        if newline:
            self._tell(whole + newline)
        return len(raw)

    def end_lines(self) -> None:
        while self._begun:
            try:
                _, begun = self._begun.popitem()
            except KeyError:
                return  # its thread has ended it meanwhile
            self._tell(begun + b"\n")

    def _tell(self, lines: bytes) -> None:
        """Send *lines*, in pieces that end where a line does."""
        most = wire.MAX_SAID_BYTES // 2
        while len(lines) > most:
            end = lines.rfind(b"\n", 0, most) + 1
            self._teller.tell(self._kind, lines[:end] or lines[:most] + b"\n")
            lines = lines[end or most :]
        self._teller.tell(self._kind, lines)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _stream(lines: _Lines, errors: str) -> TextIO:
    # What is behind it takes each write at once, so nothing waits in it that a fork could write a second time.
    return io.TextIOWrapper(lines, "utf-8", errors, newline="\n", write_through=True)  # type: ignore[type-var]


# --- start ------------------------------------------------------------------------------------


class _Late:
    """Calls *then* when a module has been imported, once: an import hook that is gone after that."""

    def __init__(self, name: str, then: Callable[[], object]) -> None:
        self._name, self._then = name, then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> "ModuleSpec | None":
        if name != self._name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        specs = (finder.find_spec(name, path, target) for finder in list(sys.meta_path))
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None:
            self._real = spec.loader
            spec.loader = self  # type: ignore[assignment]  # it has what a loader must have
        return spec

    def create_module(self, spec: "ModuleSpec") -> ModuleType | None:
        assert self._real is not None
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert self._real is not None
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._real
        self._real.exec_module(module)
        self._then()


def install(loop: Loop, setup: Setup) -> None:
    """Have this worker say to the parent what *setup* tells it to. To be called before `__main__` is imported.

    Then a `logging.basicConfig` at the top of the script does nothing here: not even empty the parent's log file.
    """
    teller = Teller(loop, setup.name)
    if setup.levels is not None:

        def relay_records() -> None:
            from stoppable.worker import records

            records.install(teller, setup)

        if "logging" in sys.modules:
            relay_records()
        else:
            sys.meta_path.insert(0, _Late("logging", relay_records))
        warnings.showwarning = _show_in_parent(teller)
    if setup.lines:
        teller.streams = [_Lines(teller, STDOUT, 1), _Lines(teller, STDERR, 2)]
        sys.stdout = _stream(teller.streams[0], "replace")
        sys.stderr = _stream(teller.streams[1], "backslashreplace")
        loop.at_end = teller.end_lines


def own_handlers_only(setup: Setup) -> None:
    """Take off all log handlers that came from the parent, by importing what it imports."""
    if "logging" in sys.modules:
        from stoppable.worker import records

        records.own_handlers_only(setup)
