"""What a stop tries, in what order, and how long it waits between tries."""

import math
from dataclasses import dataclass

from stoppable.rung import Rung


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """Seconds that each rung is given before the next one; kill is the last and has none.

    Args:
        ask: after the token is set. 0 skips the rung, `math.inf` stays on it.
        interrupt: after the interrupt.
        terminate: after SIGTERM.
        interruptible: False skips the interrupt rung.

    Raises:
        ValueError: a time is negative, NaN or not a number.
    """

    ask: float = 5.0
    interrupt: float = 2.0
    terminate: float = 2.0
    interruptible: bool = True

    def __post_init__(self) -> None:
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
