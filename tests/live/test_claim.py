"""A sent task is run or taken back, never both and never neither; and none waits behind a long one."""

import os
import socket
import struct
import time
from pathlib import Path

import pytest

import chores
from stoppable import ProcessPoolExecutor, TaskStopped
from stoppable.flags import kernel
from stoppable.worker.page import RING, Page
from watching import await_file, make_quick, say, until

_POSITION = struct.Struct("<I")
ROUNDS = 1000


def _claim_all(page: Page, sock: socket.socket) -> bytes:
    """Be the worker: claim each position as soon as it comes; say for each whether it is to be run."""
    kernel.join_fence()
    sock.send(b"r")
    seen, told = 0, bytearray()
    for _ in range(ROUNDS):
        raw = sock.recv(_POSITION.size)
        if not raw:
            break
        claimed, seen = page.claim(_POSITION.unpack(raw)[0], seen)
        told.append(claimed)
    return bytes(told)


@pytest.mark.slow
def test_of_a_claim_and_a_recall_exactly_one_succeeds() -> None:
    """Behaviour 104. Two real processes, 1,000 positions; the recall comes a growing moment after the sending."""
    fd = Page.make()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ours.close()
            theirs.send(_claim_all(Page(fd), theirs))
            code = 0
        finally:
            os._exit(code)
    theirs.close()
    page = Page(fd)
    os.close(fd)
    try:
        ours.settimeout(60)
        assert ours.recv(1) == b"r"
        recalled = []
        for position in range(1, ROUNDS + 1):
            page.offer(position)
            ours.send(_POSITION.pack(position))
            for _ in range(position * 7 % 400):
                pass  # the moment
            recalled.append(page.recall(position))
        ran = ours.recv(ROUNDS)
    finally:
        ours.close()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(ran) == ROUNDS
    both = [n for n in range(ROUNDS) if bool(ran[n]) == recalled[n]]
    assert both == []


@pytest.mark.slow
def test_tasks_recalled_from_a_line_are_skipped_in_any_pattern() -> None:
    """Behaviour 104. Recalls first, claims after: a void position is not run, its neighbours are."""
    fd = Page.make()
    page = Page(fd)
    os.close(fd)
    line = range(7, 7 + RING)
    for position in line:
        page.offer(position)
    taken = {position for position in line if position % 3 == 0 and page.recall(position)}
    seen, ran = 0, set()
    for position in line:
        claimed, seen = page.claim(position, seen)
        if claimed:
            ran.add(position)
    assert taken == {position for position in line if position % 3 == 0}
    assert ran == set(line) - taken


@pytest.mark.slow
@pytest.mark.parametrize("end", ["kill", "stop", "busy"])
def test_a_task_sent_to_a_worker_that_does_not_get_to_it_runs_elsewhere_once(end: str, tmp_path: Path) -> None:
    """Behaviour 104."""
    with ProcessPoolExecutor(2, policy=chores.SHORT) as pool:
        make_quick(pool)
        long = pool.submit(chores.sleep, str(tmp_path / "long"))
        short = [pool.submit(chores.append, str(tmp_path / "ran"), str(n)) for n in range(100)]
        await_file(tmp_path / "long")
        if end == "kill":
            long.kill()
        elif end == "stop":
            long.stop()
        for task in short:
            assert task.result(60) is None
        assert sorted((tmp_path / "ran").read_text().split(), key=int) == [str(n) for n in range(100)]
        long.kill()
        with pytest.raises(TaskStopped):
            long.result(30)


@pytest.mark.slow
def test_no_task_waits_behind_a_long_one_while_another_worker_is_idle(tmp_path: Path) -> None:
    """Behaviour 104. Each round submits a long task among short ones, in another place."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(chores.double, range(2000)))
        for place in range(6):
            go, begun = tmp_path / f"go{place}", tmp_path / f"begun{place}"
            tasks = [pool.submit(chores.double, n) for n in range(place * 5)]
            long = pool.submit(chores.wait_for, str(go), str(begun))
            tasks += [pool.submit(chores.double, n) for n in range(30)]
            for task in tasks:
                task.result(30)
            assert not long.done()
            say(go, "on")
            assert long.result(30) == "on"


@pytest.mark.slow
def test_a_task_stopped_between_its_sending_and_its_start_never_runs(tmp_path: Path) -> None:
    """Behaviours 39, 104."""
    with ProcessPoolExecutor(1, policy=chores.SHORT) as pool:
        make_quick(pool)
        long = pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
        behind = [pool.submit(chores.append, str(tmp_path / "ran"), "x") for _ in range(20)]
        await_file(tmp_path / "begun")
        for task in behind:
            assert task.stop()
        for task in behind:
            with pytest.raises(TaskStopped) as caught:
                task.result(30)
            assert not caught.value.started
        say(tmp_path / "go", "on")
        assert long.result(30) == "on"
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_however_many_are_stopped_behind_a_long_task_none_runs_and_none_that_stays_is_lost(tmp_path: Path) -> None:
    """Behaviours 39, 104. More than the page has places for."""
    with ProcessPoolExecutor(1, policy=chores.SHORT) as pool:
        make_quick(pool)
        long = pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
        stay = [pool.submit(chores.double, 0)]
        await_file(tmp_path / "begun")
        for number in range(RING + 30):
            future = pool.submit(chores.append, str(tmp_path / "ran"), "x")
            until(lambda: future._sent, "it was sent ahead")
            if number % 40 == 0:
                stay.append(pool.submit(chores.double, number))
            assert future.stop()
            with pytest.raises(TaskStopped):
                future.result(30)
        say(tmp_path / "go", "on")
        assert long.result(30) == "on"
        assert [future.result(30) for future in stay] == [0, *(2 * number for number in range(0, RING + 30, 40))]
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_pool_of_short_tasks_sends_ahead_and_one_of_long_tasks_does_not() -> None:
    """Behaviour 104. Looked at in the pool itself: from outside, only the time differs."""
    with ProcessPoolExecutor(1) as pool:
        pool.submit(chores.double, 1).result(30)
        assert pool._reactor is not None
        machine = pool._reactor.machine
        assert machine.ahead == 1
        make_quick(pool)
        assert machine.ahead > 4
        pool.submit(time.sleep, 0.3).result(30)
        assert machine.ahead == 1
