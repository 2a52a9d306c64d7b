"""The rungs of the ladder: one way each to end a running task, mildest first.

This file only names them. What a rung does is in `shell/warden.py`; how long one waits for the
next is a `StopPolicy` (`core/ladder.py`).
"""

from enum import IntEnum


class Rung(IntEnum):
    """One way to end a running task; a later rung breaks more.

    `str(rung)` is its lower-case name, so it reads well in logs and messages.
    """

    ASK = 1
    INTERRUPT = 2
    TERMINATE = 3
    KILL = 4

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, value: "Rung | str") -> "Rung":
        """Return the rung that *value* (a `Rung` or its name) names.

        Raises:
            ValueError: *value* names no rung.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            try:
                return cls[value.upper()]
            except KeyError:
                pass
        raise ValueError(f"no such rung: {value!r}; use ask, interrupt, terminate or kill")
