"""One system call after the other fails, in each of a pool's processes and in the flag's.

Whatever fails: a clear error or a recovery, never a hang, never a wrong result, never a task run twice, and
nothing left behind. The suite takes some numbers of each kind; `STOPPABLE_FAULTS=all` takes all of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PARENT, WARDEN, WORKER = 0, 1, 2
HERE = Path(__file__).parent
_TRIES = 5
_ALL = os.environ.get("STOPPABLE_FAULTS") == "all"
_PATIENCE_S = 1200 if _ALL else 120  # a worker opens some five hundred files, most of them modules

# Who makes the call, its kind, how it fails, whether all after it fail too, and which numbers the suite takes.
POOL = [
    (PARENT, "eventfd", "EMFILE", "once", "1"),
    (PARENT, "epoll", "ENOMEM", "once", "1,2,3,4"),
    (PARENT, "epoll", "ENOSPC", "on", "3,5"),
    (PARENT, "socketpair", "EMFILE", "once", "1,2"),
    (PARENT, "socketpair", "ENFILE", "on", "3"),
    (PARENT, "memfd", "EMFILE", "once", "1"),
    (PARENT, "memfd", "ENOSYS", "on", "1"),
    (PARENT, "map", "ENOMEM", "once", "2"),
    (PARENT, "truncate", "ENOMEM", "once", "2"),
    (PARENT, "fork", "EAGAIN", "once", "1"),
    (PARENT, "fork", "ENOMEM", "on", "1"),
    (PARENT, "pipe", "EMFILE", "once", "1"),
    (PARENT, "thread", "EAGAIN", "once", "1"),
    (PARENT, "send", "EIO", "once", "1"),
    (PARENT, "recv", "EIO", "once", "1,6"),
    (PARENT, "sendmsg", "ENOBUFS", "once", "1,4,9"),
    (PARENT, "sendmsg", "EPERM", "once", "3,8"),
    (PARENT, "sendmsg", "EPERM", "on", "2,3"),
    (PARENT, "recvmsg", "ENOMEM", "once", "3"),
    (WARDEN, "exec", "ENOENT", "on", "1"),
    (WARDEN, "fork", "EAGAIN", "once", "1,4"),
    (WARDEN, "fork", "ENOMEM", "on", "1,3"),
    (WARDEN, "recvmsg", "ENOMEM", "once", "1,6"),
    (WARDEN, "sendmsg", "ENOBUFS", "once", "1,4"),
    (WARDEN, "sendmsg", "EIO", "once", "2"),
    (WARDEN, "wait", "EINTR", "once", "2"),
    (WARDEN, "wait", "EIO", "once", "1"),
    (WARDEN, "kill", "ESRCH", "once", "2"),
    (WARDEN, "kill", "EPERM", "once", "2"),
    (WARDEN, "pidfd", "ENOSYS", "on", "1"),
    (WARDEN, "pipe", "EMFILE", "once", "1"),
    (WARDEN, "sleep", "EINTR", "once", "2"),
    (WORKER, "recv", "EIO", "once", "1,4"),
    (WORKER, "send", "ENOBUFS", "once", "1,4"),
    (WORKER, "map", "ENOMEM", "on", "1"),
    (WORKER, "membarrier", "EPERM", "on", "1"),
    (WORKER, "dup", "EMFILE", "once", "1"),
    (WORKER, "open", "EMFILE", "once", "1,2"),
    (WORKER, "futex", "EINTR", "once", "1"),
    # The calls that Python tries again after a signal (send, recv, open, wait) and those that it does not.
    *[(PARENT, kind, "EINTR", "once", "1") for kind in ("send", "fork", "wait", "kill")],
    *[(PARENT, kind, "EINTR", "once", "1,2,3") for kind in ("recv", "sendmsg", "recvmsg", "map", "open")],
    *[(WARDEN, kind, "EINTR", "once", "1,2,3") for kind in ("sendmsg", "recvmsg", "fork", "open", "wait", "kill")],
    (WARDEN, "map", "EINTR", "once", "1"),
    *[(WORKER, kind, "EINTR", "once", "1,2,3") for kind in ("send", "recv", "map", "open")],
    (PARENT, "open", "EMFILE", "once", "1,2,3"),
    (PARENT, "wait", "ECHILD", "once", "1"),
    (PARENT, "kill", "ESRCH", "once", "1"),
    (PARENT, "kill", "EPERM", "once", "1"),
    (WARDEN, "open", "EMFILE", "once", "1,2,3"),
    (WARDEN, "wait", "ECHILD", "once", "1,2"),
    (WARDEN, "kill", "EPERM", "once", "1,3"),
]
FLAGS = [
    (PARENT, "memfd", "EMFILE", "once", "1,2"),
    (PARENT, "map", "ENOMEM", "once", "1,2"),
    (PARENT, "truncate", "ENOSPC", "once", "1,2"),
    (PARENT, "thread", "EAGAIN", "once", "1,2"),
    (PARENT, "futex", "EINTR", "once", "1,2,3"),
    (PARENT, "waitv", "ENOSYS", "on", "1"),
    (1, "open", "EMFILE", "once", "1,2,3"),
    (1, "link", "ENOMEM", "once", "1,2"),
    (1, "map", "ENOMEM", "once", "1,2"),
    (1, "eventfd", "EMFILE", "once", "1,2"),
    (1, "pidfd", "EMFILE", "on", "1"),
    (1, "pidfd", "ENOSYS", "on", "1"),
    (1, "thread", "EAGAIN", "once", "1"),
    (1, "futex", "EINTR", "once", "1,2,3"),
    (1, "waitv", "ENOSYS", "on", "1"),
]


@pytest.mark.slow
@pytest.mark.timeout(_PATIENCE_S)
@pytest.mark.parametrize(("role", "kind", "error", "how", "numbers"), POOL)
def test_a_pool_survives_or_says_clearly_that_a_call_failed(
    role: int, kind: str, error: str, how: str, numbers: str
) -> None:
    """Behaviour 107. Its second half: workers that cannot be started; and all else that can fail."""
    sweep("pool", role, kind, error, how, numbers)


@pytest.mark.slow
@pytest.mark.timeout(_PATIENCE_S)
@pytest.mark.parametrize(("role", "kind", "error", "how", "numbers"), FLAGS)
def test_a_flag_survives_or_says_clearly_that_a_call_failed(
    role: int, kind: str, error: str, how: str, numbers: str
) -> None:
    sweep("flags", role, kind, error, how, numbers)


def sweep(scenario: str, role: int, kind: str, error: str, how: str, numbers: str) -> None:
    """Run the scenario once for each number and look at what each run says."""
    arguments = [scenario, str(role), kind, error, how, "all" if _ALL else numbers]
    # On a busy machine a flag may be set before its waiter comes to wait: then it makes no call at all.
    for _ in range(_TRIES):
        runs = _runs(arguments)
        for run in runs:
            assert not run["problems"], "\n".join([f"call {run['number']}:", *run["problems"], *run["notes"]])
        if runs[0]["met"]:
            return
    raise AssertionError(f"no {kind} was met in {_TRIES} runs: the scenario makes none")


def _runs(arguments: list[str]) -> list[dict[str, Any]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    done = subprocess.run(
        [sys.executable, str(HERE / "sweep.py"), *arguments], capture_output=True, env=environment, text=True
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
