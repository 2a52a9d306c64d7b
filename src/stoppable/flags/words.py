"""A word: four bytes of shared memory that processes set, wait for, and claim.

1. `is_set` is a method in C, bound to the memory itself: looking costs no Python frame and no system call.
2. A word keeps its memory mapped, for as long as the word or its `is_set` is held.
3. A word that is waited for is never claimed, and the other way round.
"""

import ctypes
from collections.abc import Callable
from typing import Any

from stoppable.flags import kernel


class _Cell(ctypes.c_uint32):
    __slots__ = ("keep",)

    keep: object


class Word:
    """The four bytes at *offset* of *buffer*.

    Args:
        buffer: shared and writable, such as an mmap.
        offset: in bytes, a multiple of 4.
        keep: any object, kept alive like the memory: as long as the word or its `is_set` is held.

    Attributes:
        is_set: call it to learn whether the word is not 0.
        address: where it is in this process.
    """

    __slots__ = ("_cell", "address", "is_set")

    is_set: Callable[[], bool]
    address: int

    def __init__(self, buffer: Any, offset: int, keep: object = None) -> None:
        cell = _Cell.from_buffer(buffer, offset)
        cell.keep = keep
        self._cell = cell
        self.address = ctypes.addressof(cell)
        # ctypes numbers are true when any of their bytes is not zero; mypy does not know that they say so.
        self.is_set = cell.__bool__  # type: ignore[attr-defined]

    @property
    def value(self) -> int:
        """The number in it. A claimed word's number is `value & 0x3FFFFFFF`, its winner's thread id."""
        return self._cell.value

    @value.setter
    def value(self, number: int) -> None:
        self._cell.value = number

    def set_and_wake(self) -> None:
        """Set it to 1 and wake all who wait for it."""
        kernel.set_and_wake(self)

    def clear(self) -> None:
        """Make it 0. Nobody is woken."""
        self._cell.value = 0

    def claim(self) -> bool:
        """Return True for exactly one caller in all processes, until the word is cleared."""
        return kernel.claim(self)

    def __repr__(self) -> str:
        return f"<Word at {self.address:#x}: {self.value}>"
