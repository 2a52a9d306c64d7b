"""What this machine can do at best: the least that a part of the work of any pool costs here, without the pool.

Nothing of this project is in it. A number of a pool says little without these: where starting an interpreter takes 20 ms, no
pool that starts one has a first result in less.
"""

import mmap
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from statistics import median

import processes
from cases_rate import Numbers
from peer import Peer

_MB = 1_000_000
_PICKLE = pickle.dumps((abs, (-1,), {}))
# What a fresh interpreter must have loaded to fork workers that read pickles from sockets.
_FORKER = """
import os, pickle, selectors, signal, socket, struct, sys, threading, typing
if os.fork() == 0:
    os.write(int(sys.argv[1]), b"x")
    os._exit(0)
os.wait()
"""


def floors(_: type[Peer], times: int = 300, size_mb: int = 100) -> Numbers:
    """Measure all of them; each is the median of several."""
    return {
        "ping_us": _ping_us(times, thread=False),
        "ping_thread_us": _ping_us(times, thread=True),
        "bare_ms": _middle(times // 20, lambda: _start_ms("-I", "-S", "-c", "pass")),
        "forker_ms": _middle(times // 20, _forker_ms),
        "kill_ms": _middle(times // 10, _kill_ms),
        "fork_mb": _fork_mb(),
        "typing_ms": _middle(times // 20, _typing_ms),
        **_copies(size_mb),
    }


def _middle(times: int, measure: Callable[[], float]) -> float:
    return median(measure() for _ in range(max(1, times)))


def _ping_us(times: int, *, thread: bool) -> float:
    """A pickled call to another process and its pickled answer; read by another thread than waits for it, or not."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        while data := theirs.recv(1 << 16):
            function, args, kwargs = pickle.loads(data)
            theirs.sendall(pickle.dumps(function(*args, **kwargs)))
        os._exit(0)
    theirs.close()
    answers: list[object] = []
    arrived = threading.Lock()

    def read() -> None:
        for _ in range(times):
            answers.append(pickle.loads(ours.recv(1 << 16)))
            arrived.release()

    arrived.acquire()
    reader = threading.Thread(target=read)
    if thread:
        reader.start()
    took = []
    for _ in range(times):
        start = time.perf_counter()
        ours.sendall(_PICKLE)
        if thread:
            arrived.acquire()
        else:
            answers.append(pickle.loads(ours.recv(1 << 16)))
        took.append(time.perf_counter() - start)
    if thread:
        reader.join()
    ours.close()
    os.waitpid(pid, 0)
    return median(took) * 1e6


def _start_ms(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True)
    return (time.perf_counter() - start) * 1e3


def _forker_ms() -> float:
    """From the start of an interpreter to the first word of its fork."""
    read, write = os.pipe()
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", _FORKER, str(write)], pass_fds=[write]):
        os.read(read, 1)
        took_s = time.perf_counter() - start
    os.close(read)
    os.close(write)
    return took_s * 1e3


def _sleeper() -> int:
    """Return the process id of a fork that sleeps."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"x")
        time.sleep(1000)
        os._exit(0)
    os.read(read, 1)
    os.close(read)
    os.close(write)
    return pid


def _kill_ms() -> float:
    """From SIGKILL to the end of a sleeping fork of this process."""
    pid = _sleeper()
    fd = os.pidfd_open(pid)
    start = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    select.select([fd], [], [])
    took_s = time.perf_counter() - start
    os.close(fd)
    os.waitpid(pid, 0)
    return took_s * 1e3


def _fork_mb() -> float:
    """The proportional set size of a fork of this process that has not done anything."""
    pid = _sleeper()
    found = processes.pss_mb(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return found


def _typing_ms() -> float:
    """What `typing` takes beside the standard pool: the standard pool does not import it."""
    standard = "import concurrent.futures.process"
    return _start_ms("-c", standard + ", typing") - _start_ms("-c", standard)


def _copies(size_mb: int) -> Numbers:
    """Gigabytes a second: into memory that is there, into fresh memory, and through a socket into fresh memory."""
    size = size_mb * _MB
    source = bytearray(size)
    there = bytearray(size)

    def resident() -> None:
        there[:] = source

    def fresh() -> None:
        mmap.mmap(-1, size)[:] = source

    def through_socket() -> None:
        ours, theirs = socket.socketpair()
        sender = threading.Thread(target=ours.sendall, args=(source,))
        sender.start()
        room, got = memoryview(mmap.mmap(-1, size)), 0
        while got < size:
            got += theirs.recv_into(room[got:])
        sender.join()
        ours.close()
        theirs.close()

    found: Numbers = {}
    for name, copy in (("resident_gb_s", resident), ("fresh_gb_s", fresh), ("socket_gb_s", through_socket)):
        took = []
        for _ in range(5):
            start = time.perf_counter()
            copy()
            took.append(time.perf_counter() - start)
        found[name] = size / median(took) / 1e9
    return found
