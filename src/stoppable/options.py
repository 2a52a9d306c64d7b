"""What can be said of a task besides its call: `pool.options(...)`, checked once."""

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from stoppable.core.ladder import StopPolicy
from stoppable.frozen import Frozen

if TYPE_CHECKING:
    from stoppable.flags.token import StopToken

# Of a task: the seconds that it may run, its deadline, the seconds without a sign of life, the bytes.
Limits = tuple[float | None, float | None, float | None, int | None]


class SubmitOptions(Frozen):
    """Options of a task; None means the pool's own.

    Attributes:
        timeout: seconds from the start of the task's execution, which begins with reading its function and
            arguments; `math.inf`: none, whatever the pool's is.
        deadline: `time.monotonic()` seconds, the queue included.
        policy: how a stop climbs.
        token: a token whose stop stops the task too; the task's own token is its child.
        watchdog: seconds that may pass, while it runs, without a call of any in-task function (`check`, `beat`);
            then its stack is logged and it is interrupted. `math.inf`: none.
        memory: the most that its processes may have (its worker, and all that it has started): bytes, or a text such
            as "512MB" or "2GiB"; then it is killed. `math.inf`: no limit.
        name: shown in errors, logs and tables.
        on_stopped: called with the future, in the parent, once a stop has ended the task.
        on_done: called with the future, in the parent, once the task has ended in whatever way.
        context: data that goes with the task: `current_context()` in it, and `context` of its log records.
        buffersize: of `stream`: at most so many items are yielded and not taken; 16, if nobody says.
        scope: not for users: a token whose stop reaches the task, and whose holder stops its future.

    Raises:
        ValueError: a time is negative or NaN; *buffersize* is below 1.
        TypeError: a value is of the wrong type.
    """

    __slots__ = (
        "timeout",
        "deadline",
        "policy",
        "token",
        "name",
        "on_stopped",
        "watchdog",
        "memory",
        "on_done",
        "context",
        "buffersize",
        "scope",
    )
    timeout: float | None
    deadline: float | None
    policy: StopPolicy | None
    token: "StopToken | None"
    name: str | None
    on_stopped: Callable[[Any], object] | None
    watchdog: float | None
    memory: float | str | None
    on_done: Callable[[Any], object] | None
    context: Mapping[str, Any] | None
    buffersize: int | None
    scope: "StopToken | None"

    def __init__(
        self,
        timeout: float | None = None,
        deadline: float | None = None,
        policy: StopPolicy | None = None,
        token: "StopToken | None" = None,
        name: str | None = None,
        on_stopped: Callable[[Any], object] | None = None,
        watchdog: float | None = None,
        memory: float | str | None = None,
        on_done: Callable[[Any], object] | None = None,
        context: Mapping[str, Any] | None = None,
        buffersize: int | None = None,
        scope: "StopToken | None" = None,
    ) -> None:
        super().__init__(
            timeout, deadline, policy, token, name, on_stopped, watchdog, memory, on_done, context, buffersize, scope
        )
        self._check()

    def _check(self) -> None:
        seconds("timeout", self.timeout)
        positive_seconds("watchdog", self.watchdog)
        size_bytes("memory", self.memory)
        if self.deadline is not None:
            if isinstance(self.deadline, bool) or not isinstance(self.deadline, (int, float)):
                raise TypeError(f"deadline must be time.monotonic() seconds, was {self.deadline!r}")
            if math.isnan(self.deadline):
                raise ValueError("deadline must be time.monotonic() seconds, was NaN")
            if math.isinf(self.deadline) and self.deadline > 0:
                object.__setattr__(self, "deadline", None)
        if self.policy is not None and not isinstance(self.policy, StopPolicy):
            raise TypeError(f"policy must be a StopPolicy, was {self.policy!r}")
        if self.token is not None:
            from stoppable.flags.token import StopToken

            if not isinstance(self.token, StopToken):
                raise TypeError(f"token must be a StopToken, was {self.token!r}")
        positive_int("buffersize", self.buffersize)
        if self.name is not None and not isinstance(self.name, str):
            raise TypeError(f"name must be a string or None, was {self.name!r}")
        if self.context is not None:
            if not isinstance(self.context, Mapping) or not all(isinstance(key, str) for key in self.context):
                raise TypeError(f"context must be a mapping with strings as its keys, was {self.context!r}")
            object.__setattr__(self, "context", dict(self.context))
        for name in ("on_stopped", "on_done"):
            if (call := getattr(self, name)) is not None and not callable(call):
                raise TypeError(f"{name} must be callable, was {call!r}")

    def but(self, other: "SubmitOptions") -> "SubmitOptions":
        """Return these options, but those of *other* where it has any."""
        both = zip(self._values(), other._values(), strict=True)
        return SubmitOptions(*(own if given is None else given for own, given in both))

    def limits(self, others: Limits) -> Limits:
        """Return the limits of a task with these options; of *others*, the pool's, those that are not given here."""
        timeout, _, watchdog, memory = others
        return (
            timeout if self.timeout is None else seconds("timeout", self.timeout),
            self.deadline,
            watchdog if self.watchdog is None else positive_seconds("watchdog", self.watchdog),
            memory if self.memory is None else size_bytes("memory", self.memory),
        )


_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kMGT]?B|[KMGT]iB)", re.ASCII)
_UNITS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
}


def size_bytes(name: str, value: float | str | None) -> int | None:
    """Return *value*, an integer or a text with its unit ("512MB" = 512 000 000, "2GiB"), as bytes > 0.

    None for None and for infinity.

    Raises:
        ValueError: it is not above 0, or a text that is no size.
        TypeError: it is neither an integer nor a text.
    """
    if value is None or value == math.inf:
        return None
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match is None:
            raise ValueError(f'{name} must be bytes, or a text such as "512MB" or "2GiB", was {value!r}')
        size = int(float(match[1]) * _UNITS[match[2].removesuffix("B")])
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        raise TypeError(f'{name} must be an integer of bytes, or a text such as "512MB" or "2GiB", was {value!r}')
    if size <= 0:
        raise ValueError(f"{name} must be bytes > 0, was {value!r}")
    return size


def positive_int(name: str, value: int | None) -> int | None:
    """Return *value*, an integer >= 1 or None.

    Raises:
        ValueError: it is below 1.
        TypeError: it is no integer.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{name} must be an integer or None, was {value!r}")
    if value is not None and value < 1:
        raise ValueError(f"{name} must be >= 1 or None, was {value!r}")
    return value


def positive_seconds(name: str, value: float | None) -> float | None:
    """Return *value* as `seconds` does, but not 0: nobody can look that often.

    Raises:
        ValueError: it is zero, negative or NaN.
        TypeError: it is no number.
    """
    if value == 0 and not isinstance(value, bool):
        raise ValueError(f"{name} must be seconds > 0, was {value!r}")
    return seconds(name, value)


def seconds(name: str, value: float | None) -> float | None:
    """Return *value* as seconds >= 0; None for None and for infinity.

    Raises:
        ValueError: it is negative or NaN.
        TypeError: it is no number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, was {value!r}")
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} must be seconds >= 0, was {value!r}")
    return None if math.isinf(value) else float(value)


def worker_count(given: int | None) -> int:
    """Return how many workers a pool may have; None: the CPUs that this process may use.

    Raises:
        ValueError: it is below 1.
        TypeError: it is no integer.
    """
    if given is None:
        return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(f"max_workers must be an integer or None, was {given!r}")
    if given < 1:
        raise ValueError("max_workers must be greater than 0")
    return given


def task_limit(given: int | None) -> int | None:
    """Return after how many tasks a worker is replaced; None: never.

    Raises:
        ValueError: it is below 1.
        TypeError: it is no integer.
    """
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if given < 1:
        raise ValueError("max_tasks_per_child must be >= 1")
    return given


def output_style(given: Literal["lines", "named"] | None) -> Literal["lines", "named"] | None:
    """Return how a pool shows what its tasks print.

    Raises:
        ValueError: it is none of these.
    """
    if given not in (None, "lines", "named"):
        raise ValueError(f'output must be "lines", "named" or None, was {given!r}')
    return given
