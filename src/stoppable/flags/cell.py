"""What the kernel functions need to know of a word of memory. Types only."""

from typing import Protocol


class Cell(Protocol):
    """Four bytes of memory, aligned to four, read and written as one unsigned number."""

    @property
    def address(self) -> int: ...

    @property
    def value(self) -> int: ...

    @value.setter
    def value(self, number: int) -> None: ...
