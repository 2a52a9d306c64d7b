"""The ends that the machine has decided and nobody has been told of yet, and telling them.

They wait until a turn of the reactor is over, so that workers get their next tasks before callbacks run. Used by the
reactor's thread only.
"""

import logging
from collections.abc import Callable, Iterable

from stoppable import errors
from stoppable.core.events import Resolve
from stoppable.shell.tally import Tally
from stoppable.shell.task import Task
from stoppable.wire import Kind

log = logging.getLogger("stoppable")
_VALUE = int(Kind.VALUE)


class Verdicts:
    """The ends that wait to be told.

    Args:
        why_broken: returns why workers cannot be started.
    """

    def __init__(self, why_broken: Callable[[], str]) -> None:
        self._why_broken = why_broken
        self.waiting: list[tuple[Task, Resolve]] = []
        self.tally = Tally()

    def tell(self) -> None:
        """Tell the futures of the tasks that have ended, and run what waits for them."""
        while self.waiting:
            batch, self.waiting = self.waiting, []
            self.tally.ended += len(batch)
            for task, end in batch:
                sink, answer = task.sink, task.answer
                try:
                    task.settle(end, self._why_broken)
                except BaseException as error:
                    log.exception("the end of %s could not be told as it was", task.name)
                    sink._finish_error(error)
                if answer is None or answer.kind != _VALUE:
                    self.tally.note(task, end)
                elif task.rungs:
                    self.tally.climb(task)

    def give_up(self, left: Iterable[Task], error: BaseException) -> None:
        """Fail every task that is *left*: *error* has broken the reactor."""
        self.tell()
        for task in left:
            text = f"the pool has failed and is over, with {task.title()}, for an error of its own: {error!r}"
            task.sink._finish_error(errors.PoolBroken(text))
