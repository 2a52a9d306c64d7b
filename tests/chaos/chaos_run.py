"""One chaos run: threads that submit, map and stop as planned, a thread that harms, and a look at what came of it."""

import contextlib
import faulthandler
import heapq
import logging
import os
import queue
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from pathlib import Path
from signal import SIGKILL
from typing import Any

import chaos_tasks
import leaks
import stoppable.shell.engine
from chaos_checks import verify
from chaos_harm import Harmer
from chaos_history import History, Outcome, StopMade, read_log
from chaos_plan import Kind, Order, Plan, Stop
from stoppable import Future, StopPolicy, TaskStopped, TaskTimeout, WorkerDied
from stoppable.core.machine import Machine

WORKERS = 4
BOUND_S = 60.0  # without any task's end: a hang
_WAIT_S = 30.0  # of stop_and_wait: far above a whole ladder
_CLOSING_S = 60.0
POLICY = StopPolicy(ask=0.15, interrupt=0.15, terminate=0.15)
_EVERY_S = 0.06
_WARDEN_RARER = 60  # a new warden is a new interpreter, and all running tasks are lost


@dataclass(slots=True)
class Summary:
    """What a run came to."""

    seed: int
    took_s: float
    violations: list[str]
    counts: Counter[str] = field(default_factory=Counter)


class _Pool(stoppable.ProcessPoolExecutor):
    """Tells the run of each future that `map` makes."""

    run: "Run"

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        submitted_at = time.monotonic()
        future: Future[Any] = super().submit(fn, *args, **kwargs)
        self.run.watch(self.run.orders[args[1]], future, submitted_at)
        return future


class Run:
    """The state of one run. Each thread appends to lists of its own or to queues; the main thread collects."""

    def __init__(self, plan: Plan, folder: str, context: BaseContext | None, ahead: int | None) -> None:
        self.plan, self.context, self.ahead = plan, context, ahead
        self.log = str(Path(folder) / "log")
        self.log_fd = os.open(self.log, os.O_RDONLY)
        self.orders = {order.number: order for order in plan.orders()}
        self.history = History(self.orders, workers=WORKERS)
        self.ended: queue.SimpleQueue[tuple[Order, Future[Any], float, float, int]] = queue.SimpleQueue()
        self.futures: dict[int, Future[Any]] = {}
        self.windows = [threading.Semaphore(plan.window) for _ in plan.lanes]
        self.gave_up = threading.Event()
        self._due: list[tuple[float, int, int]] = []  # when which stop of which task
        self._due_lock = threading.Condition()
        self._no_more_stops = False

    # --- submitting ------------------------------------------------------------------------

    def watch(self, order: Order, future: Future[Any], submitted_at: float) -> None:
        """Have the future's end recorded, and its stops made."""

        def on_end(done: "Future[Any]") -> None:
            self.ended.put((order, done, submitted_at, time.monotonic(), os.fstat(self.log_fd).st_size))
            if order.slow_s:
                time.sleep(order.slow_s)

        self.futures[order.number] = future
        future.add_done_callback(on_end)  # type: ignore[arg-type]  # it is called with the future itself
        for index, stop in enumerate(order.stops):
            self._schedule(submitted_at + stop.after_s, order.number, index)

    def _submit_lane(self, pool: _Pool, lane: int) -> None:
        for order in self.plan.lanes[lane]:
            while not self.windows[lane].acquire(timeout=0.5):
                if self.gave_up.is_set():
                    return
            extra: Any = None
            if order.kind is Kind.CARRY:
                extra = chaos_tasks.blob(order.number, order.size)
            elif order.kind is Kind.BAD_ARGUMENT:
                extra = threading.Lock()
            elif order.kind in (Kind.ARGUMENT_UNREADABLE, Kind.ARGUMENT_KILLS):
                extra = chaos_tasks.Unreadable(23 if order.kind is Kind.ARGUMENT_KILLS else 0)
            call = (chaos_tasks.perform, self.log, order.number, str(order.kind), order.size, order.lasts_s, extra)
            if order.timeout_s is None:
                pool.submit(*call)
            else:
                submitted_at = time.monotonic()
                bound: Any = pool.options(timeout=order.timeout_s)
                self.watch(order, bound.submit(*call), submitted_at)

    def _map_batches(self, pool: _Pool) -> None:
        for batch, close_after in zip(self.plan.batches, self.plan.closed_after, strict=True):
            if self.gave_up.is_set():
                return
            columns = zip(*((self.log, o.number, str(o.kind), o.size, o.lasts_s) for o in batch), strict=True)
            results = pool.map(chaos_tasks.perform, *columns)
            for taken, order in enumerate(batch):
                began = time.monotonic()
                try:
                    if taken == close_after:
                        results.close()  # type: ignore[attr-defined]
                        raise StopIteration
                    assert next(results)[0] == order.number, "map gives its results in order"
                except AssertionError as error:
                    self.history.left_behind.append(str(error))
                except BaseException:
                    # Closed, or left by an error: the rest is stopped.
                    self.history.stops += [StopMade(other.number, "map", began) for other in batch[taken:]]
                    break

    # --- stopping --------------------------------------------------------------------------

    def _schedule(self, due: float, number: int, index: int) -> None:
        with self._due_lock:
            heapq.heappush(self._due, (due, number, index))
            self._due_lock.notify()

    def _make_stops(self) -> None:
        while True:
            with self._due_lock:
                while not self._due or self._due[0][0] > time.monotonic():
                    if self._no_more_stops and not self._due:
                        return
                    wait_s = self._due[0][0] - time.monotonic() if self._due else 0.5
                    self._due_lock.wait(max(0.0, wait_s))
                _, number, index = heapq.heappop(self._due)
            future, stop = self.futures[number], self.orders[number].stops[index]
            if stop.running and not future.running() and not future.done() and not self.gave_up.is_set():
                self._schedule(time.monotonic() + 0.005, number, index)
            else:
                self._stop(number, future, stop)

    def _stop(self, number: int, future: Future[Any], stop: Stop) -> None:
        began, reason = time.monotonic(), f"chaos {number}"
        if stop.how == "cancel":
            accepted = future.cancel()
        elif stop.how == "wait":
            accepted = future.stop_and_wait(_WAIT_S, reason)
        else:
            accepted = future.stop(reason, at=stop.how)
        self.history.stops.append(StopMade(number, stop.how, began, accepted))

    # --- harming ---------------------------------------------------------------------------

    def _harmer(self, pool: _Pool, every_s: float) -> Harmer:
        def warden() -> int | None:
            reactor = pool._reactor
            process = reactor.launcher._process if reactor is not None else None
            return None if process is None else process.pid

        def torn() -> int | None:
            reactor = pool._reactor
            channels = [] if reactor is None else list(reactor.hands.channels.values())
            return next((channel.pid for channel in channels if channel._reader.torn), None)

        return Harmer(
            self.plan.seed,
            self.log,
            self.orders,
            pool.workers,
            warden,
            torn,
            every_s=every_s,
            warden_every_s=every_s * _WARDEN_RARER,
        )

    # --- the whole ---------------------------------------------------------------------------

    def go(self, bound_s: float = BOUND_S, every_s: float = _EVERY_S) -> None:
        """Do all that is planned; the history is complete when it returns."""
        plan = self.plan
        with _ahead(self.ahead):
            pool = _Pool(
                WORKERS,
                self.context,
                chaos_tasks.start,
                (plan.boot_deaths,),
                max_tasks_per_child=plan.recycle,
                policy=POLICY,
            )
            pool.run = self
            pool._start()
        threads = [threading.Thread(target=self._submit_lane, args=(pool, lane)) for lane in range(len(plan.lanes))]
        threads.append(threading.Thread(target=self._map_batches, args=(pool,)))
        stopper = threading.Thread(target=self._make_stops)
        with self._harmer(pool, every_s) as harmer:
            for thread in (*threads, stopper):
                thread.start()
            self._collect(pool, threads, bound_s)
            self._no_more_stops = True
            for thread in (*threads, stopper):
                thread.join()
        self.history.harms = harmer.done
        self._close(pool)
        self.history.records = read_log(self.log)
        os.close(self.log_fd)

    def _collect(self, pool: _Pool, submitters: list[threading.Thread], bound_s: float) -> None:
        """Take each task's end as it comes; give up when none comes for *bound_s* seconds."""
        outcomes, all_submitted, last_at = self.history.outcomes, False, time.monotonic()
        while len(outcomes) < len(self.orders):
            try:
                order, future, submitted_at, at, place = self.ended.get(timeout=0.2)
            except queue.Empty:
                if time.monotonic() - last_at > bound_s:
                    self._give_up(pool)
                    return
            else:
                last_at = time.monotonic()
                outcomes.append(judge(order, future, submitted_at, at, place))
                if order.batch is None:
                    self.windows[(order.number - self._first_single()) % len(self.windows)].release()
            if not all_submitted and not any(thread.is_alive() for thread in submitters):
                all_submitted = True
                if self.plan.stop_all is not None:
                    began = time.monotonic()
                    self.history.stops += [StopMade(number, "all", began) for number in self.orders]
                    pool.stop("chaos all", at=self.plan.stop_all)

    def _first_single(self) -> int:
        return len(self.orders) - sum(map(len, self.plan.lanes)) + 1

    def _give_up(self, pool: _Pool) -> None:
        self.gave_up.set()
        print(f"\na hang: {state_of(pool)}", file=sys.stderr)
        faulthandler.dump_traceback()
        known = {outcome.number for outcome in self.history.outcomes}
        now = time.monotonic()
        missing = [number for number in self.orders if number not in known]
        self.history.outcomes += [Outcome(number, "never", now, now, 0) for number in missing]
        pool.kill_workers()

    def _close(self, pool: _Pool) -> None:
        closer = threading.Thread(target=pool.shutdown, daemon=True)
        closer.start()
        closer.join(_CLOSING_S)
        if closer.is_alive():
            self.history.left_behind.append(f"the pool: its shutdown took more than {_CLOSING_S} s")


def state_of(pool: stoppable.ProcessPoolExecutor) -> str:
    """Return what the pool believes, for whoever looks for the cause of a hang."""
    reactor = pool._reactor
    if reactor is None:
        return "the pool was never started"
    machine = reactor.machine
    lines = [f"{machine.queued} queued, broken {machine.broken}, retry at {machine.retry_at}, due {machine.deadline()}"]
    lines.append(f"now {time.monotonic()}, living {reactor.launcher.living}, control {reactor.launcher.control}")
    for worker in machine.workers():
        channel = reactor.hands.channels.get(int(worker))
        pid = None if channel is None else channel.pid
        line = [str(machine.tasks[task].state) for task in machine.line(worker)]
        lines.append(f"worker {worker}, pid {pid}: {machine.worker_state(worker)}, {line}")
    return "\n  ".join(lines)


def judge(order: Order, future: Future[Any], submitted_at: float, at: float, place: int) -> Outcome:
    """Return how the task ended, as far as its future says."""
    number, rungs = order.number, tuple(int(rung) for rung, _ in future.report.rungs)
    cancelled = future.cancelled()
    try:
        value = future.result(0)
    except TaskStopped as error:
        partial = error.partial
        fault = "" if partial is None or partial[0] == number else f"has the partial result {partial!r}"
        end = "timeout" if isinstance(error, TaskTimeout) else "stopped"
        message = error.reason.message if error.reason is not None else None
        rung = None if error.rung is None else int(error.rung)
        return Outcome(
            number,
            end,
            submitted_at,
            at,
            place,
            fault,
            type(error).__name__,
            str(error),
            rung,
            rungs,
            error.started,
            error.confirmed,
            cancelled,
            message,
        )
    except WorkerDied as error:
        code = error.exitcode if error.signal is None else -error.signal
        return Outcome(
            number, "died", submitted_at, at, place, code=code, rungs=rungs, text=str(error), cancelled=cancelled
        )
    except stoppable.PoolBroken as error:
        return Outcome(number, "broken", submitted_at, at, place, text=str(error), cancelled=cancelled)
    except BaseException as error:
        name, text = type(error).__name__, str(error)
        return Outcome(number, "error", submitted_at, at, place, error=name, text=text, cancelled=cancelled)
    fault = fault_of(order, value)
    return Outcome(number, "value", submitted_at, at, place, fault, rungs=rungs, cancelled=cancelled)


def fault_of(order: Order, value: Any) -> str:
    """Return what is wrong with the value of a task, or ''."""
    if not isinstance(value, tuple) or value[0] != order.number:
        return f"has the value of another: {value!r:.100}"
    got = value[1]
    if order.kind is Kind.BYTES:
        right = got == chaos_tasks.blob(order.number, order.size)
    elif order.kind is Kind.ARRAY:
        import numpy as np

        right = np.array_equal(got, np.arange(order.number, order.number + order.size // 8))
    elif order.kind is Kind.CARRY:
        right = got == (order.size, True)
    else:
        right = got == order.number * 7
    return "" if right else f"has a wrong value: {got!r:.100}"


@contextlib.contextmanager
def _ahead(count: int | None) -> Iterator[None]:
    """Have pools that are made meanwhile send so many tasks ahead; None: as many as they do by themselves."""
    if count is None:
        yield
        return
    fixed = count

    class Fixed(Machine):
        """Does not take the pace that the pool finds out."""

        @property
        def ahead(self) -> int:
            return fixed

        @ahead.setter
        def ahead(self, _: int) -> None:
            pass

    setattr(stoppable.shell.engine, "Machine", Fixed)
    try:
        yield
    finally:
        setattr(stoppable.shell.engine, "Machine", Machine)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing meanwhile but what is critical: each rung is a warning, and they are meant."""
    log = logging.getLogger("stoppable")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def run(
    plan: Plan,
    *,
    context: BaseContext | None = None,
    ahead: int | None = None,
    bound_s: float = BOUND_S,
    every_s: float = _EVERY_S,
) -> Summary:
    """Do what is planned with a new pool, check it, and say what came of it.

    Args:
        context: the pool's mp_context.
        ahead: tasks sent to a worker before it has ended those before; None: what the pool does by itself.
        bound_s: seconds without any task's end that count as a hang.
        every_s: between two signals from outside, on average.
    """
    began = time.monotonic()
    with _quiet(), tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        (Path(folder) / "log").touch()
        before = leaks.snapshot([Path(folder)])
        this = Run(plan, folder, context, ahead)
        this.go(bound_s, every_s)
        history = this.history
        del this  # the tasks' tokens go with their futures
        history.left_behind += leaks.leftovers(before, [Path(folder)], settle_s=5.0)
        return Summary(plan.seed, time.monotonic() - began, verify(history), count(history))


def count(history: History) -> Counter[str]:
    """Count what was done and how it ended."""
    counts: Counter[str] = Counter(tasks=len(history.orders))
    counts.update(f"end: {outcome.end}" for outcome in history.outcomes)
    counts.update(f"stop: {stop.how}" for stop in history.stops if stop.accepted is not None)
    rungs = ("never started", "ask", "interrupt", "terminate", "kill")
    counts.update(f"rung: {rungs[o.rung or 0]}" for o in history.outcomes if o.end in ("stopped", "timeout"))
    for harm in history.harms:
        whom, what = "warden" if harm.warden else "worker", "kills" if harm.signum == SIGKILL else "stops"
        counts[f"harm: {whom} {what}"] += 1
    return counts
