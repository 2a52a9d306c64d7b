"""A process pool whose running tasks can be stopped, and a process-safe flag that costs nothing.

Everything is loaded on first use, so that a worker, or a process that only needs the flag, stays light.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stoppable.core.ladder import StopPolicy as StopPolicy
    from stoppable.died import PoolBroken as PoolBroken
    from stoppable.died import RemoteTraceback as RemoteTraceback
    from stoppable.died import WorkerDied as WorkerDied
    from stoppable.died import WorkerStartError as WorkerStartError
    from stoppable.errors import MemoryExceeded as MemoryExceeded
    from stoppable.errors import TaskStopped as TaskStopped
    from stoppable.errors import TaskTimeout as TaskTimeout
    from stoppable.executor import ProcessPoolExecutor as ProcessPoolExecutor
    from stoppable.flags.callbacks import Registration as Registration
    from stoppable.flags.event import Event as Event
    from stoppable.flags.token import StopToken as StopToken
    from stoppable.future import Future as Future
    from stoppable.groups import Outcome as Outcome
    from stoppable.groups import TaskGroup as TaskGroup
    from stoppable.handlers import SignalHandlers as SignalHandlers
    from stoppable.handlers import install_signal_handlers as install_signal_handlers
    from stoppable.reason import StopKind as StopKind
    from stoppable.reason import StopReason as StopReason
    from stoppable.reason import StopSource as StopSource
    from stoppable.requested import StopInterrupt as StopInterrupt
    from stoppable.requested import StopRequested as StopRequested
    from stoppable.rung import Rung as Rung
    from stoppable.shell.tally import Statistics as Statistics
    from stoppable.shell.task import Report as Report
    from stoppable.showing import show_progress as show_progress
    from stoppable.streaming import Stream as Stream
    from stoppable.terminated import Terminated as Terminated
    from stoppable.worker.blocks import blocks as blocks
    from stoppable.worker.context import current_context as current_context
    from stoppable.worker.intask import beat as beat
    from stoppable.worker.intask import check as check
    from stoppable.worker.intask import current_token as current_token
    from stoppable.worker.intask import progress as progress
    from stoppable.worker.intask import publish as publish
    from stoppable.worker.intask import shield as shield
    from stoppable.worker.intask import sleep as sleep
    from stoppable.worker.scopes import time_limit as time_limit
    from stoppable.worker.track import track as track

__version__ = "0.1.0"

_HOMES = {
    "Event": "flags.event",
    "Future": "future",
    "MemoryExceeded": "errors",
    "Outcome": "groups",
    "PoolBroken": "died",
    "ProcessPoolExecutor": "executor",
    "Registration": "flags.callbacks",
    "RemoteTraceback": "died",
    "Report": "shell.task",
    "Rung": "rung",
    "SignalHandlers": "handlers",
    "Statistics": "shell.tally",
    "StopInterrupt": "requested",
    "StopKind": "reason",
    "StopPolicy": "core.ladder",
    "StopReason": "reason",
    "StopRequested": "requested",
    "StopSource": "reason",
    "StopToken": "flags.token",
    "Stream": "streaming",
    "TaskGroup": "groups",
    "TaskStopped": "errors",
    "TaskTimeout": "errors",
    "Terminated": "terminated",
    "WorkerDied": "died",
    "WorkerStartError": "died",
    "beat": "worker.intask",
    "blocks": "worker.blocks",
    "check": "worker.intask",
    "current_context": "worker.context",
    "current_token": "worker.intask",
    "install_signal_handlers": "handlers",
    "progress": "worker.intask",
    "publish": "worker.intask",
    "shield": "worker.intask",
    "show_progress": "showing",
    "sleep": "worker.intask",
    "time_limit": "worker.scopes",
    "track": "worker.track",
}

__all__ = [  # noqa: PLE0604  # the names are those of `_HOMES`
    *_HOMES,
    "__version__",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'stoppable' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"stoppable.{home}"), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
