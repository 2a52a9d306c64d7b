"""What happened in a chaos run, as plain data: what the tasks wrote, how they ended, what was done to them."""

from dataclasses import dataclass, field
from typing import NamedTuple

from chaos_plan import Order
from chaos_tasks import RECORD


class Record(NamedTuple):
    """What a task wrote. `place` is where in the log: the order in which all records were written."""

    place: int
    what: int
    number: int
    pid: int
    child: int
    at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended, as its future says.

    Attributes:
        end: value, error, stopped, timeout, died, broken, or never.
        fault: what is wrong with the value or the partial result, or "".
        error: the name of the exception's class, or "".
        place: the size of the log when the future was done.
        at: when that was, in monotonic seconds.
        rung: of the error, or None; `rungs` are the report's.
        code: the exit code of a worker that died, or None; negative for a signal.
        message: of the stop's reason, or None.
    """

    number: int
    end: str
    submitted_at: float
    at: float
    place: int
    fault: str = ""
    error: str = ""
    text: str = ""
    rung: int | None = None
    rungs: tuple[int, ...] = ()
    started: bool = True
    confirmed: bool = True
    cancelled: bool = False
    message: str | None = None
    code: int | None = None


@dataclass(frozen=True, slots=True)
class StopMade:
    """A stop that was asked for: when the call began, and what it returned (None: it was not a future's)."""

    number: int
    how: str
    at: float
    accepted: bool | None = None


@dataclass(frozen=True, slots=True)
class HarmDone:
    """A signal that was sent from outside."""

    pid: int
    signum: int
    began: float
    ended: float
    warden: bool = False


@dataclass(slots=True)
class History:
    """All of a run. `batches` and `stops` are by task."""

    orders: dict[int, Order]
    records: list[Record] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    stops: list[StopMade] = field(default_factory=list)
    harms: list[HarmDone] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    workers: int = 4


def read_log(path: str, start: int = 0) -> list[Record]:
    """Return the records of the log from *start* on."""
    with open(path, "rb") as file:
        file.seek(start)
        raw = file.read()
    size = RECORD.size
    whole = len(raw) - len(raw) % size
    return [Record(start + place, *RECORD.unpack_from(raw, place)) for place in range(0, whole, size)]
