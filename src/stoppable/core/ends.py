"""How a task can end, for the machine."""

from enum import Enum


class End(Enum):
    """How a task ended: exactly one of these, exactly once, for every task."""

    ANSWERED = "answered"  # it returned or raised; which of the two is no matter of the machine
    STOPPED = "stopped"  # it was asked to stop and ended for that, or its worker was ended for it
    DIED = "died"  # its worker died, and nobody had climbed to a rung that ends workers
    BROKEN = "broken"  # the pool can start no workers, so it never ran
