"""What is known of a pool as a whole: its workers, its counts, and how a notebook shows them.

Everything here only looks, takes no lock, and may be called from any thread at any time.
"""

from typing import TYPE_CHECKING

from stoppable import markup
from stoppable.shell.tally import Statistics

if TYPE_CHECKING:
    from stoppable.shell.reactor import Reactor

_SHOWN = 20  # tasks in a notebook's table


class Facts:
    """The part of a pool that says how it is."""

    _name: str
    _reactor: "Reactor | None"

    @property
    def name(self) -> str:
        """The pool's name."""
        return self._name

    def workers(self) -> list[int]:
        """Return the process ids of the workers that are alive now, with the spare one, in order of age."""
        reactor = self._reactor
        if reactor is None:
            return []
        return [pid for pid in list(reactor.launcher.living.values()) if pid]

    def statistics(self) -> Statistics:
        """Return what has become of the tasks so far. Cheap, and for any thread: a metrics library may ask often."""
        reactor = self._reactor
        if reactor is None:
            return Statistics()
        machine, tally = reactor.machine, reactor.hands.verdicts.tally
        return tally.read(reactor.unfinished(), machine.running, len(self.workers()), machine.spawned)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the counts, and the tasks that run now."""
        now = self.statistics()
        counts = {
            "workers": now.workers,
            "pending": now.pending,
            "running": now.running,
            "returned": now.returned,
            "failed": now.failed,
            "died": now.died,
            "stopped": sum(now.stopped.values()),
        }
        shown = markup.table(self._name, [tuple(counts.values())], tuple(counts))
        running = self._running()
        if running:
            more = "" if len(running) <= _SHOWN else f", {_SHOWN} of {len(running)}"
            shown += markup.table(f"running tasks{more}", running[:_SHOWN], ("task", "progress", "stop asked for"))
        return shown

    def _running(self) -> list[tuple[str, str, str]]:
        reactor = self._reactor
        if reactor is None:
            return []
        found = []
        for task in list(reactor.hands.tasks.values()):
            channel = reactor.hands.channels.get(task.worker or 0)
            if channel is not None and channel.started_at(task.id) is not None:
                reason = "" if task.reason is None else str(task.reason)
                found.append((task.title(), markup.part(channel.progress(task.id)), reason))
        return found
