"""Pipes and sockets as arguments and results: whoever unpickles one has a copy of it, as in the standard pool."""

import multiprocessing
import socket
from collections.abc import Iterator
from multiprocessing import resource_sharer
from multiprocessing.connection import Connection

import pytest

import shared
from stoppable import ProcessPoolExecutor

METHODS = ("none", "fork", "spawn", "forkserver")


@pytest.fixture(autouse=True)
def _no_sharer_stays() -> Iterator[None]:
    """The thread from which multiprocessing hands out descriptors stays until it is told to go."""
    yield
    resource_sharer.stop(20)


@pytest.fixture(params=METHODS)
def pool(request: pytest.FixtureRequest) -> Iterator[ProcessPoolExecutor]:
    context = None if request.param == "none" else multiprocessing.get_context(request.param)
    with ProcessPoolExecutor(1, context) as pool:
        yield pool


@pytest.mark.slow
def test_a_task_can_be_given_the_end_of_a_pipe(pool: ProcessPoolExecutor) -> None:
    """Behaviour 153. Plainly pickled it was the number of a descriptor, which is something else in the worker."""
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        for n in range(3):
            pool.submit(shared.send, theirs, n).result(60)
            assert ours.poll(60)
            assert ours.recv() == n


@pytest.mark.slow
def test_a_task_can_be_given_a_socket(pool: ProcessPoolExecutor) -> None:
    """Behaviour 153."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pool.submit(shared.send_all, theirs, b"hello").result(60)
        assert ours.recv(10) == b"hello"


@pytest.mark.slow
def test_what_only_cloudpickle_can_send_may_hold_a_pipe(pool: ProcessPoolExecutor) -> None:
    """Behaviour 153."""
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        pool.submit(lambda: theirs.send(1)).result(60)
        assert ours.poll(60)


@pytest.mark.slow
def test_a_task_can_return_the_end_of_a_pipe(pool: ProcessPoolExecutor) -> None:
    """Behaviour 153."""
    end = pool.submit(shared.pipe_with, "from the worker").result(60)
    assert isinstance(end, Connection)
    with end:
        assert end.recv() == "from the worker"
