"""What can be done about a system call that failed, for those failures that a limit or a sandbox causes."""

import errno

_ADVICE = {
    errno.EMFILE: "this process, or the warden, has as many files open as it may: raise the limit (ulimit -n)",
    errno.ENFILE: "the system has as many files open as it may (sysctl fs.file-max)",
    errno.EAGAIN: "no more processes may be started: raise the limit of the user (ulimit -u) or of the container (pids)",
    errno.ENOMEM: "there is no memory for one more process: raise the limit (ulimit -v, or the container's)",
    errno.ENOSPC: "the system has no room for more watches (sysctl fs.epoll.max_user_watches)",
    errno.ENOSYS: "the kernel is too old for it, or a sandbox (seccomp) forbids it; docs/platforms.md lists what is needed",
    errno.EPERM: "a sandbox (seccomp) may forbid it; docs/platforms.md lists what is needed",
}


STORM = """workers cannot be started: several in a row ended before they were ready. Their own messages are on stderr.
If this is a script, check that it makes its pool under `if __name__ == '__main__':`, since each worker imports it."""


_INHERITED = "with mp_context=multiprocessing.get_context('fork') they can be initargs, with a lock or queue of another context that one"


def advice(error: BaseException) -> str:
    """Return what to do about *error*, to be put behind its text; nothing if we do not know."""
    found = _ADVICE.get(error.errno or 0) if isinstance(error, OSError) else None
    if isinstance(error, RuntimeError) and "through inheritance" in str(error):
        found = _INHERITED  # multiprocessing's own words for its locks, queues and shared values
    return f" ({found})" if found else ""
