"""`blocks`: loops over data, files and sockets that are stopped between two blocks."""

import array
import io
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
from collections import UserList, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import blockwise
import stoppable
from jobs import BOUND_S, running, stopped_once_begun
from stoppable import Rung, blocks
from watching import await_file

# --- what the blocks are -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ([1, 2, 3, 4, 5], [[1, 2], [3, 4], [5]]),
        ((1, 2, 3, 4), [(1, 2), (3, 4)]),
        ("abcde", ["ab", "cd", "e"]),
        (b"abcde", [b"ab", b"cd", b"e"]),
        (bytearray(b"abc"), [bytearray(b"ab"), bytearray(b"c")]),
        (range(5), [range(2), range(2, 4), range(4, 5)]),
        (array.array("b", [1, 2, 3]), [array.array("b", [1, 2]), array.array("b", [3])]),
        (UserList([1, 2, 3]), [UserList([1, 2]), UserList([3])]),
        (iter("abcde"), [("a", "b"), ("c", "d"), ("e",)]),
        (deque([1, 2, 3]), [(1, 2), (3,)]),
        ({"a": 1, "b": 2, "c": 3}, [("a", "b"), ("c",)]),
        (io.BytesIO(b"abcde"), [b"ab", b"cd", b"e"]),
        (io.StringIO("abcde"), ["ab", "cd", "e"]),
        ([], []),
        (iter(()), []),
        (b"", []),
        (io.BytesIO(), []),
        (np.zeros((0, 3)), []),
    ],
)
def test_what_can_be_sliced_is_sliced_what_can_be_read_is_read_and_the_rest_comes_in_tuples(
    source: Any, expected: list[Any]
) -> None:
    """Behaviour 144."""
    found = list(blocks(source, 2))
    assert found == expected
    assert [type(each) for each in found] == [type(each) for each in expected]


def test_blocks_of_an_array_are_views_and_those_of_a_table_its_rows() -> None:
    """Behaviour 144."""
    table = np.arange(14).reshape(7, 2)
    found = list(blocks(table, 3))
    assert [block.shape for block in found] == [(3, 2), (3, 2), (1, 2)]
    assert all(np.shares_memory(block, table) for block in found)
    assert np.array_equal(np.concatenate(found), table)
    for block in blocks(table, np.int64(3)):
        block += 100
    assert table.min() == 100
    memory = memoryview(bytearray(10))
    assert all(block.obj is memory.obj for block in blocks(memory, 4))


def test_a_block_is_taken_only_when_it_is_asked_for() -> None:
    """Behaviour 144."""
    numbers = iter(range(10))
    found = blocks(numbers, 3)
    assert next(found) == (0, 1, 2)
    assert next(numbers) == 3
    grows = [1]
    sizes = []
    for block in blocks(grows, 2):
        sizes.append(len(block))
        if len(grows) < 4:
            grows += [1, 1, 1]
    assert sizes == [1, 2]


def test_a_loop_that_is_left_leaves_the_source_to_its_owner() -> None:
    """Behaviour 144."""
    numbers = (number for number in range(10))
    for block in blocks(numbers, 3):
        assert block == (0, 1, 2)
        break
    assert list(numbers) == list(range(3, 10))


def test_files_are_read_to_their_end_and_left_open(tmp_path: Path) -> None:
    """Behaviour 144."""
    path = tmp_path / "file"
    path.write_text("één twee drie", encoding="utf-8")
    with open(path, encoding="utf-8") as text:
        assert list(blocks(text, 5)) == ["één t", "wee d", "rie"]
        assert not text.closed
    with open(path, "rb") as file:
        file.seek(8)
        assert list(blocks(file, 1000)) == [b"ee drie"]
    with open(path, "rb", buffering=0) as raw:
        assert b"".join(blocks(raw, 1)) == path.read_bytes()


def test_the_output_of_a_program_is_read_in_blocks() -> None:
    """Behaviour 144."""
    program = [sys.executable, "-c", "print('x' * 100_000, end='')"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        assert sum(map(len, blocks(process.stdout, 1000))) == 100_000


def test_in_a_task_the_blocks_are_the_same(tmp_path: Path) -> None:
    """Behaviour 144."""
    with running() as pool:
        found = pool.submit(blockwise.all_kinds, str(tmp_path)).result(BOUND_S)
    assert found == blockwise.all_kinds(str(tmp_path))
    assert [len(each) for each in found] == [3, 3, 2, 3, 3, 3, 3, 3]


# --- sockets -------------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, two = socket.socketpair()
    with one, two:
        yield one, two


def test_a_socket_is_read_until_the_other_side_has_ended(pair: tuple[socket.socket, socket.socket]) -> None:
    """Behaviour 145."""
    ours, theirs = pair
    theirs.sendall(b"x" * 25)
    theirs.close()
    with stoppable.time_limit(BOUND_S):
        assert [len(block) for block in blocks(ours, 10)] == [10, 10, 5]
    assert ours.fileno() >= 0


def test_an_empty_datagram_is_no_end() -> None:
    """Behaviour 145."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs, stoppable.time_limit(BOUND_S):
        for datagram in (b"one", b"", b"two"):
            theirs.send(datagram)
        found = blocks(ours, 10)
        assert [next(found), next(found), next(found)] == [b"one", b"", b"two"]


@pytest.mark.parametrize("limited", [True, False])
def test_a_sockets_own_timeout_is_kept(limited: bool, pair: tuple[socket.socket, socket.socket]) -> None:
    """Behaviour 145."""
    ours, theirs = pair
    with stoppable.time_limit(BOUND_S if limited else None):
        for timeout, error in ((0.01, TimeoutError), (0, BlockingIOError)):
            ours.settimeout(timeout)
            theirs.sendall(b"some")
            found = blocks(ours, 10)
            assert next(found) == b"some"
            with pytest.raises(error):
                next(found)
            assert ours.gettimeout() == timeout


def test_a_wait_for_bytes_outside_a_task_is_ended_by_the_limit_it_is_in(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Behaviours 145, 146."""
    with pytest.raises(TimeoutError, match="the block took longer"), stoppable.time_limit(0.05):
        list(blocks(pair[0], 10))


def test_a_socket_that_is_closed_during_the_wait_says_so(pair: tuple[socket.socket, socket.socket]) -> None:
    """Behaviour 145."""
    ours, _ = pair
    with stoppable.time_limit(BOUND_S):
        closer = threading.Timer(0.1, ours.close)
        closer.start()
        with pytest.raises(OSError, match="Bad file descriptor"):
            list(blocks(ours, 10))
        closer.join()


def test_what_tls_has_read_ahead_is_not_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    """Behaviour 145. A record is read whole, and then no poll() knows of the rest of it."""
    contexts = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in contexts:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("aNULL:@SECLEVEL=0")  # nobody has a certificate here
    server, client = contexts
    ends = []

    def serve() -> None:
        ends.append(server.wrap_socket(pair[0], server_side=True))
        ends[0].sendall(b"x" * 100)

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(pair[1]) as ours:
        thread.join()
        with stoppable.time_limit(BOUND_S):
            found = blocks(ours, 10)
            assert [len(next(found)) for _ in range(10)] == [10] * 10
        ours.settimeout(0.05)
        with pytest.raises(TimeoutError), stoppable.time_limit(BOUND_S):
            next(blocks(ours, 10))
        ends[0].close()


# --- stops ---------------------------------------------------------------------------------------------------


def test_a_task_is_stopped_between_two_blocks_of_data(tmp_path: Path) -> None:
    """Behaviour 144."""
    future = stopped_once_begun(blockwise.of_data, tmp_path / "begun")
    assert future.result() == 3
    assert future.report.rung is Rung.ASK


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_a_stop_between_two_blocks_of_a_file_loses_nothing_that_was_read(mode: str, tmp_path: Path) -> None:
    """Behaviour 144. The file stands where the last block ended."""
    data = tmp_path / "data"
    data.write_text("0123456789" * 100)
    assert stopped_once_begun(blockwise.of_file, tmp_path / "begun", str(data), mode).result() == (3, 30)


def test_a_generator_that_nobody_else_holds_is_closed_before_the_stop_leaves_the_loop(tmp_path: Path) -> None:
    """Behaviour 144."""
    future = stopped_once_begun(blockwise.of_generator, tmp_path / "begun")
    assert future.result() == (3, ["closed", "stopped"])


def test_a_limit_stops_a_loop_and_the_rest_can_be_taken_after_it() -> None:
    """Behaviours 144, 146."""
    numbers = (number for number in range(10))
    with pytest.raises(stoppable.StopRequested), stoppable.time_limit(None) as limit:
        for block in blocks(numbers, 3):
            assert block == (0, 1, 2)
            limit.token.stop("enough")
    assert list(blocks(numbers, 4)) == [(3, 4, 5, 6), (7, 8, 9)]
    endless: Any = iter(int, 1)
    with pytest.raises(TimeoutError), stoppable.time_limit(0.05):
        for _ in blocks(endless, 10):
            pass


@pytest.mark.parametrize("kind", ["socket", "patient", "datagrams", "pipe"])
def test_a_stop_ends_a_wait_for_bytes_that_never_come(kind: str, tmp_path: Path) -> None:
    """Behaviour 146. Not the interrupt: that would come a minute later."""
    begun = tmp_path / "begun"
    with running() as pool:
        future = pool.submit(blockwise.of_silence, str(begun), kind)
        await_file(begun)
        future.stop()
        assert future.result(BOUND_S) == (4, "StopRequested")
        assert future.report.rung is Rung.ASK


def test_a_shielded_wait_for_bytes_goes_on(tmp_path: Path) -> None:
    """Behaviour 146."""
    begun = tmp_path / "begun"
    with running() as pool:
        future = pool.submit(blockwise.shielded_silence, str(begun))
        await_file(begun)
        future.stop()
        assert future.result(BOUND_S) == b"late"


@pytest.mark.slow
def test_a_watchdog_takes_a_wait_for_bytes_for_a_sign_of_life() -> None:
    """Behaviour 146."""
    with running(watchdog=1.0) as pool:
        assert pool.submit(blockwise.watched_silence, 2.5).result(BOUND_S) == "timed out"


# --- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "size", "error", "says"),
    [
        ([1], 0, ValueError, "at least 1, was 0"),
        ([1], -5, ValueError, "at least 1, was -5"),
        ([1], 1.5, TypeError, "whole number, was 1.5"),
        ([1], "64k", TypeError, "whole number, was '64k'"),
        ([1], None, TypeError, "whole number, was None"),
        (7, 2, TypeError, "a file, a socket, a sequence, an array or an iterable, was given 7"),
        (pathlib.PurePosixPath("data.bin"), 2, TypeError, "data.bin.*; open it first"),
        (np.array(5), 2, TypeError, "unsized"),
    ],
)
def test_what_cannot_be_taken_in_blocks_is_refused_at_the_call(
    source: Any, size: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        blocks(source, size)


def test_a_file_that_does_not_block_and_has_nothing_is_no_file_at_its_end() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(reading, "rb") as file, open(writing, "wb"), pytest.raises(BlockingIOError, match="does not block"):
        list(blocks(file, 10))
