"""Calling functions when a token is set, in a thread made for that.

1. A callback never runs in the thread that stops, nor in the one that registers.
2. Each runs at most once, and exactly one of "ran" and "cancelled" is true in the end.
3. The last registered is called first. One at a time: a callback that blocks delays only other callbacks.
4. There is no thread while there is nothing to wait for, and one thread for up to 127 words (the kernel
   waits for 128 at most, and one is the thread's bell). More tokens than that take more threads.
5. Registrations belong to the process that made them; a forked child has none of them.
"""

import itertools
import math
import threading
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Self

from stoppable.flags import slab, waiting
from stoppable.flags.token import StopToken
from stoppable.flags.words import Word

_MOST_WORDS = 127


class _State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    RAN = "ran"
    CANCELLED = "cancelled"


class Registration:
    """A function that is to be called when a token is set; `StopToken.on_stop` makes it.

    As a context manager it is cancelled on leaving, and a callback that is running by then is waited
    for (not by the callback itself), so that nothing of it happens after the block.
    """

    __slots__ = ("_desk", "_ended", "_fn", "_number", "_room", "_state", "_token")

    def __init__(self, desk: "_Desk", room: "_Room", number: int, token: StopToken, fn: Callable[[], object]) -> None:
        self._desk, self._room, self._number, self._token, self._fn = desk, room, number, token, fn
        self._state = _State.WAITING
        self._ended = threading.Lock()  # held while the callback runs

    def cancel(self) -> bool:
        """See to it that the function is not called; return whether that was still possible.

        False if it has run, runs just now, or was cancelled before. It does not wait.
        """
        if self._desk is not _desk:  # made before a fork, by the parent
            return False
        with self._desk.lock:
            if self._state is not _State.WAITING:
                return False
            self._state = _State.CANCELLED
            self._room.remove(self)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.cancel() or self._desk is not _desk:
            return
        if self._state is _State.RUNNING and self._room.thread is not threading.current_thread():
            with self._ended:
                pass

    def __repr__(self) -> str:
        return f"<Registration of {self._fn!r}: {self._state.value}>"

    def _begin(self) -> bool:
        with self._desk.lock:
            if self._state is not _State.WAITING:
                return False
            self._ended.acquire()
            self._state = _State.RUNNING
            self._room.remove(self)
        return True

    def _run(self) -> None:
        try:
            self._fn()
        except BaseException:  # a border: what a callback raises is nobody else's
            import logging

            logging.getLogger("stoppable").exception("a callback for the stop of %s raised", repr(self._token))
        finally:
            self._state = _State.RAN
            self._ended.release()


class _Desk:
    """What one process has registered. `lock` guards all of it, rooms too."""

    def __init__(self) -> None:
        # Taken again by the thread that has it when a signal handler cancels or registers.
        self.lock = threading.RLock()
        self.rooms: list[_Room] = []
        self.numbers = itertools.count()

    def register(self, token: StopToken, fn: Callable[[], object]) -> Registration:
        with self.lock:
            room = self._room_for(token)
            registration = Registration(self, room, next(self.numbers), token, fn)
            room.add(registration)
            try:
                room.start()
            except BaseException:
                room.remove(registration)
                raise
        return registration

    def _room_for(self, token: StopToken) -> "_Room":
        # All of one token's callbacks share a room, else their order would be lost.
        for room in self.rooms:
            if room.has(token):
                return room
        words = token._sources()
        for room in self.rooms:
            if room.has_space_for(words):
                return room
        room = _Room(self)
        self.rooms.append(room)
        return room


class _Room:
    """One thread, and the registrations it looks after. Everything but `_serve` is called with the desk's lock."""

    def __init__(self, desk: _Desk) -> None:
        self.desk = desk
        self.thread: threading.Thread | None = None
        self.waiting: dict[int, Registration] = {}
        self.tokens: Counter[StopToken] = Counter()
        self.words: dict[int, Word] = {}
        self.uses: Counter[int] = Counter()  # how many tokens have the word at an address
        self.bell = Word(bytearray(4), 0)

    def has(self, token: StopToken) -> bool:
        return token in self.tokens

    def has_space_for(self, words: list[Word]) -> bool:
        new = {word.address for word in words}.difference(self.words)
        return len(self.words) + len(new) <= _MOST_WORDS

    def add(self, registration: Registration) -> None:
        token = registration._token
        self.waiting[registration._number] = registration
        self.tokens[token] += 1
        if self.tokens[token] == 1:
            for word in token._sources():
                self.words.setdefault(word.address, word)
                self.uses[word.address] += 1
            self.bell.set_and_wake()

    def remove(self, registration: Registration) -> None:
        token = registration._token
        if self.waiting.pop(registration._number, None) is None:
            return
        self.tokens[token] -= 1
        if self.tokens[token]:
            return
        del self.tokens[token]
        for word in token._sources():
            self.uses[word.address] -= 1
            if not self.uses[word.address]:
                del self.uses[word.address], self.words[word.address]
        self.bell.set_and_wake()

    def start(self) -> None:
        if self.thread is None:
            thread = threading.Thread(target=self._serve, name="stoppable-callbacks", daemon=True)
            thread.start()
            self.thread = thread

    def _serve(self) -> None:
        while True:
            for registration in self._due():
                if registration._begin():
                    registration._run()
                del registration
            with self.desk.lock:
                # Cleared before the lists are read: whoever changes them after that rings again.
                self.bell.clear()
                if not self.waiting:
                    self.desk.rooms.remove(self)
                    return
                words = [*self.words.values(), self.bell]
                tokens = list(self.tokens)
            if not any(token.is_set() for token in tokens):
                until = min(token._deadline for token in tokens)
                del tokens
                waiting.wait_until(words, None if until == math.inf else until)
            del words

    def _due(self) -> list[Registration]:
        with self.desk.lock:
            tokens = {token for token in self.tokens if token.is_set()}
            return [reg for reg in reversed(list(self.waiting.values())) if reg._token in tokens]


def register(token: StopToken, fn: Callable[[], object]) -> Registration:
    """Have *fn* called when *token* is set; see `StopToken.on_stop`.

    Raises:
        TypeError: *fn* cannot be called.
        RuntimeError: no thread can be started.
    """
    if not callable(fn):
        raise TypeError(f"on_stop needs something to call, was given {fn!r}")
    return _desk.register(token, fn)


_desk = _Desk()


def _forked() -> None:
    global _desk
    _desk = _Desk()


slab.after_fork.append(_forked)
