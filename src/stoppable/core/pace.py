"""How many tasks to send a worker ahead of their turn: as many as it does in a moment.

Waiting for each answer before the next task is sent costs a round trip, which is many times what a
short task takes. Behind a long task nothing is gained, and what is sent must be recalled when another
worker idles. So the depth follows how long the last tasks took.
"""

_LINE_S = 0.002  # of work in one line: some round trips, and little to wait for who comes next
_LONG_S = 0.02  # of tasks this long, a round trip is less than a hundredth
_MOST = 64  # more gained nothing in measurements, and each may have to be recalled
_ALL = 1024  # in all lines: with 100 workers of 64 each, an answer waited for up to 1.2 s until all others' were read
_SOME = 4  # fewer than that keeps a worker of many waiting for the next
_LEAST_S = 1e-6  # what a worker's clock tells apart
_WEIGHT = 1 / 8  # of the newest duration in the mean


class Pace:
    """The mean duration of the last tasks, and the depth that follows from it, in a pool of *size* workers."""

    __slots__ = ("ahead", "mean_s", "most")

    def __init__(self, size: int) -> None:
        self.most = max(_SOME, min(_MOST, _ALL // size))
        self.mean_s = _LONG_S  # nothing is known: wait for the first answers
        self.ahead = 1

    def observe(self, took_s: float) -> int:
        """Note how long a task took; return the most tasks that a worker's line may now hold."""
        mean = self.mean_s = max(_LEAST_S, self.mean_s + (took_s - self.mean_s) * _WEIGHT)
        self.ahead = 1 if mean >= _LONG_S else min(self.most, 1 + int(_LINE_S / mean))
        return self.ahead
