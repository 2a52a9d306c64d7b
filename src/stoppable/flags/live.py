"""The flags that a forked child inherits: it must watch for the death of the parent that owns them.

A flag that came by a pickle is watched for from then on. An inherited one comes by nothing at all,
so after a fork the `is_set` of every flag alive is replaced by one that, at its first call, starts the
watch and puts the fast one back. A child that never looks starts no thread.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from stoppable.flags import owner, slab
from stoppable.flags.record import Record

# By id, since equal flags are different objects.
_live: dict[int, "weakref.ref[Any]"] = {}


def enter(flag: Any) -> None:
    """Know *flag*, which has `is_set` and `_records()`, until it is gone."""
    number = id(flag)

    def forget(ref: "weakref.ref[Any]") -> None:
        if _live.get(number) is ref:
            del _live[number]

    _live[number] = weakref.ref(flag, forget)


def _arm() -> None:
    for ref in list(_live.values()):
        flag = ref()
        if flag is not None:
            flag.is_set = _watch_first(ref, flag.is_set, flag._records())


def _watch_first(ref: "weakref.ref[Any]", fast: Callable[[], bool], records: Sequence[Record]) -> Callable[[], bool]:
    def is_set() -> bool:
        flag = ref()
        if flag is not None and flag.is_set is is_set:
            flag.is_set = fast
        for record in records:
            owner.watch(record.chunk)
        return fast()

    return is_set


slab.after_fork.append(_arm)
