"""A process that holds tokens and does with them what it is told: `python tree_helper.py`, pickles on stdin and stdout.

`Place` is one such process seen from outside; `Hands` is what does the work, so that a test can be a place itself.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from stoppable.flags import StopToken, slab

HANG_S = 60.0
Look = tuple[bool, "str | None", "str | None"]  # is it set, of what kind is the reason, what does it say


class Hands:
    """Tokens by number, and what can be done with them."""

    def __init__(self) -> None:
        self.tokens: dict[int, StopToken] = {}
        self.waiting: dict[int, threading.Thread] = {}

    def make(self, number: int, above: list[int], timeout: "float | None") -> "float | None":
        """Make a token from those *above*, if any; return its deadline."""
        others = [self.tokens[each] for each in above]
        match others:
            case []:
                made = StopToken(timeout=timeout)
            case [one]:
                made = one.child(timeout=timeout)
            case _:
                made = StopToken.any_of(*others, timeout=timeout)
        self.tokens[number] = made
        return made.deadline

    def stop(self, number: int, message: str) -> bool:
        return self.tokens[number].stop(message)

    def send(self, numbers: list[int]) -> bytes:
        return pickle.dumps([(number, self.tokens[number]) for number in numbers])

    def take(self, raw: bytes) -> list[bool]:
        """Take what another has sent; tell for each whether it equals the copy that is here, if there is one."""
        return [self.tokens.setdefault(number, token) == token for number, token in pickle.loads(raw)]

    def drop(self, number: int) -> None:
        del self.tokens[number]

    def set_ones(self) -> list[int]:
        """Return those that read as set; asks for no reason, so decides none."""
        return [number for number, token in self.tokens.items() if token.is_set()]

    def look(self, number: int) -> Look:
        token = self.tokens[number]
        is_set = token.is_set()
        reason = token.reason
        return (is_set, None, None) if reason is None else (is_set, str(reason.kind), reason.message)

    def wait(self, number: int) -> None:
        """Have a thread wait for it."""
        thread = threading.Thread(target=self.tokens[number].wait, args=(HANG_S,), daemon=True)
        thread.start()
        self.waiting[number] = thread

    def woken(self, number: int) -> bool:
        """Tell whether that thread has been woken, within the time of a hang."""
        thread = self.waiting.pop(number)
        thread.join(HANG_S / 2)
        return not thread.is_alive()

    def in_a_fork(self, what: str, *args: Any) -> Any:
        """Have a forked child do it, which has inherited all tokens."""
        ear, mouth = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(mouth, pickle.dumps(getattr(self, what)(*args)))
            finally:
                os._exit(0)
        os.close(mouth)
        with os.fdopen(ear, "rb") as file:
            said = file.read()
        os.waitpid(pid, 0)
        return pickle.loads(said)

    def forget(self) -> None:
        """Drop all, and end all waiting."""
        for token in self.tokens.values():
            token.stop()
        for thread in self.waiting.values():
            thread.join(HANG_S)
        self.tokens.clear()
        self.waiting.clear()
        slab.trim()


class Place:
    """Such a process."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def __getattr__(self, what: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            pickle.dump((what, args, more), self.process.stdin)
            self.process.stdin.flush()
            said = pickle.load(self.process.stdout)
            if isinstance(said, BaseException):
                raise said
            return said

        return call

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.communicate()


def main(source: BinaryIO, out: BinaryIO) -> None:
    hands = Hands()
    while True:
        try:
            what, args, more = pickle.load(source)
        except EOFError:
            return
        try:
            said = getattr(hands, what)(*args, **more)
        except Exception as error:
            said = error
        pickle.dump(said, out)
        out.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
