"""Gathering the tokens that a pickle contains, so that whoever sends it can keep them alive."""

import threading


class Gathering(threading.local):
    """What this thread pickles.

    Attributes:
        found: every `StopToken` and `Event` that it pickles is added here, each as often as it is pickled; None: nobody
            asks. Who puts a list here puts back what was there before.
    """

    found: list[object] | None = None


# Not a context manager: it is in the path of every submit, and would cost half as much as the pickling.
gathering = Gathering()


def pickled(flag: object) -> None:
    """Note that *flag* is being pickled."""
    found = gathering.found
    if found is not None:
        found.append(flag)
