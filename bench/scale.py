"""Queue very many tasks on very many workers, and say what that costs: time, memory, and the way out.

    python bench/scale.py                        a million no-ops, 500 workers   (or: make scale)
    python bench/scale.py --tasks 50_000 --workers 50
    python bench/scale.py --simulate             the pure machine, up to a million tasks and 10,000 workers

All workers are held while the tasks are submitted, so that every task is queued when the memory is looked at. It
exits with 1 if a worker is missing, a task did not come to its end, nothing has moved for --patience seconds, or a
process is left; and with 2, before it begins, if the limits of this shell are too small.

--simulate has no processes: it feeds the machine its events and divides the time by the steps, in four sizes that
each have ten times what the one before has. The cost of a step should not grow with the size; what grows a little is
the time that a processor takes to find a task in its memory.
"""

import argparse
import ctypes
import gc
import logging
import os
import platform
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import work

import stoppable
from stoppable import Event, ProcessPoolExecutor, Statistics
from stoppable.core import events as ev
from stoppable.core.ladder import StopPolicy
from stoppable.core.machine import Machine
from stoppable.shell import tree

REAL, PURE = (1_000_000, 500), (1_000_000, 10_000)  # tasks, workers
# Beside one descriptor and one process for each worker: the pool's own, and the ends of sockets on their way to a worker.
MORE_FDS, MORE_PROCESSES = 48, 8


class Wrong(Exception):
    """What was to be shown is not so; its text says what is."""


# --- looking -------------------------------------------------------------------------------------


def memory_kb(pid: int | str, field: str) -> int:
    """Return a field of the status of a process, "VmRSS" or "VmHWM" (its peak); 0 if it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    return 0


def settled_kb() -> int:
    """Return this process's memory once what was freed is given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return memory_kb("self", "VmRSS")


def alive(pids: list[int]) -> int:
    """Return how many of *pids* are processes that have not ended."""
    found = 0
    for pid in pids:
        with suppress(OSError):
            found += Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    return found


def mine() -> int:
    """Return how many processes and threads this user has, as RLIMIT_NPROC counts them."""
    found = 0
    for each in Path("/proc").iterdir():
        with suppress(OSError):
            if each.name.isdigit() and each.stat().st_uid == os.getuid():
                found += len(os.listdir(each / "task"))
    return found


def too_small(workers: int) -> list[str]:
    """Return a line for each limit of this process that so many workers do not fit into."""
    found = []
    fds, most = len(os.listdir("/proc/self/fd")) + workers + MORE_FDS, resource.getrlimit(resource.RLIMIT_NOFILE)
    if fds > most[0]:
        where = "" if most[1] >= fds or most[1] < 0 else f", which needs a hard limit above {most[1]}"
        text = f"{workers} workers need {fds} file descriptors, one each, and this process may have {most[0]}: "
        found.append(f"{text}`ulimit -n {fds}`{where}, or fewer --workers")
    processes, most = mine() + workers + MORE_PROCESSES, resource.getrlimit(resource.RLIMIT_NPROC)
    if processes > most[0] >= 0 and os.geteuid() != 0:  # root is not counted
        text = f"{workers} workers need {processes} processes with those that are there, and this user may have {most[0]}: "
        found.append(f"{text}`ulimit -u {processes}`, or fewer --workers")
    return found


class Watch:
    """Wait for something to be so, show how far it is, and give up when nothing moves."""

    def __init__(self, pool: ProcessPoolExecutor, patience_s: float) -> None:
        self.pool, self.patience_s = pool, patience_s

    def until(self, what: str, goal: int, count: Callable[[Statistics], int]) -> float:
        """Return the seconds until *count* of the pool's numbers is *goal*."""
        begun = shown = moved = time.monotonic()
        last = -1
        while True:
            numbers = self.pool.statistics()
            there, now = count(numbers), time.monotonic()
            if there >= goal:
                self.show(what, there, goal, now - begun, "\n" if now - begun > 1 else "")
                return now - begun
            if there != last:
                last, moved = there, now
            if now - moved > self.patience_s:
                text = f"{what}: {there:,} of {goal:,} for {self.patience_s:g} s, and nothing moves; {numbers}"
                raise Wrong(f"{text}; {alive(self.pool.workers())} workers alive")
            if now - shown >= 1:
                self.show(what, there, goal, now - begun)
                shown = now
            time.sleep(0.02)

    def show(self, what: str, there: int, goal: int, seconds: float, end: str = "") -> None:
        """Say how far it is: in one line of a terminal, in a line each otherwise."""
        if not sys.stderr.isatty():
            end = "\n" if end or not seconds % 5 >= 1 else ""
            if end:
                print(f"  {what}: {there:,} of {goal:,} after {seconds:.0f} s", file=sys.stderr, flush=True)
            return
        print(f"\r  {what}: {there:,} of {goal:,} after {seconds:.0f} s", end=end, file=sys.stderr, flush=True)


def ended(now: Statistics) -> int:
    """Return how many tasks have ended."""
    return now.submitted - now.pending - now.running


# --- the real pool -------------------------------------------------------------------------------


def say(name: str, value: str) -> None:
    print(f"{name:44} {value}", flush=True)


def real(tasks: int, workers: int, patience_s: float) -> None:
    """Run so many no-ops on so many workers; print what it costs.

    Raises:
        Wrong: something was not as it has to be.
    """
    pool = ProcessPoolExecutor(workers)
    try:
        run(pool, tasks, workers, Watch(pool, patience_s))
    except BaseException:
        pool.kill_workers()
        raise
    begun = time.monotonic()
    pool.shutdown()
    say("shutdown", f"{time.monotonic() - begun:.2f} s")
    left = tree.descendants(os.getpid())
    if left:
        raise Wrong(f"{len(left)} processes are left after the shutdown: {sorted(left)[:10]}")


def run(pool: ProcessPoolExecutor, tasks: int, workers: int, watch: Watch) -> None:
    go = Event()
    before_kb = settled_kb()
    held = [pool.submit(go.wait) for _ in range(max(1, workers - 1))]
    sleepers = [pool.submit(stoppable.sleep, 10.0**6)] if workers > 1 else []  # with one worker, nothing would run
    took_s = watch.until("workers at work", workers, lambda now: now.running)
    say("until all workers are at work", f"{took_s:.2f} s, {took_s / workers * 1000:.1f} ms each")
    with_workers_kb = settled_kb()
    say("the parent's memory for each worker", f"{(with_workers_kb - before_kb) / workers:.1f} kB")
    begun, cpu = time.monotonic(), time.process_time()
    futures = []
    for number in range(tasks):
        futures.append(pool.submit(work.noop))
        if number % 10_000 == 0 and time.monotonic() - begun > 1:
            watch.show("submitted", number, tasks, time.monotonic() - begun)
    took_s = time.monotonic() - begun
    say("submit", f"{took_s:.2f} s, {took_s / tasks * 1e6:.1f} us each")
    late_s = watch.until("queued", tasks + workers, lambda now: now.submitted)
    cpu_s = time.process_time() - cpu
    say("until the machine has all of them", f"{late_s:.2f} s more; {cpu_s / tasks * 1e6:.1f} us of CPU each in all")
    pending = pool.statistics().pending
    queued_kb = settled_kb()
    say("the parent's memory for each queued task", f"{(queued_kb - with_workers_kb) * 1024 / tasks:.0f} bytes")
    if pending != tasks:
        raise Wrong(f"{pending:,} of {tasks:,} tasks are pending while all workers are held")
    there = pool.workers()
    say("workers alive", f"{alive(there)}, of which one may be a spare")
    if alive(there) < workers:
        raise Wrong(f"{alive(there)} workers are alive, not {workers}")
    cpu = time.process_time()
    go.set()
    begun = time.monotonic()
    if sleepers:
        watch.until("done", tasks // 2, ended)
        asked = time.monotonic()
        sleepers[0].stop()
        wait(sleepers, watch.patience_s)
        say(
            "a stop, when half of them are done", f"{(time.monotonic() - asked) * 1000:.0f} ms until its task has ended"
        )
    watch.until("done", tasks + workers, ended)
    took_s = time.monotonic() - begun
    say("until all are done", f"{took_s:.2f} s, {tasks / took_s:,.0f} tasks a second")
    say("the parent's CPU for each", f"{(time.process_time() - cpu) / tasks * 1e6:.1f} us")
    numbers = pool.statistics()
    bad = sum(not future.done() or future.exception() is not None for future in [*held, *futures])
    stopped = [future.stopped() for future in sleepers]
    if bad or numbers.returned != tasks + len(held) or not all(stopped):
        raise Wrong(f"{bad:,} futures have no value; stopped, as was asked: {stopped}; {numbers}")
    say("workers alive, and ever started", f"{alive(pool.workers())}, {numbers.workers_started}")
    say(
        "the parent's memory, at its peak and now",
        f"{memory_kb('self', 'VmHWM') // 1024} MB, {settled_kb() // 1024} MB",
    )
    wardens = [pid for pid in tree.children(os.getpid()) if pid not in pool.workers()]
    say("the warden's memory at its peak", f"{max(memory_kb(pid, 'VmHWM') for pid in wardens) // 1024} MB")


# --- the pure machine ----------------------------------------------------------------------------


class World:
    """Workers that boot at once, take their tasks in order and leave when told to; all in memory."""

    def __init__(self, workers: int) -> None:
        self.machine = Machine(workers)
        self.booting: deque[ev.WorkerId] = deque()
        self.lines: dict[ev.WorkerId, deque[ev.TaskId]] = {}
        self.busy: deque[ev.WorkerId] = deque()  # each with a task in its line has its turn
        self.ended = 0

    def feed(self, event: ev.Event) -> float:
        """Step *event* and what follows from it at once; return the seconds of CPU that the first step took."""
        begun = time.thread_time()
        actions = self.machine.step(event, 0.0)
        took_s = time.thread_time() - begun
        for action in actions:
            answer = self.do(action)
            if answer is not None:
                self.feed(answer)
        return took_s

    def do(self, action: ev.Action) -> ev.Event | None:
        """Do *action*; return what it is answered with."""
        match action:
            case ev.Spawn(worker):
                self.booting.append(worker)
                self.lines[worker] = deque()
            case ev.Send(worker, task):
                if not self.lines[worker]:
                    self.busy.append(worker)
                self.lines[worker].append(task)
            case ev.Recall(worker, task):
                if self.lines[worker][0] == task:
                    return ev.Claimed(worker, task)
                self.lines[worker].remove(task)
                return ev.Recalled(worker, task)
            case ev.Retire(worker):
                return ev.Exited(worker, None)
            case ev.Resolve():
                self.ended += 1
            case _:
                pass
        return None

    def answer(self) -> float:
        """Have the next worker end its task."""
        worker = self.busy.popleft()
        line = self.lines[worker]
        task = line.popleft()
        if line:
            self.busy.append(worker)
        return self.feed(ev.Answered(worker, task, stopped=False))


def steps(tasks: int, workers: int) -> tuple[float, float, float, float]:
    """Return the mean CPU of a step in microseconds: of a submit, a boot, a stop in the queue and an answer.

    Raises:
        Wrong: a task did not end.
    """
    world, policy = World(workers), StopPolicy()
    submits = sum(world.feed(ev.Submit(ev.TaskId(number), policy)) for number in range(tasks))
    boots = booted = 0.0
    while world.booting:
        boots += world.feed(ev.Booted(world.booting.popleft()))
        booted += 1
    victims = range(tasks - 1, tasks - 1 - tasks // 10, -1)  # the last that will be given out
    stops = sum(world.feed(ev.Stop(ev.TaskId(number))) for number in victims)
    answers = answered = 0.0
    while world.busy:
        answers += world.answer()
        answered += 1
    if world.ended != tasks or world.machine.unfinished:
        raise Wrong(f"{world.ended:,} of {tasks:,} tasks have ended; the machine has {world.machine.unfinished:,} left")
    means = submits / tasks, boots / booted, stops / max(1, len(victims)), answers / answered
    return tuple(mean * 1e6 for mean in means)  # type: ignore[return-value]


def simulate(tasks: int, workers: int) -> None:
    """Print what a step costs in four sizes, the last of which is that given."""
    gc.disable()  # when it comes is chance, and what it does is not the machine's
    print(f"{'tasks':>11} {'workers':>8}   us of CPU for a  submit     boot     stop   answer", flush=True)
    steps(1000, 10)  # what is done once only is not counted
    for part in (1000, 100, 10, 1):
        size = max(1, tasks // part), max(1, workers // part)
        found = steps(*size)
        gc.collect()
        print(f"{size[0]:11,} {size[1]:8,}{'':17}" + "".join(f"{us:9.2f}" for us in found), flush=True)


# --- the command ---------------------------------------------------------------------------------


def whole(text: str) -> int:
    """Return the whole number, at least 1, that *text* is."""
    with suppress(ValueError):
        if int(text) >= 1:
            return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, was {text!r}")


def seconds(text: str) -> float:
    """Return the seconds, more than 0, that *text* is."""
    with suppress(ValueError):
        if float(text) > 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be seconds, more than 0, was {text!r}")


def arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=whole, metavar="N", help=f"at least 1; {REAL[0]:_} if not given")
    parser.add_argument(
        "--workers", type=whole, metavar="N", help=f"{REAL[1]} if not given; {PURE[1]:_} with --simulate"
    )
    parser.add_argument("--simulate", action="store_true", help="the pure machine, without processes")
    parser.add_argument(
        "--patience", type=seconds, default=120.0, metavar="S", help="seconds in which something must move"
    )
    given = parser.parse_args()
    default = PURE if given.simulate else REAL
    given.tasks, given.workers = given.tasks or default[0], given.workers or default[1]
    small = [] if given.simulate else too_small(given.workers)
    if small:
        parser.exit(2, "".join(f"{parser.prog}: {line}\n" for line in small))
    return given


def main() -> int:
    """Print what came of it and return the exit status."""
    given = arguments()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    machine = f"Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} CPUs"
    print(
        f"{given.tasks:,} tasks, {given.workers:,} workers; {machine}; load average {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    try:
        if given.simulate:
            simulate(given.tasks, given.workers)
        else:
            real(given.tasks, given.workers, given.patience)
    except Wrong as wrong:
        print(f"WRONG: {wrong}", flush=True)
        return 1
    print(f"load average at the end {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
