"""The pool on asyncio and Trio: waiting for tasks, and for the pool, without holding up the loop.

Only the waits are here. What starts and stops a task is the executor's, whose `submit` and `stop` never
block. That something has ended is told by the reactor's thread, which only wakes the loop.

Invariants:
1. A wait that is cancelled ends only when the work has: it stops the work, waits shielded, and then lets
   the cancellation pass. The ladder bounds that wait, so no clock is needed here.
2. A cancellation is neither swallowed nor made up. A task that somebody else stopped raises TaskStopped,
   which neither loop takes for its own cancellation.
3. The reactor's thread never waits for the loop, and none is started but by `progress`, whose drawing may take its time.
"""

try:
    import anyio.lowlevel as _anyio  # noqa: F401
except ImportError as missing:
    raise ImportError("stoppable.aio needs anyio 4.11 or later: pip install 'stoppable[async]'") from missing

from stoppable.aio.calls import Bound
from stoppable.aio.ends import result
from stoppable.aio.groups import TaskGroup
from stoppable.aio.mapping import Results
from stoppable.aio.pool import Pool
from stoppable.aio.showing import ProgressShown, show_progress
from stoppable.aio.streaming import Stream

__all__ = ["Bound", "Pool", "ProgressShown", "Results", "Stream", "TaskGroup", "result", "show_progress"]
