"""For the tests of the flag: give back the memory that is kept for pickles still on their way."""

import gc
import os
from collections.abc import Iterator

import pytest

from stoppable.flags import backing, kernel, private_dir, slab


@pytest.fixture(autouse=True, scope="session")
def the_folder_of_the_portable_build() -> None:
    """Make what stays on purpose before anybody counts."""
    if kernel.PORTABLE:
        os.close(os.open(private_dir.path("lock"), os.O_CREAT | os.O_RDWR, 0o600))


@pytest.fixture(autouse=True)
def memory_is_given_back() -> Iterator[None]:
    yield
    gc.collect()
    slab.trim()
    if kernel.PORTABLE:
        # Files of processes that were killed go when the next program starts.
        backing.sweep()
