"""Values with big buffers: what arrives is the same, can be written, and is freed with its last view."""

import gc
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chores
from stoppable import ProcessPoolExecutor, parcel

BIG = parcel.BIG_BYTES


def arrive(value: Any, *, copy: bool = True) -> Any:
    """Send *value* through memory: what the reader would have received."""
    return parcel.unpack(bytearray(b"".join(parcel.pack(value, copy=copy))))


@given(st.lists(st.integers(0, 3 * BIG), max_size=6), st.booleans())
def test_arrays_of_all_sizes_arrive_as_they_were(sizes: list[int], copy: bool) -> None:
    value = [np.arange(size, dtype="u1") for size in sizes]
    back = arrive(value, copy=copy)
    assert all(np.array_equal(a, b) for a, b in zip(value, back, strict=True))
    assert all(each.flags.writeable for each in back)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 5)),
        np.asfortranarray(np.arange(1 << 16, dtype="f8").reshape(256, 256)),
        np.arange(1 << 17, dtype="f8")[::2],  # its bytes do not lie together
        np.array([{"a": 1}, None] * 50_000, dtype=object),
        np.arange(1 << 16, dtype="c16"),
    ],
    ids=["empty", "fortran", "strided", "objects", "complex"],
)
def test_arrays_of_all_kinds_arrive_as_they_were(array: Any) -> None:
    back = arrive({"x": (array, array)})
    assert back["x"][0] is back["x"][1]
    assert np.array_equal(array, back["x"][0])
    assert back["x"][0].dtype == array.dtype


def test_a_big_buffer_is_not_copied_into_the_pickle_nor_out_of_what_was_received() -> None:
    array = np.ones(BIG)
    parts = parcel.pack(array, copy=False)
    assert any(isinstance(part, memoryview) and part.nbytes == array.nbytes for part in parts)
    body = bytearray(b"".join(parts))
    back = parcel.unpack(body)
    at = body.index(array.tobytes()[:64])
    body[at : at + 8] = np.float64(7).tobytes()
    assert back[0] == 7
    assert back.ctypes.data % 16 == 0


def test_a_small_value_is_a_plain_pickle() -> None:
    assert parcel.pack([1, np.ones(3)], copy=True) == (pickle.dumps([1, np.ones(3)], 5),)


def test_the_memory_of_an_array_is_freed_with_its_last_view() -> None:
    tracemalloc.start()
    try:
        back = arrive(np.ones(1 << 20))
        view = back[5:6]
        del back
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] > 8 << 20
        del view
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"name": "n" * 37}, {"timeout": 100.0}])
def test_arrays_go_to_a_task_and_come_back(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    with ProcessPoolExecutor(2) as pool:
        for size in (10, BIG // 8, BIG // 8 + 1, 3_000_001):
            given = [rng.random(size), rng.random(size)]
            back = pool.options(**options).submit(chores.double_in_place, given).result(60)
            assert all(np.array_equal(2 * a, b) for a, b in zip(given, back, strict=True))
            back[0][0] = 1.0  # it is ours to write


@pytest.mark.slow
def test_what_a_task_gets_is_what_was_submitted_though_it_was_changed_since() -> None:
    with ProcessPoolExecutor(1) as pool:
        first = pool.submit(chores.nap_and_keep)  # so that the array waits here for a while
        array = np.ones(1 << 18)
        task = pool.submit(np.sum, array)
        array[:] = 0
        assert task.result(60) == 1 << 18
        first.result(60)


@pytest.mark.slow
def test_a_lambda_can_take_an_array() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(lambda a: a + 1, np.zeros(1 << 18)).result(60).sum() == 1 << 18
