"""Sends the log records of a worker to the parent. Loaded when somebody in the worker imports `logging`, not before.

Invariants: those of `relay.py`.
"""

import logging
import pickle
from typing import Any

from stoppable.worker import intask
from stoppable.worker.relay import LONGEST, RECORD, Teller
from stoppable.worker.setup import Setup

_OURS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_formatter = logging.Formatter()


class _Relay(logging.Handler):
    """Sends each record to the parent."""

    def __init__(self, teller: Teller) -> None:
        super().__init__()
        self._teller = teller

    def createLock(self) -> None:  # noqa: N802  # logging's name for it
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        passed: bool | logging.LogRecord = self.filter(record)  # since Python 3.12 a filter may give another record
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        if self._teller.forked:
            last = logging.lastResort
            if last is not None and record.levelno >= last.level:
                last.handle(record)
        elif not self._taken_here(record):
            try:
                fields, added = self._fields(record)
                try:
                    self._teller.tell(RECORD, (fields, added))
                except ValueError:
                    self._teller.tell(RECORD, (_shortened(fields), None))
            except Exception:
                self.handleError(record)  # to stderr, as a handler does whose record cannot be formatted

    def _taken_here(self, record: logging.LogRecord) -> bool:
        """Say whether a handler that somebody has added in this worker takes it."""
        known = logging.root.manager.loggerDict.get(record.name)
        logger: logging.Logger | None = known if isinstance(known, logging.Logger) else logging.root
        while logger is not None:
            for handler in logger.handlers:
                if handler is not self and record.levelno >= handler.level and _is_real(handler):
                    return True
            logger = logger.parent if logger.propagate else None
        return False

    def _fields(self, record: logging.LogRecord) -> tuple[dict[str, Any], bytes | None]:
        """Return the record's fields with its text made, and a pickle of those that are not `logging`'s own."""
        fields = {name: value for name, value in vars(record).items() if name in _OURS}
        fields["msg"], fields["args"], fields["exc_info"] = record.getMessage(), None, None
        if record.exc_info and not record.exc_text:
            fields["exc_text"] = _formatter.formatException(record.exc_info)
        added = {name: value for name, value in vars(record).items() if name not in _OURS}
        task = intask.current()
        fields["context"] = {} if task is None else task.context  # a record from a pool in this task has its own, added
        if record.process == self._teller.pid:
            fields["processName"] = self._teller.process
        return fields, _pickled(added) if added else None


def _pickled(added: dict[str, Any]) -> bytes:
    """Return *added* pickled, as text what does not pickle."""
    try:
        return pickle.dumps(added, 5)
    except Exception:
        sent = {}
        for name, value in added.items():
            try:
                pickle.dumps(value, 5)
                sent[name] = value
            except Exception:
                sent[name] = f"{value!r:.500}"
        return pickle.dumps(sent, 5)


def _shortened(fields: dict[str, Any]) -> dict[str, Any]:
    cut = dict(fields)
    for name in ("msg", "exc_text", "stack_info"):
        text = cut.get(name)
        if isinstance(text, str) and len(text) > LONGEST:
            cut[name] = f"{text[:LONGEST]}… ({len(text) - LONGEST} more characters)"
    return cut


def _is_real(handler: logging.Handler) -> bool:
    """Say whether it writes anything: a library's NullHandler does not."""
    return not isinstance(handler, logging.NullHandler)


def levels() -> dict[str, int]:
    """Return the levels of this process's loggers, the root's under "", and of `logging.disable` under " "."""
    manager = logging.root.manager
    found = {"": logging.root.level, " ": manager.disable}
    for name, logger in list(manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET:
            found[name] = logger.level
    return found


def _set_levels(given: dict[str, int]) -> None:
    for name, level in given.items():
        if name == " ":
            logging.disable(level)
        else:
            logging.getLogger(name or None).setLevel(level)


_relay: _Relay | None = None


def install(teller: Teller, setup: Setup) -> None:
    """Have all records sent through *teller*, with the parent's levels."""
    global _relay
    _relay = _Relay(teller)
    own_handlers_only(setup)


def own_handlers_only(setup: Setup) -> None:
    """Take off all handlers that came from the parent, by a fork or by importing what it imports: it has them itself.

    They are not closed, as the file behind one may be the parent's, too.
    """
    if _relay is None or setup.levels is None:
        return
    loggers = [each for each in list(logging.root.manager.loggerDict.values()) if isinstance(each, logging.Logger)]
    for logger in loggers:
        if any(map(_is_real, logger.handlers)):
            logger.handlers = [each for each in logger.handlers if not _is_real(each)]
            logger.propagate = True
    logging.root.handlers = [_relay]
    _set_levels(setup.levels)
