"""Killed or interrupted at any instruction: behaviours 24 and 25."""

import ctypes
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

import flag_processes as ways
from stoppable.errors import StopRequested
from stoppable.flags import Event, StopToken

TIMES = 200


class Interrupted(BaseException):
    pass


def assert_usable(token: StopToken, others_reason: str) -> None:
    """Check that *token*, which somebody was stopping, reads, waits and stops as if nothing had happened."""
    was_set = token.is_set()
    assert token.wait(0) is was_set
    won = token.stop("mine")
    assert not (was_set and won)
    assert token.is_set()
    assert token.wait()
    assert token.reason is not None
    assert token.reason.message == ("mine" if won else others_reason)
    assert token.stop("again") is False
    with pytest.raises(StopRequested):
        token.check()


def use_for_ever(tokens: list[StopToken], event: Event) -> None:
    while True:
        for token in tokens:
            token.is_set()
            token.wait(0.0001)
            try:
                token.check()
            except StopRequested:
                pass
            token.stop("victim")
            event.set()
            event.clear()


@pytest.mark.slow
def test_a_process_killed_at_a_random_instant_harms_nobody() -> None:
    """Behaviour 24."""
    chance = random.Random(24)
    event, root = Event(), StopToken()
    for _ in range(TIMES):
        tokens = [StopToken() if number % 2 else root.child(timeout=1000) for number in range(12)]
        pid = os.fork()
        if pid == 0:
            use_for_ever(tokens, event)
            os._exit(0)
        time.sleep(chance.uniform(0, 0.005))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for token in tokens:
            assert_usable(token, "victim")
        event.clear()
        assert event.wait(0) is False
        event.set()
        assert event.wait() is True
    assert not root.is_set()


@contextmanager
def at_instruction(number: int, what: Callable[[], object]) -> Iterator[list[int]]:
    """Call *what* before the instruction with this *number* of the flag's own code; yield how many there were."""
    count = [0]

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if f"{os.sep}stoppable{os.sep}flags{os.sep}" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            count[0] += 1
            if count[0] == number:
                what()
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 delivers no opcode events unless a frame asked before
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)


def instructions_of(call: Callable[[StopToken], object]) -> int:
    token = StopToken().child(timeout=1000)
    with at_instruction(0, lambda: None) as count:
        call(token)
    assert count[0] > 20
    return count[0]


def stop_as_victim(token: StopToken) -> None:
    token.stop("victim")


@pytest.mark.slow
def test_a_process_killed_at_each_instruction_of_stop_harms_nobody() -> None:
    """Behaviour 24."""
    states = set()
    for number in itertools.count(1):
        token = StopToken().child(timeout=1000)
        pid = os.fork()
        if pid == 0:
            token.is_set()  # the first look in a forked child starts the watch of its parent
            with at_instruction(number, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                token.stop("victim")
            os._exit(0)
        ending = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert ending in (0, -signal.SIGKILL)
        if ending == 0:  # it has no more instructions than that
            break
        states.add(token.is_set())
        assert_usable(token, "victim")
    assert states == {False, True}


@pytest.mark.slow
def test_a_waiter_here_is_woken_whenever_the_stopper_is_killed_after_setting() -> None:
    """Behaviour 24."""
    token = StopToken()
    woken: list[bool] = []
    waiter = threading.Thread(target=lambda: woken.append(token.wait(ways.HANG_S)))
    waiter.start()
    pid = os.fork()
    if pid == 0:
        # Dies at the very instruction at which it first sees its own flag set.
        def die_when_set(frame: FrameType, event: str, arg: Any) -> Any:
            if token.is_set():
                os.kill(os.getpid(), signal.SIGKILL)
            frame.f_trace_opcodes = True
            return die_when_set

        sys.settrace(die_when_set)
        token.stop("victim")
        os._exit(0)
    os.waitpid(pid, 0)
    waiter.join()
    assert woken == [True]


@pytest.mark.slow
def test_an_exception_at_each_instruction_of_stop_leaves_the_token_right() -> None:
    """Behaviour 25."""

    def interrupt() -> None:
        raise Interrupted

    for number in range(1, instructions_of(stop_as_victim) + 1):
        token = StopToken().child(timeout=1000)
        with at_instruction(number, interrupt):
            try:
                token.stop("victim")
            except Interrupted:
                pass
        assert_usable(token, "victim")


def test_a_handler_that_stops_what_its_thread_is_stopping_leaves_one_reason() -> None:
    """Behaviours 2, 10: at each instruction of stop."""
    for number in range(1, instructions_of(stop_as_victim) + 1):
        token = StopToken().child(timeout=1000)
        won: list[tuple[bool, str | None]] = []

        def handler(token: StopToken = token, won: list[tuple[bool, str | None]] = won) -> None:
            sys.settrace(None)
            first = token.stop("handler")
            won.append((first, token.reason.message if token.reason else None))

        with at_instruction(number, handler):
            outer = token.stop("victim")
        [(inner, seen)] = won
        assert outer is not inner
        assert token.reason is not None
        assert token.reason.message == seen == ("victim" if outer else "handler")


@pytest.mark.slow
def test_an_exception_at_each_instruction_of_wait_leaves_the_flag_right() -> None:
    """Behaviour 25."""

    def interrupt() -> None:
        raise Interrupted

    def wait(token: StopToken) -> None:
        token.wait(0.0001)

    for number in range(1, instructions_of(wait) + 1):
        token = StopToken().child(timeout=1000)
        with at_instruction(number, interrupt):
            try:
                wait(token)
            except Interrupted:
                pass
        assert token.is_set() is False
        assert_usable(token, "nobody")


@pytest.mark.slow
def test_exceptions_thrown_into_a_thread_leave_the_answers_right() -> None:
    """Behaviour 25."""
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    event, token = Event(), StopToken(timeout=1000)
    caught, over = [0], threading.Event()

    def use() -> None:
        while not over.is_set():
            try:
                while not over.is_set():
                    event.is_set()
                    event.wait(0.0005)
                    token.is_set()
                    token.wait(0.0005)
            except Interrupted:
                caught[0] += 1

    thread = threading.Thread(target=use)
    thread.start()
    for number in range(TIMES):
        assert raise_in(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interrupted)) == 1
        ways.until(lambda number=number: caught[0] > number)
        assert not event.is_set()
        assert not token.is_set()
        event.set()
        assert event.is_set()
        assert event.wait(0)
        event.clear()
        assert not event.wait(0)
        assert not token.wait(0)
    over.set()
    thread.join()
    assert token.stop()
    assert token.is_set()
