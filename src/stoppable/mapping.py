"""`map` over a pool: chunks, a bounded buffer, results in order; closing it early stops what is left."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from itertools import chain, islice, starmap
from typing import Any, Self, cast

from stoppable import bars
from stoppable.bars import Style
from stoppable.future import Future
from stoppable.showing import Meter
from stoppable.worker.loop import chunk

Submit = Callable[..., Future[Any]]


def map_calls(
    submit: Submit,
    function: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
    progress: bool | Style = False,
) -> Iterator[Any]:
    """Submit a call for each tuple of arguments now (or, with *buffersize*, that many), and return the results' iterator.

    Raises:
        ValueError: *chunksize* or *buffersize* is below 1, or *progress* is no style.
        TypeError: *buffersize* is no integer.
        ImportError: the library of *progress* is not there.
    """
    end = None if timeout is None else time.monotonic() + timeout
    ahead = tasks_ahead(buffersize, chunksize)
    submit, meter = counted(submit, function, iterables, chunksize, progress)
    futures = submit_each(submit, function, iterables, chunksize)
    begun: deque[Future[Any]] = deque(islice(futures, ahead))
    return Results.of(begun, futures, end, chunksize > 1, meter)


def counted(
    submit: Submit,
    function: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    chunksize: int,
    progress: bool | Style,
) -> tuple[Submit, Meter | None]:
    """Return *submit*, and None; or, if *progress* is to be shown, one that counts its calls, and what they are counted by.

    Raises:
        ValueError: *progress* is no style.
        ImportError: its library is not there.
    """
    if not progress:
        return submit, None
    style = bars.style_of("auto" if progress is True else str(progress))
    sizes = [len(each) for each in iterables if isinstance(each, Sized)]
    total = min(sizes) if sizes and len(sizes) == len(iterables) else None
    meter = Meter(getattr(function, "__qualname__", "map"), total, style)

    def counting(function: Callable[..., Any], *args: Any) -> Future[Any]:
        return meter.count(submit(function, *args), 1 if chunksize == 1 else len(args[1]))

    return counting, meter


def tasks_ahead(buffersize: int | None, chunksize: int) -> int | None:
    """Return how many tasks may be ahead of the results taken; None: all.

    Raises:
        ValueError: *chunksize* or *buffersize* is below 1.
        TypeError: *buffersize* is no integer.
    """
    if chunksize < 1:
        raise ValueError(f"chunksize must be >= 1, was {chunksize!r}")
    if buffersize is None:
        return None
    if not isinstance(buffersize, int):
        raise TypeError(f"buffersize must be an integer or None, was {buffersize!r}")
    if buffersize < 1:
        raise ValueError(f"buffersize must be >= 1 or None, was {buffersize!r}")
    return max(1, buffersize // chunksize)


def submit_each(
    submit: Submit, function: Callable[..., Any], iterables: tuple[Iterable[Any], ...], chunksize: int
) -> Iterator[Future[Any]]:
    """Return an iterator of each call's future, or of each *chunksize* calls', whose value is then a list.

    They are submitted when asked for. Raises: TypeError: one of *iterables* is none.
    """
    if chunksize == 1:
        return (submit(function, *args) for args in zip(*iterables, strict=False))
    # A tuple for each call would cost more than all else of a short one, so the arguments of one iterable travel bare.
    bare = len(iterables) == 1
    calls = iter(iterables[0]) if bare else zip(*iterables, strict=False)
    return (submit(chunk, function, items, bare) for items in iter(lambda: list(islice(calls, chunksize)), []))


class Results(chain[Any]):
    """The results of `map`, in order: made by `Results.of`.

    An iterator in C, since a method in Python for each result takes longer than a short call. Not a bare generator:
    closing one that was never asked for a result does nothing, and the tasks would run on. Dropping it unused does let
    them run, as the standard executor does.
    """

    __slots__ = ("_begun", "_chunks", "_places")
    _begun: deque[Future[Any]]
    _chunks: Generator[Iterator[Any]]
    _places: list[tuple[()]]

    @classmethod
    def of(
        cls,
        begun: deque[Future[Any]],
        futures: Iterator[Future[Any]],
        end: float | None,
        chunked: bool,
        meter: Meter | None,
    ) -> Self:
        """Return the results of the tasks in *begun*, and of *futures*, one of which is begun for each that has been taken."""
        places: list[tuple[()]] = []
        chunks = _chunks(begun, futures, end, chunked, meter, places)
        made = cast(Self, cls.from_iterable(chunks))
        made._begun, made._chunks, made._places = begun, chunks, places
        return made

    def close(self) -> None:
        """Stop the tasks whose results were not taken. Does not wait; a second call changes nothing."""
        self._places.clear()
        self._chunks.close()
        while self._begun:
            self._begun.pop().cancel()


def _chunks(
    begun: deque[Future[Any]],
    futures: Iterator[Future[Any]],
    end: float | None,
    chunked: bool,
    meter: Meter | None,
    places: list[tuple[()]],
) -> Generator[Iterator[Any]]:
    """Yield an iterator for each task, of its results; it ends when *places* is cleared."""
    try:
        while begun:
            if meter is not None:
                meter.wait(begun[0], end)
            value = _result(begun, end)
            begun.extend(islice(futures, 1))
            left = value if chunked else [value]
            del value
            left.reverse()
            # Each is taken off as it is given out, so that no reference to a result outlives its use.
            places[:] = [()] * len(left)
            yield starmap(left.pop, places)
    finally:
        if meter is not None:
            meter.leave()
        # The last one first: those that run are stopped when none is left that would start in their place.
        for future in reversed(begun):
            future.cancel()
        if meter is not None:
            meter.close()


def _result(begun: deque[Future[Any]], end: float | None) -> Any:
    future = begun[0]
    try:
        value = future.result(None if end is None else max(0.0, end - time.monotonic()))
    except BaseException:
        if future.done():
            begun.popleft()
        raise
    finally:
        del future
    begun.popleft()
    return value
