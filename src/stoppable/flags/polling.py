"""The bounded poll, for where the kernel cannot wait for us: the only one in this package."""

import math
import time
from collections.abc import Sequence

from stoppable.flags.cell import Cell


def wait(cells: Sequence[Cell], until: float | None, *, longest_s: float = 0.01) -> bool:
    """Look at *cells* every 1 ms at first and every *longest_s* later; see `kernel.wait`.

    A cell that is set and cleared again between two looks is missed.
    """
    end = math.inf if until is None else until
    pause_s = 0.001
    while True:
        for cell in cells:
            if cell.value:
                return True
        left_s = end - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.25, longest_s)
