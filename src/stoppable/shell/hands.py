"""The hands of the pool: does each action of the machine, one method an action, and reads what workers say.

They decide nothing. Only the reactor's thread uses them.
"""

import functools
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, assert_never

from stoppable import parcel, wire
from stoppable.core import events as ev
from stoppable.core.ends import End
from stoppable.core.pace import Pace
from stoppable.shell.advice import STORM, advice
from stoppable.shell.channel import LAST_READS, READS, Channel
from stoppable.shell.control import Op
from stoppable.shell.deliver import Delivery
from stoppable.shell.launch import WardenLauncher
from stoppable.shell.lookout import Lookout
from stoppable.shell.news import Born, Gone, Lost, News, NotBorn
from stoppable.shell.task import Task
from stoppable.shell.verdicts import Verdicts
from stoppable.shell.watch import READ, WRITE
from stoppable.wire import Frame, Kind
from stoppable.worker import page as pages
from stoppable.worker.bodies import unpack_progress

if TYPE_CHECKING:
    from stoppable.shell.reactor import Reactor

log = logging.getLogger("stoppable")
_CARRY_S = 1e-9  # for each byte
# As integers: to look up and compare a member costs several times as much, and each answer is compared.
_ENDS, _STOPPED = frozenset(map(int, (Kind.VALUE, Kind.ERROR, Kind.STOPPED))), int(Kind.STOPPED)


class Hands:
    """What a pool has to do with: its tasks, its channels, its launcher."""

    def __init__(self, reactor: "Reactor", launcher: WardenLauncher) -> None:
        self._reactor = reactor
        self._launcher = launcher
        self._watch = reactor.watch
        self.tasks: dict[int, Task] = {}
        self.channels: dict[int, Channel] = {}
        self._unwritten: dict[int, Channel] = {}  # worker -> channel that something was queued for in this turn
        self._dismissed: list[int] = []  # who is to be told to leave when this turn is over
        self._pace = Pace(reactor.machine.size)
        self.delivery = Delivery(self.tasks, self.channels, self._order)
        self._lookout = Lookout(lambda *found: reactor.call(lambda: self._weighed(*found)))
        self.verdicts = Verdicts(self.why_broken)
        self.finished = False
        self.dead = False  # a task was refused because no workers can be started
        self.broken = ""  # why workers cannot be started, once that is known
        # How each action is done. One that fails becomes an event.
        self.deeds: dict[type, Callable[[Any], None]] = {
            ev.Spawn: self._spawn,
            ev.Send: self._send,
            ev.Started: self._started,
            ev.Requeued: self._requeued,
            ev.Recall: self._recall,
            ev.Probe: self._probe,
            ev.Suspend: self.delivery.suspend,
            ev.Continue: self.delivery.go_on,
            ev.Ask: self.delivery.ask,
            ev.Interrupt: self.delivery.interrupt,
            ev.Terminate: self.delivery.terminate,
            ev.Kill: self.delivery.kill,
            ev.Retire: self._retire,
            ev.Resolve: self._resolve,
            ev.Abandon: self._abandon,
            ev.Finished: self._finished,
        }

    def prepare(self) -> None:
        """Start the launcher now if it copies this process: later there are threads to copy, too."""
        if self._launcher.eager:
            self._launcher.start()
            self._watch_control()

    # --- workers -----------------------------------------------------------------------------

    def _spawn(self, action: ev.Spawn) -> None:
        worker = action.worker
        channel: Channel | None = None
        try:
            if self._launcher.control is None:
                self._launcher.start()
            self._watch_control()
            channel = Channel(worker)
            # Before there is a worker: who cannot be listened to must not be born.
            self._watch.put(channel.sock.fileno(), READ, functools.partial(self._on_channel, channel))
            self._launcher.spawn(worker, channel.theirs, channel.page_fd)
        except Exception as error:
            # As text: a log record that held the error would hold this frame, and with it the channel's memory.
            log.warning("cannot start a worker: %s", str(error))
            self._no_worker(error)
            self._reactor.later(ev.SpawnFailed(action.worker))
            if channel is not None:
                self._watch.remove(channel.sock.fileno())
                channel.close()
            return
        channel.launched()
        channel.pid = self._launcher.living.get(worker)  # a context's is known at once
        self.channels[worker] = channel
        try:
            first = self._launcher.first_frame()
        except Exception as error:
            self.broken = f"the initializer and its arguments do not pickle: {error}{advice(error)}"
            self._reactor.later(ev.BootFailed(action.worker))
            self._launcher.deliver(Op.KILL, worker)
            return
        if first:
            self._write(channel, first)
        self._watch_control()
        self._watch_sentinels()

    def _no_worker(self, error: Exception) -> None:
        self.broken = f"no worker could be started: {type(error).__name__}: {error}{advice(error)}"

    def _retire(self, action: ev.Retire) -> None:
        self.verdicts.tally.retired += 1
        self._dismissed.append(action.worker)

    def _abandon(self, action: ev.Abandon) -> None:
        channel = self.channels.pop(action.worker, None)
        if channel is not None:
            log.error("worker %s (pid %s) was killed and has not ended; it is given up", action.worker, channel.pid)
            self._watch.remove(channel.sock.fileno())
            channel.close()

    # --- tasks -------------------------------------------------------------------------------

    def _send(self, action: ev.Send) -> None:
        task = self.tasks[action.task]
        task.worker = action.worker
        if not task.sink._send():
            # Its future was cancelled after it left the queue and before it left this process.
            self._reactor.later(ev.Stop(action.task))
            return
        channel = self._unwritten[action.worker] = self.channels[action.worker]
        channel.send_task(action.task, task.options, task.call)

    def _started(self, action: ev.Started) -> None:
        if (task := self.tasks.get(action.task)) is not None:
            task.sink._begin()
            channel = self.channels.get(task.worker or 0)
            if task.memory_bytes is not None and channel is not None and channel.pid is not None:
                self._lookout.watch(task.id, channel.pid, task.memory_bytes)

    def _requeued(self, action: ev.Requeued) -> None:
        task = self.tasks[action.task]
        task.worker = None
        if task.memory_bytes is not None:
            self._lookout.forget(task.id)
        task.sink._requeue()

    def _recall(self, action: ev.Recall) -> None:
        channel = self.channels.get(action.worker)
        if channel is None:
            return  # its exit is on the way, and says the same
        if channel.recall(action.task):
            self._reactor.later(ev.Recalled(action.worker, action.task))
        else:
            self._reactor.later(ev.Claimed(action.worker, action.task))

    def _probe(self, action: ev.Probe) -> None:
        channel, task = self.channels.get(action.worker), self.tasks.get(action.task)
        if channel is None or task is None:
            return
        self._hear(channel)
        self._tell_probed(channel, task)

    def _tell_probed(self, channel: Channel, task: Task) -> None:
        page, started_at = channel.page, channel.started_at(task.id)
        alive_at = 0.0
        if started_at is not None:
            task.looked = task.looked or bool(page.u8[pages.LOOKED])
            if task.watchdog_s is not None and not task.rungs:
                alive_at = channel.sign_of_life(task.id)
        shield_until = max(0.0, page.f64[pages.SHIELD_UNTIL])  # which makes 0 of a NaN
        who = ev.WorkerId(channel.worker), ev.TaskId(task.id)
        probed = ev.Probed(*who, task.looked, shield_until, started_at, alive_at)
        self._reactor.feed(probed)

    def _order(self, op: Op, worker: int) -> None:
        self._launcher.deliver(op, worker)
        self._watch_control()

    def _weighed(self, task_id: int, size_bytes: int) -> None:
        """Take what the lookout has found, in the reactor's thread."""
        task = self.tasks.get(task_id)
        if task is not None and task.worker is not None:
            task.peak_bytes = max(task.peak_bytes, size_bytes)
            self._reactor.feed(ev.Weighed(ev.WorkerId(task.worker), ev.TaskId(task_id), size_bytes))

    # --- ends --------------------------------------------------------------------------------

    def _resolve(self, action: ev.Resolve) -> None:
        task = self.tasks.pop(action.task)
        if task.memory_bytes is not None:
            self._lookout.forget(task.id)
        self.dead = self.dead or action.end is End.BROKEN
        self.verdicts.waiting.append((task, action))

    def why_broken(self) -> str:
        """Return why workers cannot be started."""
        return self.broken or STORM

    def _finished(self, _: ev.Finished) -> None:
        self.finished = True

    def give_up(self, error: BaseException) -> None:
        """Fail every task that is left: *error* has broken the reactor."""
        self.verdicts.give_up(list(self.tasks.values()), error)
        self.tasks.clear()

    def close(self) -> None:
        """End the warden with all that is below it, and close everything."""
        self.verdicts.tell()
        for channel in self.channels.values():
            channel.close()
        self.channels.clear()
        self._lookout.close()
        self._launcher.end()

    # --- what we hear ------------------------------------------------------------------------

    def _on_channel(self, channel: Channel, mask: int) -> None:
        if mask & WRITE:
            channel.flush()
        if mask & READ:
            self._hear(channel)
        self._mind(channel)

    def _hear(self, channel: Channel, reads: int = READS) -> None:
        """Read what the worker says now, and tell the machine."""
        if channel.ended and not channel.inbox:
            return
        try:
            channel.read(reads)
        except wire.WireError as error:
            log.error("worker %s (pid %s) speaks nonsense and is killed: %s", channel.worker, channel.pid, error)
        while channel.inbox:
            self._take(channel, channel.inbox.popleft())
        if channel.ended:
            self._watch.remove(channel.sock.fileno())
            # It has closed its end, so it can be given nothing: if it still lives, it must not. But while a killed
            # one dies, the warden is to have nothing else to do.
            if not channel.killed:
                self._launcher.deliver(Op.KILL, channel.worker)

    def _take(self, channel: Channel, frame: Frame) -> None:
        kind, extra, position, id, body = frame
        worker, task = channel.worker, self.tasks.get(id)
        if task is None:
            self._take_taskless(channel, frame)
        elif task.worker != worker or id not in channel.positions:
            return  # it ended without waiting for this answer
        elif kind in _ENDS:
            task.answer = frame
            del channel.positions[id]
            # What it took to carry counts too: nothing is gained by sending big things ahead.
            carried_s = (parcel.size(task.call) + len(body)) * _CARRY_S
            self._reactor.machine.ahead = self._pace.observe(position * 1e-6 + carried_s)
            stopped = kind == _STOPPED
            fit, began = not extra & wire.UNFIT, not (stopped and extra & wire.UNBEGUN)
            self._reactor.feed(ev.Answered(ev.WorkerId(worker), ev.TaskId(id), stopped, fit, began))
        elif kind == Kind.PARTIAL:
            task.partial = body
            task.sink._publish(body)
        elif kind == Kind.PROGRESS:
            task.progress = unpack_progress(body)
        elif kind == Kind.ITEM:
            channel.feed(task.sink._feed, id, body)
        elif kind == Kind.UNSHIELDED:
            self._tell_probed(channel, task)

    def _take_taskless(self, channel: Channel, frame: Frame) -> None:
        worker = ev.WorkerId(channel.worker)
        if frame.kind == Kind.READY:
            channel.ready, self.broken = True, ""
            self._booted(channel)
        elif frame.kind == Kind.BOOT_FAILED:
            text = str(frame.body, "utf-8", "replace")
            self.broken = f"a worker could not be made ready; in it:\n{text}"
            self._reactor.feed(ev.BootFailed(worker))
        elif frame.kind == Kind.SAID and not frame.task:
            self._reactor.relay.take(frame)

    def _booted(self, channel: Channel) -> None:
        """Tell the machine of a worker that is ready, once its process is known: limits and stacks are looked up by that.

        The warden says it at once, but on a busy machine the worker may be quicker.
        """
        if channel.ready and channel.pid is not None:
            self._reactor.feed(ev.Booted(ev.WorkerId(channel.worker)))

    def _on_control(self, mask: int) -> None:
        control = self._launcher.control
        if control is None:
            return
        if mask & WRITE:
            with suppress(OSError):  # an end is found below, by reading
                control.flush()
        for news in self._launcher.news():
            self._hear_news(news)
        self._watch_control()

    def _hear_news(self, news: News) -> None:
        if isinstance(news, Born):
            channel = self.channels.get(news.worker)
            if channel is not None:
                channel.pid = news.pid
                self._booted(channel)
        elif isinstance(news, NotBorn):
            self._no_worker(news.error)
            channel = self.channels.pop(news.worker, None)
            if channel is not None:
                self._watch.remove(channel.sock.fileno())
                channel.close()
            self._reactor.feed(ev.SpawnFailed(ev.WorkerId(news.worker)))
        elif isinstance(news, Gone):
            self._bury(news)
        elif isinstance(news, Lost):
            log.warning("the pool's warden has died; running tasks are lost, and another is started")
            control, pidfd = self._launcher.control, self._launcher.pidfd
            for fd in (pidfd, None if control is None else control.sock.fileno()):
                if fd is not None:
                    self._watch.remove(fd)
        else:
            assert_never(news)

    def _bury(self, gone: Gone) -> None:
        """Take the last words of a dead worker, then tell that it is gone."""
        self.broken = gone.why or self.broken
        worker = ev.WorkerId(gone.worker)
        channel = self.channels.get(gone.worker)
        if channel is None:
            self._reactor.feed(ev.Exited(worker, None))  # it had been abandoned
            return
        # Before its last words are read: they end the channel, and once it is closed, its number is another's.
        self._watch.remove(channel.sock.fileno())
        channel.dead = True
        self._hear(channel, LAST_READS)
        claimed = channel.claimed()
        if claimed is not None and claimed in self.tasks:
            task = self.tasks[claimed]
            task.exit, task.progress = gone.code, channel.progress(claimed)
        del self.channels[gone.worker]
        self._reactor.feed(ev.Exited(worker, claimed, killed=gone.killed))
        channel.close()

    # --- what we watch -----------------------------------------------------------------------

    def _write(self, channel: Channel, data: bytes) -> None:
        channel.write(data)
        self._unwritten[channel.worker] = channel

    def flush(self) -> None:
        """Write what was queued for the workers: all that a turn of the reactor gave to one goes out together."""
        for channel in self._unwritten.values():
            channel.flush()
            self._mind(channel)
        self._unwritten.clear()

    def dismiss(self) -> None:
        """Tell who is not needed any more to leave: after all else, since to die takes a CPU for more than a millisecond."""
        for channel in filter(None, map(self.channels.get, self._dismissed)):
            self._write(channel, wire.head(Kind.RETIRE, 0))
        self._dismissed.clear()
        self.flush()

    def _mind(self, channel: Channel) -> None:
        """Watch for the socket to become writable exactly while bytes wait."""
        if channel.ended:
            return
        if channel.failed:
            self._launcher.deliver(Op.KILL, channel.worker)
        self._watch.change(channel.sock.fileno(), READ | WRITE if channel.waiting else READ)

    def _watch_control(self) -> None:
        control = self._launcher.control
        if control is not None:
            self._watch.put(control.sock.fileno(), READ | WRITE if control.waiting else READ, self._on_control)
        if self._launcher.pidfd is not None:
            self._watch.put(self._launcher.pidfd, READ, self._on_control)

    def _watch_sentinels(self) -> None:
        for fd, worker in self._launcher.sentinels().items():
            if fd not in self._watch:
                self._watch.put(fd, READ, lambda _, fd=fd, worker=worker: self._on_sentinel(fd, worker))  # type: ignore[misc]

    def _on_sentinel(self, fd: int, worker: int) -> None:
        self._watch.remove(fd)
        if (news := self._launcher.reap(worker)) is not None:
            self._hear_news(news)
