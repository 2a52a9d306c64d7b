"""For the tests of the flag: give back the memory that is kept for pickles still on their way."""

import gc
from collections.abc import Iterator

import pytest

from stoppable.flags import slab


@pytest.fixture(autouse=True)
def memory_is_given_back() -> Iterator[None]:
    yield
    gc.collect()
    slab.trim()
