"""Find what a test leaves behind: processes, threads, file descriptors, shared memory, files.

`snapshot()` before, `leftovers(before)` after: the names of all that is new, empty when nothing is.
It only looks; it ends and deletes nothing.

Whose process is it? Children are found by descent. A process whose parent died is found by a mark in
its environment (`MARK`, put there before any test runs), or, since a fork keeps the environment that
its parent was started with, by the place of its stack and arguments: chosen at random when a program
starts and kept by forks, so equal places are forks of one program.
"""

import contextlib
import gc
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "STOPPABLE_TEST_RUN"
SETTLE_S = 3.0
LEAST_LOOKS = 5
UNREST = 10  # times so long, and so many looks, may something else be there each time

# What Python and we put into /dev/shm; other programs may use it while the tests run.
_SHM = Path("/dev/shm")
_SHM_PREFIXES = ("psm_", "pym-", "sem.mp-", "stoppable", "sem.stoppable")
_LINUX = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is there at one moment. Processes are (pid, start time), so that a pid used again is a new one."""

    processes: frozenset[tuple[int, int]]
    threads: frozenset[threading.Thread]
    fds: frozenset[tuple[int, str]]
    files: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/<pid>/stat that are needed here."""

    name: str
    state: str
    ppid: int
    start: int
    # Addresses of code, stack, arguments and environment; all 0 for a zombie or another user's process.
    places: tuple[int, ...]


def snapshot(folders: Iterable[Path] = ()) -> Snapshot:
    """Return what there is now; *folders* are watched besides /dev/shm."""
    return Snapshot(
        processes=frozenset((pid, stat.start) for pid, stat in our_processes()),
        threads=frozenset(threading.enumerate()),
        fds=frozenset(_fds()),
        files=frozenset(_files(folders)),
    )


def leftovers(
    before: Snapshot,
    folders: Iterable[Path] = (),
    settle_s: float = SETTLE_S,
    tidy: Callable[[], None] = lambda: None,
) -> list[str]:
    """Return a line for each thing that is there now, was not *before*, and stays for *settle_s* seconds.

    *tidy* gives back what is only kept for the next use; it is called when something is there. Each look reads
    what the system says of all its processes: on a busy machine one may take all of the time, so there are some at least.
    What comes and goes (another program's files, say) is reported only if that does not end.
    """
    folders = tuple(folders)
    began = time.monotonic()
    there: dict[str, tuple[float, int]] = {}  # thing -> since when it is there, and how many looks have found it
    pause, total = 0.005, 0
    while True:
        now = time.monotonic()
        # Reaps the children of multiprocessing that have ended, so that they do not count as zombies.
        multiprocessing.active_children()
        found = {_thing(line): line for line in _compare(before, folders)}
        there = {thing: (since, looks + 1) for thing in found for since, looks in [there.get(thing, (now, 0))]}
        stays = [
            found[thing]
            for thing, (since, looks) in there.items()
            if time.monotonic() - since >= settle_s and looks >= LEAST_LOOKS
        ]
        if stays or not found:
            return stays
        total += 1
        if now - began >= UNREST * settle_s and total >= UNREST * LEAST_LOOKS:
            return [*found.values(), "(each time something else)"]
        # A queue's thread or a future's socket may live in a reference cycle; collecting ends it.
        gc.collect()
        tidy()
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def _thing(line: str) -> str:
    """Return what stays the same of a line while its process changes its state."""
    return line.partition(", state ")[0]


def our_processes() -> Iterator[tuple[int, Stat]]:
    """Yield every process that stems from this one, wherever it was reparented to, except known helpers."""
    if not _LINUX:
        return
    me = os.getpid()
    stats = {pid: stat for pid in _pids() if (stat := read_stat(pid)) is not None}
    own = stats[me]
    mark = os.environ.get(MARK)
    needle = f"{MARK}={mark}".encode() if mark else None
    known = _known_pids()
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.ppid, []).append(pid)
    family = set()
    todo = [me]
    while todo:
        for pid in children.get(todo.pop(), ()):
            family.add(pid)
            todo.append(pid)
    for pid, stat in stats.items():
        if pid == me or pid in known or stat.start < own.start:
            continue
        forked = any(stat.places) and stat.places == own.places
        if pid in family or forked or (needle is not None and needle in _read(pid, "environ").split(b"\0")):
            yield pid, stat


def read_stat(pid: int) -> Stat | None:
    """Return what the system says of process *pid*, or None if it is gone."""
    text = _read(pid, "stat").decode(errors="replace")
    if not text:
        return None
    # The name is in parentheses and may hold anything, also parentheses and spaces.
    head, _, tail = text.rpartition(")")
    name = head.partition("(")[2]
    fields = tail.split()
    # proc(5) counts from 1 and the state is its field 3: startcode 26, startstack 28, arg_start 48, env_start 50.
    places = tuple(int(fields[number - 3]) for number in (26, 28, 48, 50))
    return Stat(name, fields[0], int(fields[1]), int(fields[19]), places)


def _pids() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def _read(pid: int, name: str) -> bytes:
    # Without pathlib and buffers: this is read for every process of the machine, around every test.
    try:
        fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _compare(before: Snapshot, folders: tuple[Path, ...]) -> list[str]:
    found = []
    for pid, stat in our_processes():
        if (pid, stat.start) not in before.processes:
            found.append(f"process {pid} ({_command(pid) or stat.name}), state {stat.state}, parent {stat.ppid}")
    new = (thread for thread in threading.enumerate() if thread not in before.threads)
    found += [f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''}" for thread in new]
    known = _known_fds()
    found += [f"file descriptor {fd} -> {to}" for fd, to in _fds() if (fd, to) not in before.fds and fd not in known]
    found += [f"file {path}" for path in _files(folders) if path not in before.files and not _is_anothers(path)]
    return found


def _command(pid: int) -> str:
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()[:200]


def _fds() -> Iterator[tuple[int, str]]:
    if not _LINUX:
        return
    for name in os.listdir("/proc/self/fd"):
        # The one that reads the folder itself is closed by now.
        with contextlib.suppress(OSError):
            yield int(name), os.readlink(f"/proc/self/fd/{name}")


def _files(folders: Iterable[Path]) -> Iterator[str]:
    if _SHM.is_dir():
        for name in os.listdir(_SHM):
            if name.startswith(_SHM_PREFIXES):
                yield str(_SHM / name)
    known = _known_files()
    for folder in folders:
        for path in folder.rglob("*"):
            if not any(str(path).startswith(prefix) for prefix in known):
                yield str(path)


def _is_anothers(path: str) -> bool:
    """Tell whether shared memory at *path* is mapped by processes, and by none that stems from this one."""
    if not path.startswith(f"{_SHM}/"):
        return False
    try:
        number = os.stat(path).st_ino
    except OSError:
        return True
    ours = {os.getpid(), *(pid for pid, _ in our_processes())}
    # By inode: a named semaphore is made under another name, which is the one that its maker's map shows.
    line = re.compile(rb"^\S+ \S+ \S+ \S+ %d +/dev/shm/" % number, re.MULTILINE)
    users = {pid for pid in _pids() if line.search(_read(pid, "maps"))}
    return bool(users) and not users & ours


# The next three know what multiprocessing starts once for a process and keeps until its end. There is no
# public way to ask for these, hence the attributes; one that is renamed shows up as a leftover, by name.


def _known_pids() -> set[int]:
    tracker = getattr(multiprocessing.resource_tracker, "_resource_tracker", None)
    server = getattr(multiprocessing.forkserver, "_forkserver", None)
    pids = (getattr(tracker, "_pid", None), getattr(server, "_forkserver_pid", None))
    return {pid for pid in pids if pid is not None}


def _known_fds() -> set[int]:
    tracker = getattr(multiprocessing.resource_tracker, "_resource_tracker", None)
    server = getattr(multiprocessing.forkserver, "_forkserver", None)
    util = multiprocessing.util
    fds = (
        getattr(tracker, "_fd", None),
        getattr(server, "_forkserver_alive_fd", None),
        getattr(util, "_devnull_fd", None),
    )
    return {fd for fd in fds if fd is not None}


def _known_files() -> list[str]:
    config = getattr(multiprocessing.current_process(), "_config", {})
    folder = config.get("tempdir")
    return [folder] if folder else []
