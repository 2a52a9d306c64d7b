"""What a launcher tells of its workers. Data only."""

from typing import NamedTuple


class Born(NamedTuple):
    worker: int
    pid: int


class Gone(NamedTuple):
    """The worker was reaped; `code` is negative for a signal, None if it could not be learnt.

    killed: somebody else ended it, which says little about the next one.
    why: what is to be said if no other can be started, or "".
    """

    worker: int
    code: int | None
    killed: bool = False
    why: str = ""


class NotBorn(NamedTuple):
    worker: int
    error: OSError


class Lost(NamedTuple):
    """The warden has died; its control socket is about to be closed."""


News = Born | Gone | NotBorn | Lost
