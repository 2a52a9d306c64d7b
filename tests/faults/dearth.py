"""A program that uses a pool and a flag where something is lacking: `python dearth.py WHAT`.

It prints what came of it, one line a step. Each case is a process of its own: limits and filters stay for good.
"""

import ctypes
import multiprocessing
import os
import resource
import sys
import traceback
from collections.abc import Callable
from typing import Any

from stoppable import Event, ProcessPoolExecutor, StopToken
from tampering import forbid

BOUND_S = 60.0
_libc = ctypes.CDLL(None, use_errno=True)


def square(number: int) -> int:
    return number * number


def large(size: int) -> bytes:
    return bytes(size)


def attempt(what: str, call: Callable[[], Any]) -> None:
    """Print what *call* returns, or its error."""
    try:
        print(f"{what}: {call()}", flush=True)
    except Exception as error:
        print(f"{what}: {type(error).__name__}: {error}", flush=True)


def use_pool() -> Any:
    with ProcessPoolExecutor(2) as pool:
        return [pool.submit(square, n).result(BOUND_S) for n in (1, 2, 3)]


def use_flag() -> Any:
    event, token = Event(), StopToken()
    child = token.child(timeout=100)
    pid = os.fork()
    if pid == 0:
        os._exit(not (event.wait(BOUND_S) and child.wait(BOUND_S)))
    event.set()
    token.stop()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def use_both() -> None:
    attempt("pool", use_pool)
    attempt("flag", use_flag)


# --- what is lacking -----------------------------------------------------------------------------


def files_from_the_start() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for room in (1, 2, 4, 6, 8):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free() + room, most))
        attempt(f"pool {room}", use_pool)
        attempt(f"flag {room}", use_flag)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attempt("afterwards", use_pool)


def lowest_free() -> int:
    fd = os.dup(0)
    os.close(fd)
    return fd


def files_in_the_middle() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ProcessPoolExecutor(4) as pool:
        attempt("before", pool.submit(square, 3).result)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free() + 1, most))
        tasks = [pool.submit(square, n) for n in range(8)]
        attempt("meanwhile", lambda: [task.result(BOUND_S) for task in tasks])
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        attempt("afterwards", lambda: pool.submit(square, 5).result(BOUND_S))


def processes() -> None:
    use_pool()  # so that all is loaded: who is root no more may be unable to read it
    if os.getuid() == 0:
        os.setuid(65534)  # no limit of processes binds root
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    attempt("pool", use_pool)


def memory() -> None:
    with ProcessPoolExecutor(1) as pool:
        attempt("before", pool.submit(square, 3).result)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (50 << 20),) * 2)
        attempt("large", lambda: len(pool.submit(large, 200 << 20).result(BOUND_S)))
        attempt("afterwards", lambda: pool.submit(square, 5).result(BOUND_S))


def calls(*names: str) -> None:
    forbid(*names)
    use_both()


def executable(path: str) -> None:
    multiprocessing.set_executable(path)
    attempt("pool", use_pool)


def folders() -> None:
    """No home, no temp folder, nothing below /dev/shm; all read-only, the working folder too, where that is permitted."""
    os.environ["HOME"] = os.environ["TMPDIR"] = os.environ["XDG_RUNTIME_DIR"] = "/nowhere"
    os.chdir("/")
    if namespace():
        _libc.mount(b"none", b"/", None, 0x1021, None)  # MS_REMOUNT|MS_BIND|MS_RDONLY
        _libc.mount(b"none", b"/dev/shm", b"tmpfs", 1, None)  # empty, and read-only
    sys.addaudithook(_watch)
    use_both()


def full() -> None:
    """Not a byte is left below /dev/shm or in the temp folder."""
    os.environ["TMPDIR"] = "/dev/shm"
    if namespace() and _libc.mount(b"none", b"/dev/shm", b"tmpfs", 0, b"size=4096") == 0:
        with open("/dev/shm/all", "wb") as file:
            file.write(bytes(4096))
        try:
            with open("/dev/shm/more", "wb") as file:
                file.write(bytes(1))
        except OSError as error:
            print(f"a byte more: {error.strerror}", flush=True)
    use_both()


def _watch(event: str, args: tuple[Any, ...]) -> None:
    writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes and isinstance(args[0], str) and not args[0].startswith("/proc/"):
        print(f"opened for writing: {args[0]}", flush=True)


def no_proc() -> None:
    if namespace() and _libc.mount(b"none", b"/proc", b"tmpfs", 0, None) == 0:
        use_both()
        return
    exists = os.path.exists
    os.path.exists = lambda path: not str(path).startswith("/proc") and exists(path)
    use_both()


def namespace() -> bool:
    """Take mounts of our own; False where that is not permitted."""
    flags = 0x20000 if os.getuid() == 0 else 0x10020000  # CLONE_NEWNS, with CLONE_NEWUSER for all but root
    if _libc.unshare(flags):
        return False
    return bool(_libc.mount(None, b"/", None, 0x44000, None) == 0)  # MS_REC|MS_PRIVATE


CASES: dict[str, Callable[[], None]] = {
    "files from the start": files_from_the_start,
    "files in the middle": files_in_the_middle,
    "processes": processes,
    "memory": memory,
    "no pidfd": lambda: calls("pidfd_open", "pidfd_send_signal"),
    "no membarrier": lambda: calls("membarrier"),
    "no futex_waitv": lambda: calls("futex_waitv"),
    "no memfd": lambda: calls("memfd_create"),
    "executable that fails": lambda: executable("/bin/false"),
    "executable that is not there": lambda: executable("/nowhere/python"),
    "folders": folders,
    "full": full,
    "no /proc": no_proc,
}

if __name__ == "__main__":
    try:
        CASES[sys.argv[1]]()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
