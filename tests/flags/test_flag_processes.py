"""The flag in several processes: behaviours 3, 4, 20, 22 and 26."""

import gc
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import flag_processes as ways
from stoppable.errors import StopRequested
from stoppable.flags import Event, StopToken, slab
from stoppable.flags import owner as owner_module
from stoppable.flags.collect import gathering
from stoppable.flags.owner import trust_owner
from stoppable.reason import StopKind

FORK: Any = multiprocessing.get_context("fork")


@pytest.mark.slow
@pytest.mark.parametrize("method", ways.START_METHODS)
@pytest.mark.parametrize("way", ways.WAYS, ids=lambda way: way.__name__)
def test_a_token_sent_to_a_process_is_the_same_token(way: Any, method: str) -> None:
    """Behaviours 4, 22."""
    root, ready = StopToken(name="root"), Event()
    child = root.child(timeout=1000)
    with way(method, child, ready) as answer:
        assert ready.wait(ways.HANG_S)
        assert root.stop("enough") is True
        pid, first, woken, reason = answer()
    assert pid != os.getpid()
    assert (first, woken) == (False, True)
    assert reason == f"stop: enough by {os.getpid()}"


@pytest.mark.slow
@pytest.mark.parametrize("way", [ways.by_thread, ways.by_subprocess], ids=lambda way: way.__name__)
def test_a_token_reaches_threads_and_programs_of_its_own(way: Any) -> None:
    """Behaviour 22."""
    token, ready = StopToken(), Event()
    with way(token, ready) as answer:
        assert ready.wait(ways.HANG_S)
        token.stop("enough")
        _, first, woken, reason = answer()
    assert (first, woken, reason) == (False, True, f"stop: enough by {os.getpid()}")


@pytest.mark.slow
@pytest.mark.parametrize("method", ways.START_METHODS)
def test_an_event_sent_to_a_process_is_the_same_event(method: str) -> None:
    """Behaviour 22."""
    event, ready = Event(), Event()
    with ways.by_executor(method, event, ready) as answer:
        assert ready.wait(ways.HANG_S)
        ready.clear()
        event.set()
        _, first, woken, _ = answer()
    assert (first, woken) == (False, True)


def stop_together(token: StopToken, go: Event, answers: Any) -> None:
    go.wait()
    won = token.stop(f"by {os.getpid()}")
    assert token.reason is not None
    answers.put((won, token.reason.message))


@pytest.mark.slow
def test_of_eight_processes_that_stop_exactly_one_does() -> None:
    """Behaviour 3."""
    for _ in range(10):
        token, go, answers = StopToken(), Event(), FORK.SimpleQueue()
        children = [FORK.Process(target=stop_together, args=(token, go, answers)) for _ in range(8)]
        for child in children:
            child.start()
        go.set()
        told = [answers.get() for _ in children]
        for child in children:
            child.join()
            child.close()
        answers.close()
        assert [won for won, _ in told].count(True) == 1
        assert token.reason is not None
        assert {message for _, message in told} == {token.reason.message}
        assert (True, token.reason.message) in told


def stop_and_tell(token: StopToken, answers: Any) -> None:
    answers.put(token.stop())


def test_a_stop_in_a_child_is_seen_here_when_it_returns() -> None:
    """Behaviours 2, 4."""
    token, answers = StopToken(), FORK.SimpleQueue()
    low = token.child()
    child = FORK.Process(target=stop_and_tell, args=(token, answers))
    child.start()
    assert answers.get() is True
    assert token.is_set()
    assert low.is_set()
    assert token.stop() is False
    child.join()
    assert token.reason is not None
    assert token.reason.source.pid == child.pid
    answers.close()


# --- nothing is left ---------------------------------------------------------------------------


def footprint() -> tuple[int, int, int]:
    gc.collect()
    with open("/proc/self/maps") as maps:
        lines = sum("stoppable" in line for line in maps)
    return len(os.listdir("/proc/self/fd")), lines, len(slab.mapped())


@pytest.mark.slow
def test_thousands_of_short_lived_children_leave_nothing() -> None:
    """Behaviour 20."""
    root = StopToken()
    before = footprint()
    for _ in range(5000):
        child = root.child(timeout=10)
        child.stop("over")
        assert child.reason is not None
    assert footprint() == before
    for _ in range(10):
        many = [root.child() for _ in range(1000)]
        del many
    gc.collect()
    assert footprint() == before


@pytest.mark.slow
def test_thousands_of_pickled_children_leave_a_bounded_rest() -> None:
    """Behaviour 20."""
    root = StopToken()
    before = footprint()
    for _ in range(10_000):
        pickle.dumps(root.child())
    assert footprint()[0] <= before[0] + 20
    slab.trim()
    # The one with the root in it stays.
    assert footprint()[0] <= before[0] + 2


def test_a_pickle_may_outlive_its_token_for_a_while() -> None:
    data = pickle.dumps(StopToken(timeout=1000).child())
    gc.collect()
    for _ in range(600):
        StopToken()
    token = pickle.loads(data)
    assert not token.is_set()


def test_a_record_that_was_pickled_is_not_given_out_again() -> None:
    token = StopToken()
    data = pickle.dumps(token)
    del token
    for other in [StopToken() for _ in range(1000)]:
        other.stop()
    assert not pickle.loads(data).is_set()


def is_set_later(token: StopToken, go: Event, answers: Any) -> None:
    go.wait(ways.HANG_S)
    answers.put(token.is_set())


def test_a_record_known_to_a_forked_child_is_not_given_out_again() -> None:
    token, go, answers = StopToken(), Event(), FORK.SimpleQueue()
    child = FORK.Process(target=is_set_later, args=(token, go, answers))
    child.start()
    del token
    vars(child).pop("_args", None)  # before Python 3.13 it keeps them
    gc.collect()
    others = [StopToken() for _ in range(300)]
    for other in others:
        other.stop()
    go.set()
    assert answers.get() is False
    child.join()
    answers.close()


def drop_inherited(inherited: list[StopToken], answers: Any) -> None:
    inherited.clear()
    gc.collect()
    mine = StopToken()
    mine.stop("mine")
    answers.put(os.getpid())


def test_a_forked_child_neither_frees_nor_gives_out_the_parents_records() -> None:
    tokens, answers = [StopToken() for _ in range(10)], FORK.SimpleQueue()
    tokens[3].stop("three")
    child = FORK.Process(target=drop_inherited, args=(tokens, answers))
    child.start()
    answers.get()
    child.join()
    assert [token.is_set() for token in tokens] == [number == 3 for number in range(10)]
    assert not StopToken().is_set()
    assert not pickle.loads(pickle.dumps(tokens[0])).is_set()
    answers.close()


def test_what_is_pickled_in_a_thread_is_gathered_for_it_alone() -> None:
    token, event = StopToken(), Event()
    gathering.found = found = []
    try:
        pickle.dumps({"a": [token], "b": event})
        thread = threading.Thread(target=pickle.dumps, args=(StopToken(),))
        thread.start()
        thread.join()
        pickle.dumps(token)
    finally:
        gathering.found = None
    pickle.dumps(token)
    assert found == [token, event, token]


# --- the owner's death ----------------------------------------------------------------------------

OWNER = """
import pickle, sys
from stoppable.flags import Event, StopToken
flags = [StopToken(), StopToken().child(timeout=1000), Event()]
flags[0:0] = [StopToken()]
flags[0].stop("before")
sys.stdout.buffer.write(pickle.dumps(flags)); sys.stdout.buffer.flush()
sys.stdin.read()
"""


def test_the_death_of_the_owner_sets_its_tokens_and_wakes_waiters() -> None:
    """Behaviour 26."""
    with ways.program(OWNER) as owner:
        assert owner.stdout is not None
        stopped, token, child, event = pickle.load(owner.stdout)
        here = StopToken.any_of(StopToken(), token)
        assert stopped.reason.message == "before"
        assert not any(flag.is_set() for flag in (token, child, event, here))
        timer_started = time.monotonic()
        assert token.wait(0.05) is False
        owner.send_signal(signal.SIGKILL)
        for flag in (token, child, event, here):
            assert flag.wait(ways.HANG_S) is True
        assert time.monotonic() - timer_started < ways.HANG_S
    for flag in (token, child, here):
        assert flag.reason.kind is StopKind.ORPHAN
        assert str(owner.pid) in flag.reason.message
        assert flag.stop() is False
        with pytest.raises(StopRequested):
            flag.check()
    assert stopped.reason.message == "before"
    ways.until(lambda: not ways.threads_named("stoppable-owner-watch"))


def test_the_watch_ends_with_the_last_token_of_another_process() -> None:
    with ways.program(OWNER) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        flags = pickle.load(owner.stdout)
        assert len(ways.threads_named("stoppable-owner-watch")) == 1
        del flags
        gc.collect()
        ways.until(lambda: not ways.threads_named("stoppable-owner-watch"))
        owner.stdin.close()


def test_a_token_may_go_while_the_watch_is_held_and_the_watch_ends_all_the_same() -> None:
    """As at the interpreter's end, which freezes the watching thread wherever it is: there the lock is held for ever."""
    with ways.program(OWNER) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        flags = pickle.load(owner.stdout)
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with owner_module._watch.lock:
                held.set()
                release.wait(ways.HANG_S)

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(ways.HANG_S)
        began = time.monotonic()
        del flags
        gc.collect()
        assert time.monotonic() - began < ways.HANG_S / 2, "it waited for the lock"
        release.set()
        holder.join()
        # The holder was no thread that looks when it lets go: as `add`, it has to ring.
        with owner_module._watch.lock:
            owner_module._watch._ring()
        ways.until(lambda: not ways.threads_named("stoppable-owner-watch"))
        owner.stdin.close()


def test_an_owner_that_is_trusted_is_not_watched() -> None:
    with ways.program(OWNER) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        trust_owner(owner.pid)
        flags = pickle.load(owner.stdout)
        assert not ways.threads_named("stoppable-owner-watch")
        del flags
        owner.stdin.close()


def test_a_pickle_of_a_dead_process_is_a_token_that_is_set() -> None:
    """Behaviour 26."""
    with ways.program(OWNER) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        data = owner.stdout.read1()
        owner.stdin.close()
    stopped, token, child, event = pickle.loads(data)
    for flag in (stopped, token, child):
        assert flag.is_set()
        assert flag.wait()
        assert flag.reason.kind is StopKind.ORPHAN
    assert event.is_set()
    assert event.wait()
    again = pickle.loads(data)
    assert again == [stopped, token, child, event]
    # Sent on, it is what it was.
    assert pickle.loads(pickle.dumps(token)) == token


FORKING_OWNER = """
import os, sys
from stoppable.flags import StopToken
token = StopToken().child()
if os.fork() == 0:
    {first}
    print(token.wait(60), token.reason.kind, token.is_set(), flush=True)
    os._exit(0)
os.read(0, 1)
os._exit(0)
"""


@pytest.mark.parametrize("first", ["pass", "token.is_set()", "token.on_stop(int)", "token = token.child()"])
def test_a_forked_child_outlives_the_owner_and_learns_of_it(first: str) -> None:
    """Behaviour 26."""
    with ways.program(FORKING_OWNER.format(first=first)) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        owner.stdin.close()
        assert owner.stdout.read() == b"True orphan True\n"


OWNER_THAT_ENDS = """
import ctypes, os, pickle, resource, signal, sys
from stoppable.flags import StopToken
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
token = StopToken()
sys.stdout.buffer.write(pickle.dumps(token))
sys.stdout.flush()
sys.stdin.read()
sys.stderr = None
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("pass", 0),
        ("raise RuntimeError", 1),
        ("os._exit(3)", 3),
        ("os.execv('/bin/sh', ['sh', '-c', 'exit 4'])", 4),
        ("os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("ctypes.string_at(0)", -11),
    ],
)
def test_in_whatever_way_the_owner_ends_its_token_reads_orphan(end: str, code: int) -> None:
    """Behaviour 26."""
    with ways.program(OWNER_THAT_ENDS.format(end=end)) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        token = pickle.loads(owner.stdout.read1())
        assert not token.is_set()
        owner.stdin.close()
        assert token.wait(ways.HANG_S)
        assert token.reason.kind is StopKind.ORPHAN
        assert owner.wait(ways.HANG_S) == code


def test_a_stale_handle_never_finds_another_file() -> None:
    token = StopToken()
    _, (handles, deadline, name) = token.__reduce__()[:2]
    pid, start, fd, path, _nonce, record = handles[0]
    for wrong in (
        (pid, start, fd, path, bytes(16), record),
        (pid, start, 0, path, bytes(range(16)), record),
        (pid, start, 99_999, "/dev/null" if path else "", bytes(range(1, 17)), record),
        (2**22 + 1, start, fd, path and path + "x", bytes(range(2, 18)), record),
    ):
        found = pickle.loads(pickle.dumps(token.__reduce__()[0]))((wrong,), deadline, name)
        assert found.is_set()
        assert found.reason.kind is StopKind.ORPHAN
        assert found != token


def test_a_token_alive_at_exit_makes_no_noise() -> None:
    code = (
        "from stoppable.flags import StopToken, Event; import pickle\n"
        "t = StopToken(); c = t.child(timeout=9); e = Event(); r = c.on_stop(print); d = pickle.dumps(c)\n"
        "class Loop: pass\n"
        "loop = Loop(); loop.me = loop; loop.t = StopToken()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=ways.HANG_S,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


CLOSES_ALL = """
import gc, os
from stoppable.flags import StopToken, slab
token = StopToken()
os.closerange(3, 64)
mine = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
assert not token.is_set() and token.stop() and token.is_set()
del token
gc.collect()
slab.trim()
[os.fstat(fd) for fd in mine]
assert StopToken().stop()
print("fine")
"""


def test_a_program_that_closes_all_descriptors_keeps_its_flags_and_its_files() -> None:
    with ways.program(CLOSES_ALL) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.read() == b"fine\n"


def make_and_drop(seen: list[tuple[int, bool]], root: StopToken, seed: int) -> None:
    chance = random.Random(seed)
    mine: list[StopToken] = []
    for _ in range(3000):
        if mine and chance.random() < 0.5:
            mine.pop(chance.randrange(len(mine)))
        else:
            made = root.child()
            # Nobody else stops it: a record that was given out twice would show here.
            seen.append((seed, made.is_set()))
            mine.append(made)
        if mine and chance.random() < 0.2:
            mine.pop(chance.randrange(len(mine))).stop(str(seed))
        if mine and chance.random() < 0.01:
            pickle.dumps(mine[0])
    seen.extend((seed, token.is_set()) for token in mine)


@pytest.mark.slow
def test_many_threads_never_get_the_same_record() -> None:
    root = StopToken()
    before = footprint()
    seen: list[tuple[int, bool]] = []
    threads = [threading.Thread(target=make_and_drop, args=(seen, root, seed)) for seed in range(6)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(seen) > 6000
    assert not any(was_set for _, was_set in seen)
    gc.collect()
    slab.trim()
    assert footprint()[0] <= before[0] + 1
