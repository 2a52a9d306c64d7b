"""System calls that fail on order: in a process and in all that it starts, whatever language makes the call.

How: seccomp(2) hands chosen calls to a supervisor, which lets each pass or has it fail. That is the kernel's own
border, so it also meets what Python does in C (starting a program, retrying after EINTR, closing what was
half opened) and what ctypes calls; patched functions of `os` would meet neither. It needs no root and no
program that is not there anyhow. Linux 5.6 and later.

Faults are `Fault(role, kind, number, ...)`: the number-th call of that kind in that role, counted from the
moment the scenario says "begin" (`tell`) to the moment it says "end".
"""

import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

_ARM = platform.machine() == "aarch64"
# By the tables of the kernel; -1: there is no such call on this processor.
_NUMBERS = {
    name: numbers[_ARM]
    for name, numbers in {
        "read": (0, 63),
        "write": (1, 64),
        "open": (2, -1),
        "openat": (257, 56),
        "poll": (7, -1),
        "ppoll": (271, 73),
        "mmap": (9, 222),
        "select": (23, -1),
        "pselect6": (270, 72),
        "dup": (32, 23),
        "sendto": (44, 206),
        "recvfrom": (45, 207),
        "sendmsg": (46, 211),
        "recvmsg": (47, 212),
        "socketpair": (53, 199),
        "clone": (56, 220),
        "fork": (57, -1),
        "vfork": (58, -1),
        "clone3": (435, 435),
        "execve": (59, 221),
        "wait4": (61, 260),
        "waitid": (247, 95),
        "kill": (62, 129),
        "fcntl": (72, 25),
        "ftruncate": (77, 46),
        "readlink": (89, -1),
        "readlinkat": (267, 78),
        "getdents64": (217, 61),
        "futex": (202, 98),
        "futex_waitv": (449, 449),
        "pidfd_getfd": (438, 438),
        "epoll_ctl": (233, 21),
        "epoll_create1": (291, 20),
        "epoll_wait": (232, -1),
        "epoll_pwait": (281, 22),
        "eventfd2": (290, 19),
        "pipe2": (293, 59),
        "memfd_create": (319, 279),
        "membarrier": (324, 283),
        "pidfd_open": (434, 434),
        "pidfd_send_signal": (424, 424),
        "setsid": (112, 157),
        "dup2": (33, -1),
        "dup3": (292, 24),
        "prctl": (157, 167),
    }.items()
}
_SECCOMP = 277 if _ARM else 317
_TELL = 7000  # no call of any kernel; only our supervisor answers it

_CLONE_THREAD, _MAP_SHARED, _MAP_STACK = 0x10000, 1, 0x20000
Test = Callable[[tuple[int, ...]], bool]

# What is one thing to a program, by whichever call its C library does it, with a test of the arguments.
KINDS: dict[str, dict[str, Test | None]] = {
    "send": {"sendto": None},
    "recv": {"recvfrom": None},
    "sendmsg": {"sendmsg": None},
    "recvmsg": {"recvmsg": None},
    "read": {"read": None},
    "write": {"write": None},
    "open": {"open": None, "openat": None},
    "list": {"getdents64": None},
    "link": {"readlink": None, "readlinkat": None},
    "fork": {"fork": None, "vfork": None, "clone": lambda args: not args[0] & _CLONE_THREAD},
    "thread": {"clone": lambda args: bool(args[0] & _CLONE_THREAD)},
    "exec": {"execve": None},
    "wait": {"wait4": None, "waitid": None},
    "kill": {"kill": None, "pidfd_send_signal": None},
    "pidfd": {"pidfd_open": None},
    "socketpair": {"socketpair": None},
    "eventfd": {"eventfd2": None},
    "pipe": {"pipe2": None},
    "dup": {"dup": None, "dup2": None, "dup3": None},
    "memfd": {"memfd_create": None},
    "truncate": {"ftruncate": None},
    "map": {"mmap": lambda args: bool(args[3] & _MAP_SHARED)},
    "epoll": {"epoll_create1": None, "epoll_ctl": lambda args: args[1] == 1},  # only to add takes memory
    "sleep": {"epoll_wait": None, "epoll_pwait": None, "poll": None, "ppoll": None, "select": None, "pselect6": None},
    "futex": {"futex": lambda args: args[1] == 9, "futex_waitv": None},  # our waits; those of threads are private
    "waitv": {"futex_waitv": None},
    "membarrier": {"membarrier": None},
}


class Fault(NamedTuple):
    """One call that fails, or all from one on.

    role: how far below the scenario's process the caller is: 0 itself, 1 its children, and so on.
    number: the first that fails, from 1; `last`: the last that fails (a large number: for ever).
    """

    role: int
    kind: str
    number: int
    error: int
    last: int


class _Program(ctypes.Structure):
    _fields_ = (("size", ctypes.c_ushort), ("filter", ctypes.c_void_p))


_libc = ctypes.CDLL(None, use_errno=True)
_NUMBER = struct.Struct("=i")


def _op(code: int, yes: int, no: int, k: int) -> bytes:
    return struct.pack("=HBBI", code, yes, no, k)


def _install(answers: dict[int, int], flags: int) -> int:
    """Have the kernel give the call of each number its answer (a SECCOMP_RET_ value), for this thread and below."""
    code = _op(0x20, 0, 0, 0)  # load the number
    for number, answer in answers.items():
        code += _op(0x15, 0, 1, number) + _op(0x06, 0, 0, answer)
    code += _op(0x06, 0, 0, 0x7FFF0000)  # allow
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    _libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, without which only root may
    done: int = _libc.syscall(_SECCOMP, 1, flags, ctypes.byref(program))
    if done < 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
    return done


def forbid(*names: str, error: int = errno.ENOSYS) -> None:
    """Have all these calls fail with *error* from now on, here and in all that is started from here."""
    _install({_NUMBERS[name]: 0x00050000 | error for name in names if _NUMBERS[name] >= 0}, 0)


def tell(what: int, number: int = 0) -> None:
    """Tell the supervisor something; nothing if there is none."""
    _libc.syscall(_TELL, ctypes.c_long(what), ctypes.c_long(number))


def submit_to(supervisor: socket.socket, kind: str) -> None:
    """Have the calls of *kind* decided by whoever holds the other end of *supervisor*, and calls `take_listener`."""
    # The next descriptor is the listener's. The supervisor takes it by itself: whatever this process did to hand it
    # over, in a thread that is not under the filter, say, may wait for a call of this thread that nobody answers yet
    # (with "futex", one that gives back Python's lock).
    listener = os.dup(supervisor.fileno())
    os.close(listener)
    supervisor.sendall(_NUMBER.pack(listener))
    answers = {_NUMBERS[name]: 0x7FC00000 for name in KINDS[kind] if _NUMBERS[name] >= 0}  # ask the supervisor
    answers[_TELL] = 0x7FC00000
    answers[_NUMBERS["clone3"]] = 0x00050000 | errno.ENOSYS  # its flags lie in memory; the older one's are arguments
    _install(answers, 8)
    supervisor.recv(1)
    os.close(listener)


def take_listener(submitted: socket.socket, pidfd: int) -> int:
    """Return the listener of the process that has called `submit_to` at the other end of *submitted*."""
    (number,) = _NUMBER.unpack(submitted.recv(_NUMBER.size))
    while (found := _libc.syscall(_NUMBERS["pidfd_getfd"], pidfd, number, 0)) < 0:
        if ctypes.get_errno() != errno.EBADF:
            raise OSError(ctypes.get_errno(), f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
        time.sleep(0.0005)  # the filter is not there yet
    submitted.sendall(b"k")
    return int(found)


class Call(NamedTuple):
    id: int
    tid: int
    number: int
    args: tuple[int, ...]


class Listener:
    """The supervisor's end."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def next(self) -> Call | None:
        """Return the next call, which waits for its answer; None if the caller is gone."""
        raw = ctypes.create_string_buffer(80)
        # Not by fcntl.ioctl, which goes on after a signal: see `sweep.main`.
        if _libc.ioctl(self.fd, ctypes.c_ulong(0xC0502100), raw) < 0:
            if ctypes.get_errno() in (errno.ENOENT, errno.EINTR):
                return None
            raise OSError(ctypes.get_errno(), "no call can be had")
        id, tid, _, number, _, _, *args = struct.unpack("=QIIiIQ6Q", raw)
        return Call(id, tid, number, tuple(args))

    def answer(self, call: Call, error: int | None) -> bool:
        """Have it fail with *error*, or pass for None; False if the caller did not wait for that."""
        # 1: go on with the call as if nobody had asked.
        raw = bytearray(struct.pack("=QqiI", call.id, 0, -(error or 0), 0 if error is not None else 1))
        try:
            fcntl.ioctl(self.fd, 0xC0182101, raw)
        except OSError:
            return False
        return True


def matcher(kind: str) -> Callable[[Call], bool]:
    """Return what says whether a call is of that kind."""
    tests = {_NUMBERS[name]: test for name, test in KINDS[kind].items() if _NUMBERS[name] >= 0}

    def matches(call: Call) -> bool:
        test = tests.get(call.number)
        return call.number in tests and (test is None or test(call.args))

    return matches


def told(call: Call) -> tuple[int, int] | None:
    """Return what a scenario tells, if the call is that."""
    return call.args[:2] if call.number == _TELL else None  # type: ignore[return-value]


class Roles:
    """Which role a thread has: how many processes are between it and *root*."""

    def __init__(self, root: int) -> None:
        self.known: dict[int, int] = {root: 0}

    def of(self, tid: int) -> int:
        role = self.known.get(tid)
        if role is None:
            group, parent = _facts(tid)
            role = self.known.get(group) if group != tid else None
            if role is None:
                role = self.of(parent) + 1 if parent > 1 else 99
            self.known[tid] = self.known[group] = role
        return role


def _facts(tid: int) -> tuple[int, int]:
    fields = {}
    try:
        with open(f"/proc/{tid}/status") as file:
            fields = dict(line.split(":", 1) for line in file)
    except OSError:
        pass
    return int(fields.get("Tgid", tid)), int(fields.get("PPid", 0))


def readable(*fds: int, timeout_s: float) -> set[int]:
    """Return those that can be read now or within *timeout_s*."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return {fd for fd, ready in poll.poll(max(0.0, timeout_s * 1000)) if ready & select.POLLIN}
