"""What a stop tries, in what order, and how long it waits between tries.

`Climb` is one stop climbing one ladder. It knows nothing of pools, so back ends that have no pool
use it alone. It must never look at a clock: the time is an argument, in seconds of one clock.

1. A climb only goes up, by a row of `CLIMBS`; a rung is climbed at most once.
2. A later stop makes the schedule earlier or changes nothing.
3. A rung climbed late moves all later ones by as much, so each rung is given its grace.
4. A shield holds back interrupt and terminate, once each, until it ends or its limit does; it never
   holds back kill.
"""

import math

from stoppable.frozen import Frozen
from stoppable.reason import StopKind
from stoppable.rung import Rung


class StopPolicy(Frozen):
    """Seconds that each rung is given before the next one; kill is the last and has none.

    Args:
        ask: after the token is set. 0 skips the rung, `math.inf` stays on it.
        interrupt: after the interrupt.
        terminate: after SIGTERM.
        interruptible: False skips the interrupt rung.

    Raises:
        ValueError: a time is negative, NaN or not a number.
    """

    __slots__ = ("ask", "interrupt", "terminate", "interruptible")
    ask: float
    interrupt: float
    terminate: float
    interruptible: bool

    def __init__(
        self, ask: float = 5.0, interrupt: float = 2.0, terminate: float = 2.0, interruptible: bool = True
    ) -> None:
        super().__init__(ask, interrupt, terminate, interruptible)
        for name in ("ask", "interrupt", "terminate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or value < 0:
                raise ValueError(f"StopPolicy.{name} must be seconds >= 0 (math.inf to stay on it), was {value!r}")

    def grace_s(self, rung: Rung) -> float:
        """Return the seconds *rung* is given; 0 says that the rung is skipped."""
        if rung is Rung.ASK:
            return self.ask
        if rung is Rung.INTERRUPT:
            return self.interrupt if self.interruptible else 0.0
        if rung is Rung.TERMINATE:
            return self.terminate
        return math.inf

    def within(self, limit_s: float) -> "StopPolicy":
        """Return this policy if its ladder takes at most *limit_s* seconds, else the same with shorter graces.

        All are shortened by the same share; an endless one counts as *limit_s*, so that the others keep
        something. Shields are not counted: what they hold back comes later.

        Raises:
            ValueError: *limit_s* is negative or NaN.
        """
        if not limit_s >= 0:
            raise ValueError(f"limit_s must be seconds >= 0, was {limit_s!r}")
        if sum(map(self.grace_s, (Rung.ASK, Rung.INTERRUPT, Rung.TERMINATE))) <= limit_s:
            return self
        ask, interrupt, terminate = (
            limit_s if math.isinf(grace_s) else grace_s for grace_s in (self.ask, self.interrupt, self.terminate)
        )
        total_s = ask + terminate + (interrupt if self.interruptible else 0.0)
        share = limit_s / total_s if limit_s else 0.0
        return StopPolicy(ask * share, interrupt * share, terminate * share, self.interruptible)


CLIMBS: dict[Rung | None, tuple[Rung, ...]] = {
    None: (Rung.ASK, Rung.INTERRUPT, Rung.TERMINATE, Rung.KILL),
    Rung.ASK: (Rung.INTERRUPT, Rung.TERMINATE, Rung.KILL),
    Rung.INTERRUPT: (Rung.TERMINATE, Rung.KILL),
    Rung.TERMINATE: (Rung.KILL,),
    Rung.KILL: (),
}
"""From the last rung climbed (None: none yet), the rungs that may be climbed next."""


class Climb:
    """One stop on its way up a ladder.

    Args:
        policy: the grace of each rung.
        at: the mildest rung that may be used.
        now: when the stop was asked for, in seconds.
        kind: why; kept for ever, whatever later stops say.
    """

    __slots__ = ("at_s", "kind", "patience", "rung")

    def __init__(self, policy: StopPolicy, at: Rung, now: float, kind: StopKind = StopKind.STOP) -> None:
        self.kind = kind
        self.rung: Rung | None = None  # the last one climbed
        self.at_s = _schedule(policy, at, now)  # by rung: when it is to be climbed; inf: never
        self.patience: tuple[Rung, float] | None = None  # a rung held back by a shield, and until when

    def hasten(self, at: Rung, policy: StopPolicy, now: float) -> None:
        """Take in a later stop: each rung is climbed at the earlier of the two times."""
        wanted = _schedule(policy, at, now)
        for rung in CLIMBS[self.rung]:
            self.at_s[rung] = min(self.at_s[rung], wanted[rung])
        if self.patience is not None and wanted[Rung.KILL] <= now:
            # The rung that a shield holds back is the earlier one, and would hold back the kill too.
            self.at_s[: Rung.KILL] = [math.inf] * Rung.KILL
            self.patience = None

    @property
    def due(self) -> float:
        """When to call `climb` next; inf when there is nothing more to climb."""
        rung = self.next()
        if rung is None:
            return math.inf
        if self.patience is not None and self.patience[0] is rung:
            return max(self.patience[1], self.at_s[rung])
        return self.at_s[rung]

    def next(self) -> Rung | None:
        """Return the rung that is to be climbed next, or None if this is as far as it goes.

        A rung that a harsher one has overtaken (or meets) in time is left out.
        """
        return self._soonest(CLIMBS[self.rung])

    def climb(self, now: float, looked: bool, shield_until: float) -> Rung | None:
        """Climb the next rung if it is due, and return it; None if not, and then `due` says when to come again.

        A rung that a shield holds back is due as soon as the shield has ended, so come early if that is known.

        Args:
            now: seconds.
            looked: the task has looked at its token since it started.
            shield_until: when the limit of the task's shield ends; 0 if there is none.
        """
        if self.patience is not None and shield_until <= now:
            self.patience = None  # the shield has ended before its limit: what it held back is due
        rung = self.next()
        if rung is None or self.at_s[rung] > now:
            return None
        if rung is Rung.ASK and not looked:
            # It cannot hear an ask. A policy that never goes past ask is obeyed all the same.
            rung = self._soonest(CLIMBS[Rung.ASK]) or rung
        if self._shielded(rung, now, shield_until):
            return None
        if rung not in CLIMBS[self.rung]:
            raise ValueError(f"no climb from {self.rung} to {rung}")
        late = now - self.at_s[rung]
        for harsher in CLIMBS[rung]:
            self.at_s[harsher] += late
        self.rung, self.patience = rung, None
        return rung

    def _soonest(self, rungs: tuple[Rung, ...]) -> Rung | None:
        at_s = self.at_s
        best = min(reversed(rungs), key=at_s.__getitem__, default=None)  # of those that meet, the harshest
        return None if best is None or at_s[best] == math.inf else best

    def _shielded(self, rung: Rung, now: float, shield_until: float) -> bool:
        if rung not in (Rung.INTERRUPT, Rung.TERMINATE) or shield_until <= now:
            return False
        if self.patience is not None and self.patience[0] is rung:
            # It waits for the limit of the first only: shields one after the other must not add up.
            return now < self.patience[1]
        if self.at_s[rung] > now:  # a deaf task's first rung: what it skipped is given up, so that `next` is this one
            early = self.at_s[rung] - now
            for later in CLIMBS[Rung.ASK]:
                self.at_s[later] -= early
            self.at_s[Rung.ASK] = math.inf
        self.patience = (rung, shield_until)
        return True


def _schedule(policy: StopPolicy, at: Rung, now: float) -> list[float]:
    times = [math.inf] * (Rung.KILL + 1)
    for rung in Rung:
        grace_s = policy.grace_s(rung)
        if rung < at or grace_s == 0:
            continue
        times[rung] = now
        now += grace_s
    return times
