"""`submit`, `map` and `options`: what a pool has, a pool with options, and whatever else calls can go through.

All of them end in one method, `_submit`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from stoppable.core.ladder import StopPolicy
from stoppable.future import Future
from stoppable.options import SubmitOptions
from stoppable.reason import StopReason

if TYPE_CHECKING:
    from stoppable.bars import Style
    from stoppable.flags.token import StopToken
    from stoppable.streaming import Stream

P = ParamSpec("P")
T = TypeVar("T")


class Calls:
    """Something that calls go through."""

    _options: SubmitOptions

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have `fn(*args, **kwargs)` called in a worker; return its future.

        Does not wait. What does not pickle fails the future, not this call.

        Raises:
            RuntimeError: the pool is shut down, or belongs to the process that this one was forked from.
            BrokenProcessPool: the pool cannot start workers any more.
        """
        return self._submit(self._options, fn, args, kwargs)

    def options(
        self,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        policy: StopPolicy | None = None,
        token: "StopToken | None" = None,
        name: str | None = None,
        on_stopped: Callable[[Future[Any]], object] | None = None,
        watchdog: float | None = None,
        memory: float | str | None = None,
        on_done: Callable[[Future[Any]], object] | None = None,
        context: Mapping[str, Any] | None = None,
        buffersize: int | None = None,
    ) -> "Bound":
        """Return something with `submit`, `map` and `stream` that run calls here with these options, and else with those here.

        Args and Raises: as for `SubmitOptions`.
        """
        given = SubmitOptions(
            timeout, deadline, policy, token, name, on_stopped, watchdog, memory, on_done, context, buffersize
        )
        return Bound(self, self._options.but(given))

    def stream(self, fn: Callable[P, Iterator[T]], /, *args: P.args, **kwargs: P.kwargs) -> "Stream[T]":
        """Have `fn(*args, **kwargs)`, a generator or another iterator, run in a worker; return an iterator of its items.

        Does not wait; the task starts as one of `submit` does. At most `options(buffersize=...)` items, 16 if
        nobody says, are yielded and not taken. Each `yield` is a `check()`. See `Stream`.

        Raises:
            RuntimeError, BrokenProcessPool: as for `submit`.
        """
        from stoppable.streaming import start_stream  # loaded with the pool, as what `map` needs

        return start_stream(self._submit, self._options, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: "bool | Style" = False,
    ) -> Iterator[T]:
        """Return an iterator of `fn`'s results, in order, as `map(fn, *iterables)`.

        Args:
            timeout: seconds from now after which the iterator raises TimeoutError; what is left is stopped.
            chunksize: calls that travel as one task.
            buffersize: pull at most so many calls ahead of the results taken; None: all at once.
            progress: show on stderr how many calls have ended, and how far running tasks say they are, while the
                iterator is asked for results; or the style of that, as for `show_progress`.

        Closing the iterator, or leaving it by an exception, stops the tasks that are left.
        """
        from stoppable.mapping import map_calls

        return map_calls(self.submit, fn, iterables, timeout, chunksize, buffersize, progress)

    def _submit(
        self,
        options: SubmitOptions,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        future: Future[Any] | None = None,
        refused: StopReason | None = None,
    ) -> Future[Any]:
        """Submit a call.

        Args:
            future: the call's; None: a new one.
            refused: why the task is over before it starts; None: it is not.
        """
        raise NotImplementedError


class Bound(Calls):
    """Something that calls go through, with options for them; made by `options`."""

    def __init__(self, to: Calls, options: SubmitOptions) -> None:
        self._to, self._options = to, options

    def _submit(self, *call: Any) -> Future[Any]:
        return self._to._submit(*call)
