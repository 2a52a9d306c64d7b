"""Functions that travel by their name: what comes of a call is what pickling it whole would give."""

import math
import operator
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chores
from stoppable import ProcessPoolExecutor, parcel
from stoppable.callee import Packer, Unpacker


class Adder:
    """Something to call that is no function."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, other: int) -> int:
        return self.number + other

    def add(self, other: int) -> int:
        return self.number + other

    @staticmethod
    def twice(number: int) -> int:
        return 2 * number


def there_and_back(function: Callable[..., Any], *args: Any, by_value: bool = False, **kwargs: Any) -> Any:
    packed = Packer(by_value=by_value).pack(function, args, kwargs)
    function, args, kwargs = Unpacker().unpack(bytearray(b"".join(packed)))
    return function(*args, **kwargs)


@pytest.mark.parametrize(
    ("function", "args", "value"),
    [
        (chores.double, (2,), 4),
        (math.hypot, (3, 4), 5),
        (operator.add, (3, 4), 7),
        (max, (3, 4), 4),
        (Adder(3), (4,), 7),
        (Adder(3).add, (4,), 7),
        (Adder.twice, (4,), 8),
        (partial(operator.add, 3), (4,), 7),
        (dict, ([(1, 2)],), {1: 2}),
        ([5, 6].index, (6,), 1),
        (lambda number: number + 1, (1,), 2),
    ],
)
@pytest.mark.parametrize("by_value", [False, True])
def test_whatever_is_called_is_called(
    function: Callable[..., Any], args: tuple[Any, ...], value: object, by_value: bool
) -> None:
    assert there_and_back(function, *args, by_value=by_value) == value


def test_a_function_is_pickled_once_and_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packer, unpacker = Packer(by_value=False), Unpacker()
    first, second = (b"".join(packer.pack(chores.double, (number,), {})) for number in (1, 2))
    assert unpacker.unpack(first)[0] is chores.double
    monkeypatch.setattr("pickle.loads", lambda *raw: pytest.fail("it was looked up again"))
    monkeypatch.setattr(parcel, "unpack", lambda raw: ((2,), {}))
    assert unpacker.unpack(second) == (chores.double, (2,), {})


def test_arrays_beside_the_arguments_lie_where_arrays_like_to() -> None:
    parts = Packer(by_value=False).pack(np.sum, (np.ones(100_000),), {})
    raw = np.zeros(sum(map(len, parts)) + 64, np.uint8)
    start = -raw.ctypes.data % 64
    whole = memoryview(raw)[start : start + sum(map(len, parts))]
    whole[:] = b"".join(parts)
    _, (array,), _ = Unpacker().unpack(whole)
    assert array.ctypes.data % 64 == 0
    assert float(array.sum()) == 100_000


def test_a_name_that_was_given_another_function_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the worker, a name means what it means when the call is read; here, what is sent is the function given."""
    packer, unpacker = Packer(by_value=False), Unpacker()
    old = chores.double
    packed = b"".join(packer.pack(old, (4,), {}))
    assert unpacker.unpack(packed)[0] is old
    monkeypatch.setattr(chores, "double", math.sqrt)
    assert unpacker.unpack(packed)[0] is math.sqrt
    function, args, kwargs = unpacker.unpack(b"".join(packer.pack(old, (4,), {})))
    assert (function(*args, **kwargs), function is math.sqrt) == (8, False)
    monkeypatch.delattr(chores, "double")
    with pytest.raises(AttributeError, match="double"):
        unpacker.unpack(packed)


def test_functions_that_are_made_for_ever_are_not_kept_for_ever() -> None:
    packer, unpacker = Packer(by_value=False), Unpacker()
    module = sys.modules["made"] = ModuleType("made")
    try:
        for number in range(600):
            exec(f"def f{number}(): return {number}", module.__dict__)
            function, _, _ = unpacker.unpack(b"".join(packer.pack(getattr(module, f"f{number}"), (), {})))
            assert function() == number
    finally:
        del sys.modules["made"]
    assert len(packer._known) < 600 > len(unpacker._known)


def test_an_error_of_an_argument_names_it_and_not_the_function() -> None:
    """Behaviour 108."""
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(chores.double, 2).result() == 4
        with pytest.raises(TypeError, match="pickle"):
            pool.submit(chores.double, (each for each in "x")).result()
        assert pool.submit(chores.double, 3).result() == 6
