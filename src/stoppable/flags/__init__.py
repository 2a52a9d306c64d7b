"""The process-safe flag: `Event` and `StopToken`. Knows nothing of pools, and needs none.

Importing this package loads nothing; the first use of a name does (ctypes, mmap).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stoppable.flags.callbacks import Registration
    from stoppable.flags.event import Event
    from stoppable.flags.token import StopToken

__all__ = ["Event", "Registration", "StopToken"]

_HOMES = {"Event": "event", "Registration": "callbacks", "StopToken": "token"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"stoppable.flags.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
