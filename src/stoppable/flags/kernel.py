"""What the flag asks of the operating system; chosen once, when this module is imported.

`linux` sleeps in the kernel. `portable` (macOS, Windows, other processors, an old kernel) polls for
a bounded 1 to 10 ms. Both have the same functions:

- `claim(cell)`: True for exactly one caller in all processes; the cell is never 0 afterwards.
- `set_and_wake(cell)`: make the cell 1 and wake everybody who waits for it.
- `wait(cells, until)`: sleep until a cell is set, or until *until* seconds of the monotonic clock.
- `after_fork()`: what a forked child has to forget.
- `fence()`: no load or store of any process that called `join_fence()` moves across it.

The environment variable STOPPABLE_PORTABLE=1 takes `portable` on Linux too. All processes that
share a flag must make the same choice, so set it before the first of them starts.
"""

import os
import sys

from stoppable.flags import linux

PORTABLE = os.environ.get("STOPPABLE_PORTABLE", "") not in ("", "0") or not linux.works()

if sys.platform == "linux" and not PORTABLE:
    from stoppable.flags.linux import after_fork, claim, fence, join_fence, set_and_wake, wait
else:
    from stoppable.flags.portable import after_fork, claim, fence, join_fence, set_and_wake, wait

__all__ = ["PORTABLE", "after_fork", "claim", "fence", "join_fence", "set_and_wake", "wait"]
