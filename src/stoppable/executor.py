"""`ProcessPoolExecutor`: the standard one's interface, over the reactor.

It pickles the call in the caller's thread and posts it; everything else happens in the reactor's.
It must never hold a lock while user code runs.
"""

import concurrent.futures
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from stoppable import errors, wire
from stoppable import options as checks
from stoppable.callee import Packer
from stoppable.calls import Calls
from stoppable.core.ladder import StopPolicy
from stoppable.facts import Facts
from stoppable.flags.collect import gathering
from stoppable.future import Future
from stoppable.options import Limits, SubmitOptions
from stoppable.reason import StopKind, StopReason, new_reason
from stoppable.rung import Rung
from stoppable.shell.leaving import wait_out
from stoppable.shell.task import SHOWN_BYTES, Task
from stoppable.worker import setup as setups
from stoppable.worker.bodies import Options
from stoppable.worker.context import Variables

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from stoppable.flags.token import StopToken
    from stoppable.groups import TaskGroup
    from stoppable.members import OnError
    from stoppable.shell.reactor import Reactor

T = TypeVar("T")
_pools = itertools.count(1)


class ProcessPoolExecutor(Calls, Facts, concurrent.futures.Executor):
    """A pool of processes whose running tasks can be stopped.

    Change one import, and `Future.cancel()` stops running tasks. Workers start when they are needed.

    Args:
        max_workers: most tasks that run at once; None: the CPUs that this process may use.
        mp_context: take the workers from this multiprocessing context; None: from a warden of our own,
            which is safe in programs with threads, fast, and leaves nothing behind.
        initializer: called in each worker before its first task, with *initargs*.
        max_tasks_per_child: a worker is replaced after so many tasks; None: never.
        policy: how stops climb.
        timeout: seconds that a task may run, for all tasks that are not given their own.
        watchdog: seconds that a task may run without calling any in-task function, for the same tasks.
        memory: the most that a task's processes may have, for the same tasks: bytes, or "512MB", "2GiB".
        max_worker_memory: a worker that has more than this when it has answered is replaced before its next task.
        name: of the pool, shown in logs and in the process table.
        logs: log records made and warnings shown in a worker go to this process's loggers and `showwarning`.
        output: what tasks print comes to this process's `sys.stdout` and `sys.stderr`: "lines", as whole lines,
            "named", with the task's name before each; None: the workers write to the same files by themselves.
        contextvars: context variables, each at the top of some module: a task sees the values that they have
            where it is submitted.
        on_stopped, on_done: as those of `options`, for all tasks that are not given their own.

    Raises:
        ValueError: a number is out of its range.
        TypeError: a value is of the wrong type.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: "BaseContext | None" = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        policy: StopPolicy = StopPolicy(),
        timeout: float | None = None,
        watchdog: float | None = None,
        memory: float | str | None = None,
        max_worker_memory: float | str | None = None,
        name: str | None = None,
        logs: bool = True,
        output: Literal["lines", "named"] | None = None,
        contextvars: "Iterable[ContextVar[Any]]" = (),
        on_stopped: Callable[[Future[Any]], object] | None = None,
        on_done: Callable[[Future[Any]], object] | None = None,
    ) -> None:
        _load()
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if mp_context is not None and not hasattr(mp_context, "get_start_method"):
            raise TypeError(f"mp_context must be a context of multiprocessing.get_context(), was {mp_context!r}")
        if not isinstance(initargs, Iterable):
            raise TypeError(f"initargs must be a tuple, was {initargs!r}")
        self._max_workers = checks.worker_count(max_workers)
        self._max_tasks = checks.task_limit(max_tasks_per_child)
        if not isinstance(policy, StopPolicy):
            raise TypeError(f"policy must be a StopPolicy, was {policy!r}")
        self._policy = policy
        self._limits: checks.Limits = (
            checks.seconds("timeout", timeout),
            None,
            checks.positive_seconds("watchdog", watchdog),
            checks.size_bytes("memory", memory),
        )
        self._max_worker_memory = checks.size_bytes("max_worker_memory", max_worker_memory)
        self._context = mp_context
        self._initializer, self._initargs = initializer, tuple(initargs)
        self._name = name or f"stoppable-{next(_pools)}"
        self._logs, self._output = logs, checks.output_style(output)
        self._variables = Variables(contextvars) or None
        self._options = SubmitOptions(on_stopped=on_stopped, on_done=on_done)
        told = (timeout, watchdog, memory, on_stopped, on_done, self._variables)
        self._plain = all(each is None for each in told)  # of a task with no options there is nothing to say
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._reactor: Reactor | None = None
        self._closed = False
        self._pid = os.getpid()
        self._by_value = not wire.main_is_importable()
        self._packer = Packer(by_value=self._by_value)
        self._outer: Any = None  # the registration with the token of the task that we are in, if any

    # --- running calls -------------------------------------------------------------------------

    def _submit(
        self,
        options: SubmitOptions,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        future: Future[Any] | None = None,
        refused: StopReason | None = None,
    ) -> Future[Any]:
        reactor = self._reactor
        if reactor is None or self._closed or reactor.over or reactor.hands.dead or os.getpid() != self._pid:
            reactor = self._start()  # or say why not
        future = future or Future()
        if options.on_done is not None:
            future.add_done_callback(options.on_done)
        number = next(self._ids)
        name = options.name or getattr(fn, "__qualname__", None) or type(fn).__name__
        # Whether nothing is to be said of the task but its call.
        plain = self._plain and options is self._options and refused is None
        limits = self._limits if plain else options.limits(self._limits)
        tokens: tuple[StopToken, ...] = ()
        told = b""
        kept: list[object] = []
        before, gathering.found = gathering.found, kept
        try:
            call = self._packer.pack(fn, args, kwargs)
            if not plain:
                tokens = tuple(token for token in (options.scope, options.token) if token is not None)
                told = self._tell(options, name, limits, tokens, looked=any(token in kept for token in tokens))
        except Exception as error:
            error.add_note(f"(raised while {name} was pickled for a worker)")
            future._finish_error(error)
            return future
        finally:
            gathering.found = before
        task = Task(number, name, call, told, future)
        if len(call[0]) <= SHOWN_BYTES and len(call) == 1:
            task.args, task.kwargs = args, kwargs
        if kept or tokens:
            task.keep = kept, tokens
        future._bind(task, reactor)
        if not plain:
            task.on_stopped, task.watchdog_s, task.memory_bytes = options.on_stopped, limits[2], limits[3]
            refused = refused or next((token.reason for token in tokens if token.is_set()), None)
            if refused is not None:
                task.refuse(refused)
                return future
        policy = options.policy or self._policy
        if not policy.ask:
            task.patient = False
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            reactor.submit(task, policy, limits)
        if options.token is not None:
            _follow(options.token, future)
        return future

    def _tell(
        self, options: SubmitOptions, name: str, limits: Limits, tokens: "tuple[StopToken, ...]", *, looked: bool
    ) -> bytes:
        """Return what the worker is to know of a task besides its call; nothing if that is all as usual."""
        carried = self._variables.values() if self._variables else ()
        timeout, _, watchdog, _ = limits
        told = Options(name, timeout, options.deadline, tokens, looked, options.context, carried, watchdog is not None)
        return told.pack(named=options.name is not None, by_value=self._by_value)

    def task_group(
        self,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        on_error: "OnError" = "stop",
        stop_when: Callable[[Future[Any]], object] | None = None,
        name: str | None = None,
    ) -> "TaskGroup":
        """Return a group of tasks that start and end together, for use as `with pool.task_group() as group:`.

        Leaving the block waits until every task of the group has really ended, then raises an ExceptionGroup of
        those that failed, as asyncio's does. A task that was stopped by anybody has not failed; one whose time was
        up has. A block left by an exception stops the tasks; the exception is in the group too, but for
        KeyboardInterrupt and SystemExit, which pass bare.

        Args:
            timeout: seconds from entering the block after which the group is stopped.
            deadline: the same, as a time of `time.monotonic()`.
            on_error: what the first failure does: "stop" stops the others, "drain" lets those that run finish and no
                other start, "ignore" does nothing and raises nothing.
            stop_when: called with each future that has a value or failed; what is true stops the others. It is called
                in the pool's own thread, so it must be quick.
            name: shown in what is raised.

        Raises:
            ValueError: a time is negative or NaN, or *on_error* is none of those.
        """
        from stoppable.groups import TaskGroup

        return TaskGroup(self, timeout=timeout, deadline=deadline, on_error=on_error, stop_when=stop_when, name=name)

    def race(self, calls: Iterable[Callable[[], T]], *, timeout: float | None = None) -> T:
        """Run *calls* at once, return the value of the first that returns one, and stop the others.

        It returns once all have really ended, which their ladders bound.

        Args:
            calls: functions without arguments; `functools.partial(solve, seed)` makes one.
            timeout: seconds after which all are stopped.

        Raises:
            ExceptionGroup: of what ended each, when none returned a value.
            ValueError: there are no *calls*, or *timeout* is negative or NaN.
        """
        from stoppable.groups import race

        return race(self, calls, timeout)

    # --- start ---------------------------------------------------------------------------------

    def _start(self) -> "Reactor":
        """Return the reactor, started at the first call."""
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"this pool belongs to process {self._pid}, of which this one is a fork; make a pool of your own here"
            )
        if setups.importing_main:
            raise RuntimeError(
                "a pool was used while a worker imports the main script. Put the code that starts the work under "
                "`if __name__ == '__main__':`, so that importing the script starts nothing."
            )
        reactor = self._reactor
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if reactor is not None:
            if reactor.over:
                # Nobody shut the pool down: the interpreter is leaving, or the reactor has failed and said so.
                raise RuntimeError(
                    "cannot schedule new futures after interpreter shutdown, or in a pool that has failed"
                )
            if reactor.hands.dead:
                raise errors.PoolBroken(f"the pool can start no workers: {reactor.hands.why_broken()}")
            return reactor
        with self._lock:
            if self._reactor is None:
                self._reactor = self._make_reactor()
        self._follow_outer()
        return self._reactor

    def _make_reactor(self) -> "Reactor":
        from stoppable.shell import engine

        setup = setups.describe(self._name, self._initializer, self._initargs)
        setup.max_bytes = self._max_worker_memory
        reactor = engine.build(
            setup, self._context, self._max_workers, self._max_tasks, logs=self._logs, output=self._output
        )
        # The reactor must not hold the pool, or a forgotten pool would never end.
        weakref.finalize(self, _forgotten, reactor).atexit = False
        try:
            reactor.start()
        except BaseException:  # it may run all the same: a Ctrl-C
            reactor.wind_down()
            raise
        return reactor

    def _follow_outer(self) -> None:
        """Inside another pool's task: have the outer task's stop stop this pool."""
        from stoppable.worker import intask

        if intask.current() is None or self._outer is not None:
            return
        pool = weakref.ref(self)

        def stop() -> None:
            inner = pool()
            if inner is not None:
                inner.stop(token.reason)

        token = intask.task_token()
        if not token.is_set():  # else it is a pool of the task's cleanup, and is to work
            self._outer = token.on_stop(stop)

    # --- the end -------------------------------------------------------------------------------

    def stop(self, reason: "str | StopReason | None" = None, *, at: Rung | str = Rung.ASK) -> None:
        """Stop everything: waiting tasks first, so that none of them starts, then all running ones at once.

        Does not wait; the pool can be used further. `shutdown()`, or leaving `with`, waits.

        Raises:
            ValueError: *at* names no rung.
        """
        rung = Rung.parse(at)
        reactor = self._reactor
        if reactor is None or os.getpid() != self._pid:
            return
        given = reason if isinstance(reason, StopReason) else new_reason(StopKind.SHUTDOWN, reason)
        reactor.stop_all(rung, given)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; end the workers when those given have ended.

        Args:
            wait: return only when all that is over.
            cancel_futures: those that have not started never will.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._closed = True
            reactor = self._reactor
            if reactor is not None:
                reactor.wind_down(cancel=cancel_futures)
        if reactor is None:
            return
        if wait:
            reactor.join()
        if self._outer is not None and not reactor.mine:
            self._outer.cancel()

    def terminate_workers(self) -> None:
        """Shut down at once: waiting tasks never start, running ones are terminated. Does not wait."""
        self._force(Rung.TERMINATE)

    def kill_workers(self) -> None:
        """Shut down at once: waiting tasks never start, running ones are killed. Does not wait."""
        self._force(Rung.KILL)

    def _force(self, rung: Rung) -> None:
        self.shutdown(wait=False, cancel_futures=True)
        self.stop(f"{rung}_workers() was called", at=rung)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Wait for all tasks; if left by an exception, stop them first.

        While it waits, the first Ctrl-C stops the tasks, and one that comes 0.5 s or more after it kills them.
        """
        if os.getpid() != self._pid:
            return False
        self._closed = True
        if self._reactor is not None:
            wait_out([self._reactor], kind)
            self.shutdown()
        return False


def _load() -> None:
    """Load what a pool needs besides its class, which is all that a worker needs that runs the main script again.

    Not later: a Ctrl-C in the middle of an import can be lost, in the callback of a module's lock.
    """
    import stoppable.groups
    import stoppable.mapping
    import stoppable.shell.engine
    import stoppable.streaming  # noqa: F401


def _forgotten(reactor: "Reactor") -> None:
    """Let a pool that nobody holds any more end when its tasks have."""
    if os.getpid() == reactor.pid:
        reactor.wind_down()


def _follow(token: "StopToken", future: Future[Any]) -> None:
    """Have the token's stop start the ladder of the task."""
    registration = token.on_stop(lambda: future.stop(token.reason))
    future.add_done_callback(lambda _: registration.cancel())
