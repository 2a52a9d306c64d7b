"""A call as parts. A function that is found by its name is pickled once, and looked up once in each worker.

To pickle such a function costs more than all the rest of a short call, and to find it again in the worker does too.
Nothing else comes of it: who gives a name another function, there or here, is heeded at the next call.

As bytes: 1, the size of the function's pickle, that pickle, zeros up to a multiple of 64, and (args, kwargs) as
`parcel` packs them; or, if the function is to be pickled with the rest, (function, args, kwargs) as `parcel` does.
"""

import pickle
import struct
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

from stoppable import parcel
from stoppable.parcel import Part

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
_NAMED = 1  # no pickle begins with it, nor does what `parcel` puts before one
_HEAD = struct.Struct("<BxH")
_MOST = 256  # functions remembered: who makes new ones for ever is not to fill the memory with them
_PLAIN = (FunctionType, BuiltinFunctionType)  # what nobody can give another way to be pickled


def _home(function: Any) -> dict[str, Any] | None:
    """Return the module's names among which *function* is found by its own, or None."""
    if type(function) not in _PLAIN:
        return None
    home = getattr(sys.modules.get(function.__module__), "__dict__", None)
    return home if home is not None and home.get(function.__qualname__) is function else None


class Packer:
    """Packs calls.

    Args:
        by_value: pickle what `__main__` defines by value, since the reader cannot import it.
    """

    def __init__(self, *, by_value: bool) -> None:
        self._by_value = by_value
        self._known: dict[Any, tuple[dict[str, Any], bytes]] = {}

    def pack(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Part, ...]:
        """Return the call as parts.

        Raises:
            Exception: it does not pickle.
        """
        if type(function) in _PLAIN:
            home, head = self._known.get(function) or self._learn(function)
            if head and home.get(function.__qualname__) is function:
                parts = parcel.pack((args, kwargs), by_value=self._by_value, copy=True)
                return (head + parts[0],) if len(parts) == 1 else (head + parts[0], *parts[1:])
        return parcel.pack((function, args, kwargs), by_value=self._by_value, copy=True)

    def _learn(self, function: Any) -> tuple[dict[str, Any], bytes]:
        """Return where *function* is found, and what stands for it; no bytes if it must be pickled each time."""
        home = _home(function)
        if home is None or (self._by_value and function.__module__ == "__main__"):
            return {}, b""
        raw = pickle.dumps(function, 5)
        head = _HEAD.pack(_NAMED, len(raw)) + raw
        head += parcel.padding(len(head))
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[function] = home, head
        return home, head


class Unpacker:
    """Unpacks calls, in a worker."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[dict[str, Any], str]] = {}

    def unpack(self, body: "bytes | bytearray | memoryview") -> Call:
        """Return the call.

        Raises:
            Exception: it does not unpickle.
        """
        if body[0] != _NAMED:
            call: Call = parcel.unpack(body)
            return call
        view = memoryview(body)
        start, end = _HEAD.size, _HEAD.size + _HEAD.unpack_from(view)[1]
        raw = bytes(view[start:end])
        home, name = self._known.get(raw) or ({}, "")
        function = home.get(name)
        if function is None:
            function = self._learn(raw)
        args, kwargs = parcel.unpack(view[end + -end % parcel.ALIGN :])
        return function, args, kwargs

    def _learn(self, raw: bytes) -> Any:
        function = pickle.loads(raw)
        home = _home(function)
        if home is not None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[raw] = home, function.__qualname__
        return function
