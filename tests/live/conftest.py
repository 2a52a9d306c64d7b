"""The loops that the tests of `stoppable.aio` run in."""

import anyio
import pytest

from aio_pools import Run


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine in each loop."""
    return lambda main: anyio.run(main, backend=request.param)
