"""Where shared memory comes from, and how another process finds it. Knows nothing of what is in it.

Linux: a memfd, found as /proc/<owner>/fd/<number>. It has no name anywhere, so there is nothing to
remove after a SIGKILL: the kernel frees it with its last user. Elsewhere: a file in a private
folder, removed by its owner when done, and by the next program that starts if the owner was killed.

Only processes of the same user can attach, and not to an owner that made itself undumpable
(PR_SET_DUMPABLE): its memory looks gone, so its flags read set, kind orphan.
"""

import atexit
import errno
import mmap
import os
import sys
from typing import NamedTuple

from stoppable.flags import kernel, linux
from stoppable.flags.process import Process, is_alive

_NAME = "stoppable"


class Place(NamedTuple):
    """Where to find some memory: the owner's file descriptor (or -1), or the path of a file (or '')."""

    owner: Process
    fd: int
    path: str


def create(owner: Process, nonce: bytes, size_bytes: int) -> tuple[mmap.mmap, Place]:
    """Return new zeroed memory, shared, and where others find it.

    Raises:
        OSError: the system has no more memory or no more file descriptors.
    """
    fd = _new_memfd()
    path = _new_file(owner, nonce) if fd < 0 else ""
    if path:
        fd = os.open(path, _FLAGS | _NOFOLLOW | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(fd, size_bytes)
        memory = _map(fd, size_bytes)
    except BaseException:
        os.close(fd)
        if path:
            _remove(path)
        raise
    if path:
        os.close(fd)
    return memory, Place(owner, -1 if path else fd, path)


def attach(place: Place, size_bytes: int) -> mmap.mmap | None:
    """Return the memory at *place*, or None if it is not there any more or not ours to use.

    Raises:
        OSError: this process has no more memory or no more file descriptors. The memory may well be there.
    """
    path, flags = place.path, _FLAGS | _NOFOLLOW
    if not path:
        flags = _FLAGS  # what lies in /proc is a link
        path = f"/proc/{place.owner.pid}/fd/{place.fd}"
        try:
            # The number may be something else by now: opening a terminal or a tape can have effects.
            if not os.readlink(path).startswith(f"/memfd:{_NAME}"):
                return None
        except OSError as error:
            if error.errno in _OURS:
                raise
            return None
    try:
        fd = os.open(path, flags)
    except OSError as error:
        if error.errno in _OURS:
            raise
        return None
    try:
        return _map(fd, size_bytes) if os.fstat(fd).st_size == size_bytes else None
    except ValueError:
        return None
    finally:
        os.close(fd)


def drop(place: Place) -> None:
    """As the owner, make the memory at *place* impossible to find; those who have it mapped keep it."""
    if place.path:
        _remove(place.path)
        _files.discard(place.path)
    elif _is_memfd(place.fd):
        os.close(place.fd)


_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # they speak of us: the memory may well be there


def _new_memfd() -> int:
    """Return a new memfd, or -1 where there is none, or where others could not find it."""
    if kernel.PORTABLE or sys.platform != "linux" or not os.path.exists("/proc/self/fd"):
        return -1
    try:
        return linux.memfd(_NAME)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL):
            raise
    return -1


def _map(fd: int, size_bytes: int) -> mmap.mmap:
    if sys.platform == "linux" and linux.works():
        return linux.map_shared(fd, size_bytes)
    return mmap.mmap(fd, size_bytes)


def _is_memfd(fd: int) -> bool:
    # A program that closes all its descriptors (a daemon does) may use our number for its own file.
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith(f"/memfd:{_NAME}")
    except OSError:
        return False


# --- files, where there is no memfd ----------------------------------------------------------

_files: set[str] = set()  # made by this process and still there; a forked child forgets them
_swept = False


def after_fork() -> None:
    """Forget the files of the parent: they are not this process's to remove."""
    global _swept
    _files.clear()
    # A child of multiprocessing forgets its parent's finalizers, so it needs its own.
    _swept = False


def _new_file(owner: Process, nonce: bytes) -> str:
    global _swept
    from stoppable.flags import private_dir

    if not _swept:
        _swept = True
        sweep()
        _remove_at_exit()
    path = private_dir.path(f"{owner.pid}-{owner.start}-{nonce.hex()}")
    _files.add(path)
    return path


def sweep() -> int:
    """Remove the files of processes that have ended; return how many there were."""
    from stoppable.flags import private_dir

    removed = 0
    for name in os.listdir(private_dir.folder()):
        pid, _, rest = name.partition("-")
        start = rest.partition("-")[0]
        if pid.isdigit() and start.isdigit() and not is_alive(Process(int(pid), int(start))):
            removed += _remove(private_dir.path(name))
    return removed


def _remove_at_exit() -> None:
    atexit.register(_remove_all)
    # A multiprocessing child leaves by os._exit, with these finalizers run and atexit not.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _remove_all, exitpriority=-100)


def _remove_all() -> None:
    while _files:
        _remove(_files.pop())


def _remove(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:  # gone already; or, on Windows, still mapped: the next sweep takes it
        return False
    return True
