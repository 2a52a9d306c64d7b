"""What runs a streaming task in the worker: it takes the items of the task's iterator, and sends each as it comes.

To the loop it is a function like any other, so the gate is open in here, too.

Invariants:
1. The iterator is asked for the next item only when there is room for it: so the code behind a `yield`
   runs once fewer than `buffersize` items are sent and not taken.
2. What ends a wait here, or is wrong with an item, is raised in the generator, at its `yield`: its
   `with` and `finally` run while it is still the current task.
3. More than there is room for is never sent: the parent would take that for nonsense.
"""

from collections.abc import Callable, Iterator
from typing import Any

from stoppable import parcel
from stoppable.errors import StopRequested
from stoppable.flags.kernel import fence
from stoppable.flags.waiting import wait_any
from stoppable.wire import Kind
from stoppable.worker import intask

_NOTHING = object()


class Streamed:
    """A function whose items are sent as they come; called in a worker, it returns what the generator returns.

    Args:
        function: returns an iterator.
        buffersize: most items that are sent and not taken.
    """

    def __init__(self, function: Callable[..., Iterator[Any]], buffersize: int) -> None:
        self.function, self.buffersize = function, buffersize
        # Whatever shows the task's name shows that of the user's function.
        self.__qualname__: str = getattr(function, "__qualname__", None) or type(function).__name__

    def __reduce__(self) -> tuple[Any, ...]:
        return Streamed, (self.function, self.buffersize)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send all that the iterator gives.

        Raises:
            TypeError: the function returned no iterator.
            BaseException: what the function or its iterator raised.
        """
        iterator = self.function(*args, **kwargs)
        if not isinstance(iterator, Iterator):
            text = f"stream() needs a function that yields, or returns an iterator; {self.__qualname__} returned "
            raise TypeError(f"{text}an object of type {type(iterator).__qualname__}")
        outlet = Outlet(self.buffersize)
        step: Callable[..., Any] = iterator.__next__
        given: tuple[Any, ...] = ()
        while True:
            try:
                while True:  # in here, since an interrupt can come where a loop jumps back
                    try:
                        outlet.item = step(*given)
                    except StopIteration as end:
                        return end.value
                    step, given = iterator.__next__, ()
                    outlet.put()
            except BaseException as error:
                if not getattr(iterator, "gi_suspended", False):
                    # It came out of the generator; or there is none. Then what is below the iterator is closed now,
                    # and not when the task has ended.
                    del iterator, step
                    raise
                if isinstance(error, StopRequested):
                    outlet.send_what_is_left()
                    error.__traceback__ = None
                step, given = iterator.throw, (error,)  # type: ignore[attr-defined]


class Outlet:
    """Where the current task's items go out.

    Attributes:
        item: what was yielded and not sent.
    """

    __slots__ = ("_bound", "_sent", "_task", "item")

    def __init__(self, bound: int) -> None:
        task = intask.current()
        assert task is not None, "a streaming task runs in a worker"
        self._task, self._bound, self._sent = task, bound, 0
        self.item: Any = _NOTHING

    def put(self) -> None:
        """Send the item, and return when there is room for another one.

        Raises:
            StopRequested: the stop was asked for; the item is sent. It is raised every time, as by `check`.
            Exception: the item does not pickle.
        """
        if intask.current() is not self._task:
            raise RuntimeError("a process that a streaming task has forked cannot yield: the stream is the task's")
        self._task.page.looked[0] = 1  # before the item is sent: who has it, and stops us for it, may know that we look
        while not self._room():  # only if the generator went on after a stop: it has been told of that
            wait_any([self._task.page.room], None)
        self._send()
        while True:
            intask.check()
            if self._room():
                return
            intask.wait_for(self._task.page.room)

    def send_what_is_left(self) -> None:
        """Send the item, if an interrupt has kept it from that, and there is room."""
        if self.item is not _NOTHING and self._untaken() < self._bound:
            self._send()

    def _send(self) -> None:
        body = parcel.pack(self.item, copy=False)
        gate = self._task.gate
        gate.seal()  # what is sent and what is counted must not differ
        try:
            self._task.send(Kind.ITEM, body)
            self._sent += 1
            self.item = _NOTHING
        finally:
            gate.unseal()

    def _room(self) -> bool:
        """Say whether there is room. Else the page's word is low, so that it can be waited for."""
        if self._untaken() < self._bound:
            return True
        # The parent writes the number and then the word; we lower the word and then read the number. Without a
        # fence here, both could miss each other.
        self._task.page.room.clear()
        fence()
        return self._untaken() < self._bound

    def _untaken(self) -> int:
        return self._task.page.untaken(self._task.id, self._sent)
