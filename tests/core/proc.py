"""What a world may do (Config), and one worker's process in it (Proc)."""

from dataclasses import dataclass
from typing import Any

from stoppable.core import events as ev
from stoppable.core.ladder import StopPolicy
from stoppable.rung import Rung

Move = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """What the world may do, and how often."""

    tasks: int = 2
    size: int = 1
    ahead: int = 1
    spares: int = 0
    most: int | None = None  # max_tasks_per_child
    crashes: int = 0
    stops: tuple[Rung, ...] = (Rung.ASK,)  # each may be asked once for each task, a harsher one later
    stoppable: int = 99  # only the first so many tasks are stopped
    all: tuple[Rung, ...] = ()  # StopAll
    shutdown: tuple[bool, ...] = ()
    looks: bool = False  # tasks may look at their token
    shields: int = 0
    spawn_fails: int = 0
    boot_fails: int = 0
    timeout_s: float | None = None
    deadline: float | None = None
    limited: int = 99  # only the first so many tasks have those limits
    pauses: int = 0  # how often a task may be paused
    waits: int = 0  # how often a second may pass though the machine has nothing due
    watchdog_s: float | None = None
    beats: int = 0  # how often a task may give a sign of life
    heavy: int = 0  # how often a task may be found to be over its memory
    declines: int = 0  # how often a worker may find that a task's token is set before it begins
    slow: bool = False  # time may also pass while a worker boots or leaves by itself
    policy: StopPolicy = StopPolicy(1, 1, 1)


class Proc:
    """A worker's process, and what is on its way from and to it."""

    __slots__ = (
        "alive", "asked", "channel", "cur", "halted", "hit", "inbox", "kill", "left", "life", "looked", "lost",
        "paused_s", "replies", "shield", "signal", "since", "term", "touched",
    )  # fmt: skip

    def __init__(self) -> None:
        self.life = "boot"  # boot | ready | failed | dead
        self.cur: int | None = None  # the task it has claimed and not answered
        self.inbox: tuple[int, ...] = ()
        self.channel: tuple[ev.Event, ...] = ()  # written by it, not yet read
        self.replies: tuple[Any, ...] = ()  # the shell's answers to recalls and probes, not yet given
        self.asked = self.hit = self.looked = self.term = self.kill = self.left = self.lost = False
        self.halted: float | None = None  # since when it stands still
        self.paused_s = self.alive = 0.0  # of its current task: in pauses that are over; its last sign of life
        self.touched = False  # an interrupt was sent to it
        self.signal: int | None = None  # the task that an undelivered interrupt names
        self.shield = self.since = 0.0

    def copy(self) -> "Proc":
        new = Proc.__new__(Proc)
        for name in Proc.__slots__:
            setattr(new, name, getattr(self, name))
        return new

    def key(self, now: float, rank: int, timed: bool) -> Move:
        return (
            rank, self.life, self.cur, self.inbox, tuple((type(e).__name__, e[1:]) for e in self.channel),
            tuple((type(e).__name__, e[1:]) for e in self.replies), self.asked, self.hit, self.looked, self.term,
            self.kill, self.left, self.lost, self.touched, self.signal, max(0.0, round(self.shield - now, 3)),
            max(-5.0, round(self.since - now, 3)) if timed and self.cur is not None else 0,
            None if self.halted is None else round(self.halted - now, 3), self.paused_s if timed else 0,
            max(-5.0, round(self.alive - now, 3)) if timed and self.cur is not None else 0,
        )  # fmt: skip
