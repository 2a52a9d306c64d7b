"""The reader of frames against all that could come out of a socket: clean frames or a WireError, in bounded memory."""

import itertools
import os
import random
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoppable import wire
from stoppable.wire import FROM_PARENT, FROM_WORKER, MAX_BODY_BYTES, Frame, Kind, Reader, WireError

HEAD = struct.Struct("<BxxxIIxxxxQQ")


class Feed:
    """Stands for a socket: gives these pieces one a call, and then there is nothing."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]

    def recv(self, most: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        piece = self.pieces.pop(0)
        if len(piece) > most:
            self.pieces.insert(0, piece[most:])
        return piece[:most]

    def recv_into(self, room: memoryview) -> int:
        piece = self.recv(len(room))
        room[: len(piece)] = piece
        return len(piece)


def read_all(reader: Reader, pieces: list[bytes]) -> list[Frame]:
    """Return the frames that *reader* cuts from *pieces*; a WireError carries those before it as `frames`."""
    frames: list[Frame] = []
    feed = Feed(pieces)
    try:
        while True:
            assert reader.read(feed, frames)
    except BlockingIOError:
        return frames
    except WireError as error:
        error.frames = frames
        raise


def same(frames: list[Frame], expected: list[Frame]) -> bool:
    return [(*f[:4], bytes(f.body)) for f in frames] == [(*f[:4], bytes(f.body)) for f in expected]


def encode(frame: Frame) -> bytes:
    return HEAD.pack(frame.kind, frame.extra, frame.position, frame.task, len(frame.body)) + bytes(frame.body)


def body_of(kind: int, filler: int, wanted: int) -> bytes:
    least, most = FROM_WORKER[kind]
    return bytes([filler]) * max(least, min(most, wanted))


frames_of_a_worker = st.builds(
    lambda kind, extra, position, task, filler, size: Frame(kind, extra, position, task, body_of(kind, filler, size)),
    st.sampled_from([int(kind) for kind in FROM_WORKER]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 255),
    st.integers(0, 200) | st.sampled_from([wire.CHUNK_BYTES - 33, wire.CHUNK_BYTES, wire.CHUNK_BYTES + 1, 150_000]),
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(frames_of_a_worker, max_size=8), st.lists(st.integers(0, 2**20), max_size=12))
def test_frames_come_out_as_they_went_in_wherever_the_stream_is_torn(sent: list[Frame], places: list[int]) -> None:
    reader = Reader(FROM_WORKER)
    assert same(read_all(reader, cut(b"".join(map(encode, sent)), places)), sent)
    assert not reader.torn


def test_a_stream_cut_off_at_any_byte_gives_what_was_whole_and_says_that_it_is_torn() -> None:
    sent = [
        Frame(Kind.READY, 0, 0, 0, b""),
        Frame(Kind.PARTIAL, 0, 0, 1, b"x" * 50),
        Frame(Kind.PROGRESS, 0, 0, 1, bytes(16)),
        Frame(Kind.VALUE, 1, 0, 1, b"y" * 9),
    ]
    data = b"".join(map(encode, sent))
    ends = [len(b"".join(map(encode, sent[:count]))) for count in range(len(sent) + 1)]
    for place in range(len(data) + 1):
        reader = Reader(FROM_WORKER)
        whole = sum(end <= place for end in ends) - 1
        assert same(read_all(reader, [data[:place]]), sent[:whole]), place
        assert reader.torn == (place not in ends), place
        assert same(read_all(reader, [data[place:]]), sent[whole:]), place


@pytest.mark.slow
@given(st.lists(frames_of_a_worker, min_size=1, max_size=6), st.randoms(use_true_random=False), st.integers(1, 5))
def test_a_mangled_stream_gives_frames_that_a_worker_may_send_or_an_error(
    sent: list[Frame], chance: random.Random, times: int
) -> None:
    """Flipped, dropped, repeated and exchanged pieces."""
    data = bytearray(b"".join(map(encode, sent)))
    for _ in range(times):
        a, b = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        match chance.randrange(4):
            case 0 if a < len(data):
                data[a] ^= 1 << chance.randrange(8)
            case 1:
                del data[a : min(b, a + 40)]
            case 2:
                data[a:a] = data[a : min(b, a + 200)]
            case 3:
                data = data[b:] + data[a:b] + data[:a]
    try:
        frames = read_all(Reader(FROM_WORKER), cut(bytes(data), [chance.randrange(2**20) for _ in range(5)]))
    except WireError as error:
        frames = error.frames
    for frame in frames:
        least, most = FROM_WORKER[frame.kind]
        assert least <= len(frame.body) <= most
    assert sum(len(frame.body) for frame in frames) <= len(data)


@given(st.binary(max_size=4096))
def test_noise_gives_frames_that_a_worker_may_send_or_an_error(data: bytes) -> None:
    try:
        frames = read_all(Reader(FROM_WORKER), [data])
    except WireError as error:
        frames = error.frames
    assert all(frame.kind in FROM_WORKER for frame in frames)


@pytest.mark.parametrize("said", [FROM_PARENT, FROM_WORKER], ids=["parent", "worker"])
def test_a_kind_that_the_other_side_may_not_say_is_an_error(said: dict[int, tuple[int, int]]) -> None:
    for kind in set(range(256)) - set(said):
        with pytest.raises(WireError):
            read_all(Reader(said), [HEAD.pack(kind, 0, 0, 0, 1)])


@pytest.mark.parametrize("kind", list(FROM_WORKER), ids=str)
def test_a_body_shorter_or_longer_than_its_kind_can_have_is_an_error(kind: int) -> None:
    least, most = FROM_WORKER[kind]
    for size in {least - 1, most + 1, 2**64 - 1} - {-1}:
        with pytest.raises(WireError):
            read_all(Reader(FROM_WORKER), [HEAD.pack(kind, 0, 0, 0, size)])


def test_what_was_whole_before_the_nonsense_is_kept() -> None:
    good = Frame(Kind.VALUE, 0, 0, 1, b"good")
    with pytest.raises(WireError) as caught:
        read_all(Reader(FROM_WORKER), [encode(good) + b"\xff" * 40])
    assert same(caught.value.frames, [good])


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("size", [MAX_BODY_BYTES, 1 << 38, 1 << 33, 1 << 30])
def test_a_head_alone_takes_no_memory_for_the_body_that_it_promises(size: int) -> None:
    before = resident_bytes()
    reader = Reader(FROM_WORKER)
    try:
        assert read_all(reader, [HEAD.pack(Kind.VALUE, 0, 0, 1, size), b"some"]) == []
    except WireError:
        pass  # the system has not even addresses for it
    assert resident_bytes() - before < 1 << 25


def test_a_body_that_is_mapped_is_read_like_any_other() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        body = os.urandom(1 << 20) * 20
        frames: list[Frame] = []
        reader = Reader(FROM_WORKER)
        left = memoryview(HEAD.pack(Kind.VALUE, 0, 0, 5, len(body)) + body)
        theirs.setblocking(False)
        while not frames:
            left = left[theirs.send(left) :] if left else left
            reader.read(ours, frames)
        assert bytes(frames[0].body) == body
