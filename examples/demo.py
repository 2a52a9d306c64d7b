"""What `make demo` shows: the tutorial's programs, then a grading run, then that nothing is left.

    python examples/demo.py

All times printed were measured in this run. The exit status is 1 if one of the claims failed.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO, NamedTuple

HERE = Path(__file__).parent
MARK = "STOPPABLE_DEMO"  # an environment variable that every process of this demo inherits
LIMIT_S = 60.0
SETTLE_S = 3.0


class Run(NamedTuple):
    """One program: its lines with the seconds when they came, how long it took, how it ended."""

    lines: list[tuple[float, str]]
    seconds: float
    status: int

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)


class Demo:
    """Runs programs, keeps the claims, and prints both."""

    def __init__(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="stoppable-demo-"))
        self.temp = self.scratch / "tmp"  # all that our programs put into the temp folder lands here
        self.temp.mkdir()
        self.mark = f"{MARK}={secrets.token_hex(8)}"
        self.shared_memory = shared_memory()
        self.wrong = 0

    def claim(self, text: str, holds: bool) -> None:
        self.wrong += not holds
        print(f"  {'yes' if holds else 'NO '}  {text}", flush=True)

    def run(self, *command: str | Path, tell: Callable[[float, str], None] | None = None) -> Run:
        """Run a Python program to its end; *tell* is called with each line as it comes, and its time."""
        name, _, value = self.mark.partition("=")
        started = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-u", *command],
            env={**os.environ, name: value, "TMPDIR": str(self.temp)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        lines: list[tuple[float, str]] = []

        def follow(stream: IO[str]) -> None:
            with stream:
                for line in stream:
                    lines.append((time.monotonic() - started, line.rstrip("\n")))
                    if tell:
                        tell(*lines[-1])

        # Two pipes and not one, in which lines of both streams can be mixed up. Daemons, since a process
        # that is left over would keep the pipes open.
        assert child.stdout is not None
        assert child.stderr is not None
        readers = [Thread(target=follow, args=(stream,), daemon=True) for stream in (child.stdout, child.stderr)]
        for reader in readers:
            reader.start()
        try:
            status = child.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            status = child.wait()
        took = time.monotonic() - started
        for reader in readers:
            reader.join(SETTLE_S)
        return Run(lines, took, status)

    def processes(self) -> list[str]:
        """Return the processes that carry our mark, each as its id and command line."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found.append(f"{folder.name} {command[:90]}")
            except OSError:
                continue  # it has ended, or is another user's
        return found


def main() -> int:
    if not Path("/proc/self/environ").exists():
        print("The demo looks for leftover processes in /proc, so it needs Linux. The examples run anywhere.")
        return 1
    demo = Demo()
    try:
        tutorial(demo)
        grading(demo)
        leftovers(demo)
    finally:
        shutil.rmtree(demo.scratch)
    print("\nEverything was as claimed." if not demo.wrong else f"\n{demo.wrong} claims FAILED.")
    return 1 if demo.wrong else 0


def tutorial(demo: Demo) -> None:
    # The ten seconds of the standard executor pass while the other programs run.
    stock: list[Run] = []
    copy = demo.scratch / "stock_cancel.py"
    source = (HERE / "tutorial_cancel.py").read_text()
    copy.write_text(source.replace("from stoppable import", "from concurrent.futures import"))
    behind = Thread(target=lambda: stock.append(demo.run(copy)))
    behind.start()

    title("A task of ten seconds is cancelled after two: tutorial_cancel.py")
    print("  (the same with the standard executor runs in the background meanwhile)")
    cancel = demo.run(HERE / "tutorial_cancel.py", tell=show)
    title("A flag of multiprocessing.Manager stops it: tutorial_manager.py")
    manager = demo.run(HERE / "tutorial_manager.py", tell=show)
    title("stoppable.Event stops it, with no server process: tutorial_event.py")
    event = demo.run(HERE / "tutorial_event.py", tell=show)
    title("The same Event in the standard executor: tutorial_event.py --stock")
    event_stock = demo.run(HERE / "tutorial_event.py", "--stock", tell=show)
    title("tutorial_cancel.py with the standard executor, run in the background")
    behind.join()
    for at, line in stock[0].lines:
        show(at, line)

    title("Measured just now, from the start of each program to its end")
    print(f"  {stock[0].seconds:5.1f} s  cancel(), standard executor")
    print(f"  {cancel.seconds:5.1f} s  cancel(), stoppable")
    print(f"  {manager.seconds:5.1f} s  Manager().Event(), stoppable")
    print(f"  {event.seconds:5.1f} s  stoppable.Event(), stoppable")
    print(f"  {event_stock.seconds:5.1f} s  stoppable.Event(), standard executor")
    runs = [stock[0], cancel, manager, event, event_stock]
    demo.claim("each of the five ended well", all(run.status == 0 for run in runs))
    demo.claim("the standard executor's cancel() had no effect: the task took its ten seconds", stock[0].seconds >= 10)
    demo.claim("ours ended the task, as did each of the flags", all(run.seconds < 8 for run in runs[1:]))
    demo.claim("the flag let the task clean up", all("cleaned up" in run.text for run in (event, event_stock)))


def grading(demo: Demo) -> None:
    title("A folder of students' files is graded, four of which never end: grading.py")
    run = demo.run(HERE / "grading.py", tell=lambda _, line: print(f"  {line}", flush=True))
    four = run.text.count("out of time: stopped by") == 4
    demo.claim("exactly four ran out of time, every other one has its result", four and run.status == 0)


def leftovers(demo: Demo) -> None:
    title("What is left of all that")
    end = time.monotonic() + SETTLE_S
    while (processes := demo.processes()) and time.monotonic() < end:
        time.sleep(0.05)
    demo.claim("no process" + "".join(f"\n         {line}" for line in processes), not processes)
    files = sorted(str(path.relative_to(demo.temp)) for path in demo.temp.rglob("*"))
    demo.claim("no file in the temp folder" + "".join(f"\n         {name}" for name in files), not files)
    # Our processes are gone, so what one still uses is not ours. Looked at twice: others come and go meanwhile.
    shared = sorted((shared_memory() & shared_memory()) - demo.shared_memory)
    demo.claim("nothing in /dev/shm" + "".join(f"\n         {name}" for name in shared), not shared)


def shared_memory() -> set[str]:
    """Return the shared memory of Python and of ours that no living process uses: what somebody left."""
    used = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            used |= {line.split()[4] for line in maps.read_text().splitlines() if "/dev/shm/" in line}
        except OSError:
            continue  # it has ended, or is another user's
    found = {}
    for path in Path("/dev/shm").glob("*"):
        if path.name.startswith(("psm_", "sem.", "stoppable")):
            with suppress(FileNotFoundError):  # somebody has just removed it
                found[path.name] = str(path.stat().st_ino)
    return {name for name, inode in found.items() if inode not in used}


def title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def show(at: float, line: str) -> None:
    print(f"  {at:5.1f} s  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
