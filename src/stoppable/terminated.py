"""What a signal such as SIGTERM raises in the main thread, and how the process then ends by that signal.

A supervisor reads from the status how a program ended. One that was sent SIGTERM and cleaned up should
end *by* SIGTERM: a shell shows 143, and systemd takes it for a clean stop, while it takes the exit status
143 for a failure. So the signal is raised once more, with its default action, when all else is done.
"""

import signal
import sys


class Terminated(SystemExit):
    """Raised in the main thread when a signal asks the program to end; see `install_signal_handlers`.

    It is a SystemExit: it passes `except Exception`, `with` and `finally` blocks run, no traceback is printed.
    If nothing catches it, the process ends by the signal. Who catches it may end the program otherwise.

    Attributes:
        signal: the signal.
        code: the status that a shell shows for it, such as 143.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)

    def __str__(self) -> str:
        return self.signal.name

    # The interpreter reads it when this has ended the program, and then nobody is above: nothing else tells.
    @property
    def code(self) -> int:  # type: ignore[override]
        if sys._getframe().f_back is None:
            end_by(self.signal)
        return 128 + self.signal


def end_by(number: int) -> None:
    """Have this process end by the signal *number*, when Python has done everything it does at its end.

    Not by `atexit`: functions that were registered before would not run. Where there is no such C function,
    or for the first process of a container, which no default action ends, its exit status stays what it is.
    """
    import ctypes

    try:
        libc = ctypes.CDLL(None)
        function, at_exit = getattr(libc, "raise"), libc.__cxa_atexit
    except (AttributeError, OSError, TypeError):
        return
    # C calls `raise(number)` last of all; Python has by then put back the default actions.
    at_exit(ctypes.cast(function, ctypes.c_void_p), ctypes.c_void_p(number), None)
