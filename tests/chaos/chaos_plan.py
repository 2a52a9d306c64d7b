"""What a chaos run will do: all of it chosen from a seed before anything starts, so that it can be chosen again.

The plan names no process and no moment: which worker gets which task, and how far a task has come when
it is stopped or its worker is killed, is left to the machine. It imports nothing of the pools.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from signal import SIGKILL, SIGSTOP


class Kind(StrEnum):
    """What a task does; `chaos_tasks.DEEDS` has a function for each."""

    NOOP = "noop"
    NAP = "nap"
    SPIN = "spin"
    BYTES = "bytes"  # returns `size` bytes
    ARRAY = "array"  # returns a numpy array of `size` bytes
    CARRY = "carry"  # is given `size` bytes
    # --- fail, as they should
    RAISE = "raise"
    EXIT_CALL = "exit_call"
    BAD_RESULT = "bad_result"
    RESULT_UNREADABLE = "result_unreadable"
    BAD_ERROR = "bad_error"
    ERROR_UNREADABLE = "error_unreadable"
    BAD_ARGUMENT = "bad_argument"
    ARGUMENT_UNREADABLE = "argument_unreadable"
    # --- end their own worker
    EXIT = "exit"
    SEGFAULT = "segfault"
    KILL_SELF = "kill_self"
    ARGUMENT_KILLS = "argument_kills"
    # --- last until they are stopped, or for a moment if nobody will
    POLITE = "polite"
    CATCHES = "catches"  # returns a value when it is stopped
    DEAF = "deaf"
    SWALLOWS = "swallows"
    GIL = "gil"
    PUBLISHES = "publishes"
    SHIELDS = "shields"
    FORKS = "forks"  # with a child in a session of its own
    DAEMONS = "daemons"  # with a program in a session of its own, whose parent has ended


FAIL = {
    Kind.RAISE: "ValueError",
    Kind.EXIT_CALL: "SystemExit",
    Kind.BAD_RESULT: "TypeError",
    Kind.RESULT_UNREADABLE: "ZeroDivisionError",
    Kind.BAD_ERROR: "PicklingError",
    Kind.ERROR_UNREADABLE: "TypeError",
    Kind.BAD_ARGUMENT: "TypeError",
    Kind.ARGUMENT_UNREADABLE: "ZeroDivisionError",
}
"""What each of those that fail raises in the end."""
DIE = (Kind.EXIT, Kind.SEGFAULT, Kind.KILL_SELF, Kind.ARGUMENT_KILLS)
LAST = tuple(Kind)[list(Kind).index(Kind.POLITE) :]
NEVER_BEGIN = (Kind.BAD_ARGUMENT, Kind.ARGUMENT_UNREADABLE, Kind.ARGUMENT_KILLS)

WEIGHTS = {
    Kind.NOOP: 480,
    Kind.NAP: 140,
    Kind.SPIN: 60,
    Kind.BYTES: 100,
    Kind.ARRAY: 3,
    Kind.CARRY: 30,
    Kind.RAISE: 40,
    Kind.EXIT_CALL: 5,
    Kind.BAD_RESULT: 4,
    Kind.RESULT_UNREADABLE: 5,
    Kind.BAD_ERROR: 3,
    Kind.ERROR_UNREADABLE: 5,
    Kind.BAD_ARGUMENT: 4,
    Kind.ARGUMENT_UNREADABLE: 5,
    Kind.EXIT: 6,
    Kind.SEGFAULT: 3,
    Kind.KILL_SELF: 4,
    Kind.ARGUMENT_KILLS: 2,
    Kind.POLITE: 40,
    Kind.CATCHES: 15,
    Kind.DEAF: 30,
    Kind.SWALLOWS: 6,
    Kind.GIL: 2,
    Kind.PUBLISHES: 15,
    Kind.SHIELDS: 15,
    Kind.FORKS: 8,
    Kind.DAEMONS: 3,
}
_SIZES = (
    (1000, 0, 1 << 10),
    (300, 1 << 10, 1 << 16),
    (60, 1 << 16, 1 << 20),
    (10, 1 << 20, 8 << 20),
    (5, 8 << 20, 50 << 20),
)
ENDLESS_S = 60.0
HOWS = ("cancel", "ask", "interrupt", "terminate", "kill", "wait")


@dataclass(frozen=True, slots=True)
class Stop:
    """One call that stops a task, `after_s` seconds after its submission, or once it runs."""

    how: str
    after_s: float
    running: bool


@dataclass(frozen=True, slots=True)
class Harm:
    """A signal from outside to the worker of a task, `after_s` seconds after the task began."""

    signum: int
    after_s: float


@dataclass(frozen=True, slots=True)
class Order:
    """One task, and what will be done to it.

    Attributes:
        lasts_s: how long it takes by itself.
        timeout_s: given to the pool, or None.
        batch: the call of `map` that it belongs to, or None for `submit`.
        slow_s: how long its done callback takes.
    """

    number: int
    kind: Kind
    size: int = 0
    lasts_s: float = 0.0
    timeout_s: float | None = None
    stops: tuple[Stop, ...] = ()
    harm: Harm | None = None
    batch: int | None = None
    slow_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run.

    Attributes:
        lanes: what each submitting thread submits, in order.
        batches: what each call of `map` gets.
        closed_after: for each batch, after how many results its iterator is closed; None: it is not.
        window: the most unfinished tasks of a lane.
        recycle: the pool's max_tasks_per_child.
        boot_deaths: an initializer dies in every so many processes; 0: in none.
        stop_all: the rung of a `pool.stop()` when all is submitted, or None for waiting.
    """

    seed: int
    lanes: tuple[tuple[Order, ...], ...]
    batches: tuple[tuple[Order, ...], ...]
    closed_after: tuple[int | None, ...]
    window: int
    recycle: int | None
    boot_deaths: int
    stop_all: str | None

    def orders(self) -> list[Order]:
        """Return all orders, by number."""
        return sorted((order for part in (*self.lanes, *self.batches) for order in part), key=lambda o: o.number)


def make(seed: int, tasks: int, *, weights: Mapping[Kind, int] = WEIGHTS, lanes: int = 3) -> Plan:
    """Choose a run of *tasks* tasks from *seed*; *weights* say how often there is which kind."""
    rng = random.Random(seed)
    in_batches = tasks // 6
    batches: list[tuple[Order, ...]] = []
    number = 1
    while number <= in_batches:
        size = min(rng.randint(1, 80), in_batches - number + 1)
        batches.append(tuple(_mapped(rng, number + n, len(batches)) for n in range(size)))
        number += size
    singles = [_order(rng, number, weights) for number in range(number, tasks + 1)]
    return Plan(
        seed=seed,
        lanes=tuple(tuple(singles[lane::lanes]) for lane in range(lanes)),
        batches=tuple(batches),
        closed_after=tuple(rng.randrange(len(b)) if rng.random() < 0.15 else None for b in batches),
        window=rng.choice((4, 30, 200)),
        recycle=rng.choice((None, None, 3, 40)),
        boot_deaths=rng.choice((0, 37)),
        stop_all=rng.choice((None, None, "ask", "kill")),
    )


def size_of(rng: random.Random) -> int:
    """Choose a size: nearly always small, up to 50 MB."""
    _, low, high = rng.choices(_SIZES, [weight for weight, _, _ in _SIZES])[0]
    return rng.randint(low, high)


def _mapped(rng: random.Random, number: int, batch: int) -> Order:
    kind = rng.choices((Kind.NOOP, Kind.NAP, Kind.BYTES), (80, 15, 5))[0]
    size = min(size_of(rng), 1 << 20) if kind is Kind.BYTES else 0
    return Order(number, kind, size, rng.uniform(0, 0.005), batch=batch)


def _order(rng: random.Random, number: int, weights: Mapping[Kind, int]) -> Order:
    kind = rng.choices(list(weights), list(weights.values()))[0]
    size = size_of(rng) if kind in (Kind.BYTES, Kind.ARRAY, Kind.CARRY) else 0
    stops: tuple[Stop, ...] = ()
    timeout_s = None
    lasts_s = rng.uniform(0, 0.03) if rng.random() < 0.1 else rng.uniform(0, 0.004)
    if kind in LAST and rng.random() < 0.75:
        # A timeout ends only what runs, and all of these run until they are stopped.
        if rng.random() < 0.2:
            timeout_s = rng.uniform(0.001, 0.03)
        else:
            stops = _stops(rng)
        lasts_s = ENDLESS_S
    elif kind in LAST:
        lasts_s = rng.uniform(0, 0.03)
    elif rng.random() < 0.04:
        stops = _stops(rng)  # a race with its end, or with its start
    elif rng.random() < 0.02:
        timeout_s = rng.choice((0.0, 0.002, 1000.0, 1000.0))
    return Order(
        number,
        kind,
        size,
        lasts_s,
        timeout_s,
        stops,
        _harm(rng) if rng.random() < (0.2 if size > 1 << 20 else 0.004) else None,
        slow_s=rng.uniform(0.001, 0.05) if rng.random() < 0.004 else 0.0,
    )


def _stops(rng: random.Random) -> tuple[Stop, ...]:
    first = Stop(rng.choices(HOWS, (30, 30, 8, 12, 15, 5))[0], rng.uniform(0, 0.02), rng.random() < 0.7)
    if rng.random() < 0.25:
        return first, Stop(
            rng.choice(("ask", "terminate", "kill")), first.after_s + rng.uniform(0, 0.05), first.running
        )
    return (first,)


def _harm(rng: random.Random) -> Harm:
    return Harm(SIGKILL if rng.random() < 0.6 else SIGSTOP, rng.expovariate(1 / 0.01))
