"""A program on a terminal of its own, where Ctrl-C can be pressed."""

import os
import pty
import select
import signal
import sys
import time
from types import ModuleType

CTRL_C = b"\x03"


class Terminal:
    """The program that is the module *program*, run with *args*, and what it has written there."""

    def __init__(self, program: ModuleType, *args: str) -> None:
        self.text = ""
        self.status: int | None = None
        path = os.pathsep.join(sys.path)
        command = [sys.executable, str(program.__file__), *args]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["PYTHONPATH"] = path
            os.environ["NO_COLOR"] = "1"
            os.execv(command[0], command)

    def expect(self, text: str, bound_s: float = 30) -> None:
        end = time.monotonic() + bound_s
        while text not in self.text:
            assert time.monotonic() < end, f"no {text!r} within {bound_s} s in {self.text!r}"
            assert self._read() or text in self.text, f"ended without {text!r}: {self.text!r}"

    def _read(self, wait_s: float = 0.1) -> bool:
        if not select.select([self.fd], [], [], wait_s)[0]:
            return True
        try:
            self.text += os.read(self.fd, 4096).decode(errors="replace").replace("\r", "")
        except OSError:  # EIO: nobody has the other end any more
            return False
        return True

    def press(self, heard: str = "press 1") -> None:
        """Press Ctrl-C until the program has heard it, and has written *heard* for that.

        Python can miss a signal that comes just before a lock begins to sleep: then nobody has heard the press.
        """
        for _ in range(10):
            os.write(self.fd, CTRL_C)
            end = time.monotonic() + 3
            while time.monotonic() < end and self._read():
                if heard in self.text:
                    return
        raise AssertionError(f"no {heard!r} in {self.text!r}")

    def hold(self, for_s: float, every_s: float) -> None:
        """Hold Ctrl-C down so long, or until the program has ended."""
        end = time.monotonic() + for_s
        going = True
        while going and time.monotonic() < end:
            os.write(self.fd, CTRL_C)
            again = time.monotonic() + every_s
            while going and time.monotonic() < again:
                going = self._read(max(0.0, again - time.monotonic()))

    def end(self, bound_s: float = 30) -> int:
        """Wait for the program's end; return its status as a shell shows it."""
        end = time.monotonic() + bound_s
        while self._read():
            assert time.monotonic() < end, f"it has not ended: {self.text!r}"
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.status = code if code >= 0 else 128 - code
        return self.status

    def close(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
