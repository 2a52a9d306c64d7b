"""What is due when: a heap that forgets lazily, so that changing one due costs no search.

1. An entry counts only while its owner's `due` says the same time; all others are stale.
2. At most about half of the entries are stale: what has ended is not kept in memory for long.
"""

import heapq
import math

from stoppable.core.records import Task, Worker

_FEW = 64  # stale entries that are not worth a clean-up


class Dues:
    """The times at which tasks and workers are to be looked at."""

    __slots__ = ("_next", "_stale", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Task | Worker]] = []
        self._next = 0  # breaks ties: first set, first due; and records are never compared
        self._stale = 0

    def __len__(self) -> int:
        return len(self.heap)

    def set(self, owner: Task | Worker, due: float) -> None:
        """Let *owner* be due at *due* and at no other time; inf for never."""
        if owner.due is not None:
            if owner.due == due:
                return
            self._stale += 1
        if due == math.inf:
            owner.due = None
        else:
            owner.due = due
            self._next += 1
            heapq.heappush(self.heap, (due, self._next, owner))
        if self._stale > _FEW and self._stale * 2 > len(self.heap):
            self._clean()

    def first(self) -> float | None:
        """Return the earliest due, or None."""
        heap = self.heap
        while heap:
            due, _, owner = heap[0]
            if owner.due == due:
                return due
            heapq.heappop(heap)
            self._stale -= 1
        return None

    def pop(self, now: float) -> Task | Worker | None:
        """Return one owner that is due at *now*, which then has no due; None if nothing is."""
        due = self.first()
        if due is None or due > now:
            return None
        _, _, owner = heapq.heappop(self.heap)
        owner.due = None
        return owner

    def _clean(self) -> None:
        seen: set[int] = set()
        kept = []
        for due, count, owner in sorted(self.heap, key=lambda entry: entry[:2]):
            if owner.due == due and id(owner) not in seen:
                seen.add(id(owner))
                kept.append((due, count, owner))
        self.heap, self._stale = kept, 0
