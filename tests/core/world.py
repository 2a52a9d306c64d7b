"""The nastiest world that keeps the shell's contract: what the explorer plays the machine against.

It may crash a worker at any moment (having claimed a task or not), ignore SIGTERM, sit on SIGKILL,
answer as late as it likes, deliver an interrupt any time after it was sent, fail to spawn or boot.
Time moves only to the machine's own deadline. A broken promise of the machine is an AssertionError.
"""

import math
from collections.abc import Iterator

from copying import copy_machine, machine_key
from proc import Config, Move, Proc
from stoppable.core import events as ev
from stoppable.core.ends import End
from stoppable.core.machine import Machine
from stoppable.core.tables import WorkerState


class World:
    """A machine and everything around it."""

    def __init__(self, config: Config, machine: type[Machine] = Machine) -> None:
        self.config = config
        self.machine = machine(
            config.size, ahead=config.ahead, spares=config.spares, max_tasks_per_child=config.most,
            boot_s=1.0, retire_s=1.0, kill_s=1.0, checked=True,
        )  # fmt: skip
        self.machine.backoff_s = self.machine.recheck_s = 1.0  # all times are whole, so that few different ones are met
        self.now = 0.0
        self.procs: dict[int, Proc] = {}
        self.ended: frozenset[int] = frozenset()
        self.ran: frozenset[int] = frozenset()
        self.shown: frozenset[int] = frozenset()
        self.wanted: frozenset[int] = frozenset()  # a stop was asked for, or a limit could have passed
        self.asked: frozenset[int] = frozenset()  # a stop was asked for
        self.stops = dict.fromkeys(range(min(config.tasks, config.stoppable)), config.stops)
        self.all, self.shutdowns = config.all, config.shutdown
        self.crashes, self.shields = config.crashes, config.shields
        self.spawn_fails, self.boot_fails = config.spawn_fails, config.boot_fails
        self.pauses, self.waits, self.heavy, self.beats = config.pauses, config.waits, config.heavy, config.beats
        self.declines = config.declines
        self.held: frozenset[int] = frozenset()  # a pause was asked for, and not taken back
        self.big: frozenset[int] = frozenset()  # was found to be over its memory
        self.closed = self.finished = False
        for number in range(config.tasks):
            limits = (config.timeout_s, config.deadline, config.watchdog_s) if number < config.limited else ()
            if any(limit is not None for limit in limits):
                self.wanted |= {number}
            memory = {"memory_bytes": 10} if config.heavy else {}
            self.feed(ev.Submit(ev.TaskId(number), config.policy, *limits, **memory))

    def copy(self) -> "World":
        new = World.__new__(World)
        new.__dict__.update(self.__dict__)
        new.machine = copy_machine(self.machine)
        new.procs = {id: proc.copy() for id, proc in self.procs.items()}
        new.stops = dict(self.stops)
        return new

    def key(self) -> Move:
        rank = {id: number for number, id in enumerate(self.machine.crew)}
        procs = tuple(
            proc.key(self.now, rank[ev.WorkerId(id)], (self.config.timeout_s or self.config.watchdog_s) is not None)
            for id, proc in self.procs.items()
            if id in rank
        )
        return (
            machine_key(self.machine, rank), procs, self.ended, self.ran, self.shown, self.wanted, self.asked,
            tuple(self.stops.items()), self.all, self.shutdowns, self.crashes, self.shields,
            self.spawn_fails, self.boot_fails, self.closed, self.finished,
            self.pauses, self.waits, self.heavy, self.beats, self.held, self.big, self.declines,
        )  # fmt: skip

    # --- what the shell does -----------------------------------------------------------------

    def feed(self, event: ev.Event) -> None:
        for action in self.machine.step(event, self.now):
            self.do(action)
        if not self.finished and not self.machine.broken and self.machine.queue:
            states = [self.machine.worker_state(w) for w in self.machine.workers()]
            hope = set(states) - {WorkerState.LOST} or self.machine.retry_at is not None
            assert hope, "work waits and no worker will come"
        if self.machine.idle and self.machine.running < self.config.size:
            self.check_nobody_waits()
        for id, proc in self.procs.items():
            if proc.halted is not None and proc.life != "dead":
                line = self.machine.line(ev.WorkerId(id))
                assert line, f"worker {id} stands still, and has no task"
                assert set(line) <= self.held, f"{line} wait for a worker that stands still"

    def check_nobody_waits(self) -> None:
        """A worker is idle and may work: then nothing is queued, and nothing waits behind another task."""
        assert not self.machine.queued, "a task is queued beside an idle worker"
        if self.machine.coming:
            # An answer is on its way; of a dead worker, it is the exit.
            assert any(proc.replies or proc.life == "dead" for proc in self.procs.values()), "a recall is forgotten"
            return
        for worker in self.machine.workers():
            for task in self.machine.line(worker)[1:]:
                proc = self.procs[worker]
                assert proc.life == "dead" or task not in proc.inbox, (
                    f"{task} waits behind another, beside an idle worker"
                )

    def do(self, action: ev.Action) -> None:
        match action:
            case ev.Spawn(worker):
                assert not self.finished, "a worker is born after the end"
                self.procs[worker] = Proc()
            case ev.Send(worker, task):
                assert task not in self.ended, f"{task} is sent, though it ended"
                assert task not in self.ran, f"{task} is sent, though it ran"
                assert all(task not in p.inbox for p in self.procs.values()), f"{task} is in two places"
                assert not self.procs[worker].touched, f"{task} is sent to a worker that was interrupted"
                assert self.procs[worker].halted is None, f"{task} is sent to a worker that stands still"
                self.procs[worker].inbox += (task,)
            case ev.Started(task):
                assert task not in self.shown, f"{task} is said to start twice"
                self.shown |= {task}
            case ev.Requeued(task):
                assert task in self.shown, f"{task} is said to wait again, but never was said to start"
                assert task not in self.ran, f"{task} is said to wait again, though it ran"
                self.shown -= {task}
            case ev.Recall(worker, task):
                self.recall(self.procs[worker], worker, task)
            case ev.Probe(worker, task):
                self.procs[worker].replies += (action,)
            case ev.Suspend(worker, task):
                assert task in self.held, f"{task} is paused, and nobody asked"
                assert task in self.ran, f"{task} is paused, which never ran"
                proc = self.procs[worker]
                assert proc.halted is None, f"{task} is paused twice"
                assert not proc.inbox, f"{task} is paused while {proc.inbox} wait there"
                assert proc.cur in (None, task), f"a pause of {task} hits {proc.cur}"
                proc.halted = self.now
            case ev.Continue(worker, task):
                proc = self.procs[worker]
                assert proc.halted is not None, f"{task} goes on and was not paused"
                proc.paused_s += self.now - proc.halted
                proc.alive, proc.halted = self.now, None
            case ev.Ask(worker, task):
                self.rung(worker, task).asked = True
            case ev.Interrupt(worker, task):
                proc = self.rung(worker, task, waits=True)
                proc.signal, proc.touched = task, True
            case ev.Terminate(worker, task):
                self.rung(worker, task, waits=True).term = True
            case ev.Kill(worker, task):
                self.rung(worker, task).kill = True
            case ev.Retire(worker):
                proc = self.procs[worker]
                assert not proc.inbox, f"worker {worker} is told to leave with work in hand"
                assert proc.cur is None, f"worker {worker} is told to leave at work"
                proc.left = True
            case ev.Resolve():
                self.resolve(action)
            case ev.Abandon(worker):
                assert self.procs[worker].kill, f"worker {worker} is abandoned and never was killed"
                self.procs[worker].lost = True
            case ev.Finished():
                self.finish()

    def recall(self, proc: Proc, worker: ev.WorkerId, task: ev.TaskId) -> None:
        assert not any(isinstance(e, ev.Recalled | ev.Claimed) and e.task == task for e in proc.replies), "two recalls"
        if proc.life == "dead":
            return  # its exit is the answer
        if task in proc.inbox:
            proc.inbox = tuple(t for t in proc.inbox if t != task)
            proc.replies += (ev.Recalled(worker, task),)
        else:
            declined = any(isinstance(e, ev.Answered) and e.task == task for e in proc.channel)
            assert declined or task in self.ran, f"{task} is recalled from a worker that never had it"
            proc.replies += (ev.Claimed(worker, task),)

    def rung(self, worker: int, task: int | None, *, waits: bool = False) -> Proc:
        """A rung is about to be used on *worker* for *task*: nobody else may be hit by it."""
        proc = self.procs[worker]
        assert proc.halted is None or task is None, f"a rung for {task}, which stands still"
        if task is not None:
            assert task in self.wanted, f"a rung for {task}, and nobody asked"
            assert task in self.ran, f"a rung for {task}, which never ran"
            over = any(isinstance(e, ev.Answered) and e.task == task for e in proc.channel)
            assert not over, f"a rung for {task}, whose ending is in the channel"
            if waits and self.config.shields == 1:  # a second shield would not be waited for
                assert proc.cur != task or proc.shield <= self.now, f"a rung for {task} in its shield"
            if task not in self.asked | self.big and proc.cur == task and not proc.asked:
                assert self.now >= self.limit(proc), f"{task} is stopped before its time"
        assert not set(proc.inbox) - {task}, f"a rung for {task} while {proc.inbox} wait there"
        assert proc.cur is None or proc.cur == task, f"a rung for {task} hits {proc.cur}"
        return proc

    def limit(self, proc: Proc) -> float:
        timeout_s, deadline, watchdog_s = self.config.timeout_s, self.config.deadline, self.config.watchdog_s
        timed = math.inf if timeout_s is None else proc.since + proc.paused_s + timeout_s
        watched = math.inf if watchdog_s is None else proc.alive + watchdog_s
        return min(timed, watched, math.inf if deadline is None else deadline)

    def resolve(self, said: ev.Resolve) -> None:
        task = said.task
        assert task not in self.ended, f"{task} ended twice"
        self.ended |= {task}
        assert said.started == (task in self.ran), f"{task}: started={said.started}"
        assert (not said.started) or task in self.shown, f"{task} ended as started and was never said to start"
        assert all(task not in p.inbox for p in self.procs.values() if p.life != "dead"), f"{task} ended, and may start"
        running = [p for p in self.procs.values() if p.cur == task and p.life != "dead"]
        assert not (running and said.confirmed), f"{task} is said to be over and runs"
        if said.end is End.STOPPED:
            assert task in self.wanted, f"{task} was stopped, and nobody asked"
            assert said.kind is not None, f"{task} was stopped for no reason"
        if said.end is End.DIED:
            assert said.started, f"{task} died without having run"
        if said.end is End.BROKEN:
            assert not said.started, f"{task} ran in a broken pool"
        assert said.confirmed or running or said.end is End.STOPPED, f"{task} is unconfirmed for nothing"
        self.stops.pop(task, None)

    def finish(self) -> None:
        assert not self.finished, "finished twice"
        assert self.closed, "finished, and nobody shut it down"
        assert len(self.ended) == self.config.tasks, "finished before its tasks"
        alive = [id for id, p in self.procs.items() if not p.lost]
        assert not alive, f"finished before its workers {alive}"
        self.finished = True

    # --- what may happen next ------------------------------------------------------------------

    def moves(self) -> Iterator[Move]:
        for task, rungs in self.stops.items():
            for rung in rungs:
                yield "stop", task, rung
        for rung in self.all:
            yield "stop all", rung
        for cancel in self.shutdowns:
            yield "shutdown", cancel
        most = self.config.size + self.config.spares + 2
        if self.machine.deadline() is not None and len(self.procs) < most and not self.brisk():
            yield ("tick",)
        if self.waits and self.machine.deadline() is None and not self.brisk():
            yield ("wait",)
        for task in self.shown if self.pauses else ():
            if task not in self.ended and task not in self.held:
                yield "pause", task
        for task in self.held - self.ended:
            yield "resume", task
        for id, proc in self.procs.items():
            for name in self.proc_moves(proc):
                yield name, id

    def brisk(self) -> bool:
        """Is something going on that takes no time, unless the configuration is a slow one?"""
        if self.config.slow:
            return False
        return any(p.life == "boot" or (p.left and p.life == "ready" and not p.kill) for p in self.procs.values())

    def proc_moves(self, proc: Proc) -> Iterator[str]:
        if proc.replies:
            yield "reply"
        if proc.channel:
            yield "read"
        if proc.life == "dead":
            if not proc.channel:
                yield "exited"
            return
        if proc.cur is not None and self.heavy:
            yield "weighed"
        if proc.halted is not None:
            if proc.kill:
                yield "die"
            if self.crashes:
                yield "crash"
            return
        if proc.life == "boot":
            yield "boot"
            if self.boot_fails:
                yield "boot fails"
            if self.spawn_fails and not proc.kill:
                yield "spawn fails"
        elif proc.cur is not None:
            yield "return"
            if proc.asked or proc.hit:
                yield "comply"
            if proc.signal == proc.cur:
                yield "interrupted"
                yield "swallow"
            if self.config.looks and not proc.looked:
                yield "look"
            if self.beats and proc.alive < self.now:
                yield "beat"
            if self.shields and proc.shield <= self.now:
                yield "shield"
            if proc.shield > self.now:
                yield "unshield"
        elif proc.inbox and proc.life == "ready":
            yield "take"
            if self.declines:
                yield "decline"
        elif proc.left or proc.life == "failed":
            yield "die"
        if proc.term or proc.kill:
            yield "die"
        if proc.term:
            yield "ignore"
        if self.crashes:
            yield "crash"

    def play(self, move: Move) -> None:
        match move:
            case "stop", task, rung:
                self.stops[task] = tuple(r for r in self.stops[task] if r > rung)
                self.wanted |= {task}
                self.asked |= {task}
                self.feed(ev.Stop(task, rung))
            case "stop all", rung:
                self.all = tuple(r for r in self.all if r > rung)
                self.wanted = self.asked = frozenset(range(self.config.tasks))
                self.feed(ev.StopAll(rung))
            case "shutdown", cancel:
                self.shutdowns = tuple(c for c in self.shutdowns if c > cancel)
                self.closed = True
                if cancel:
                    self.wanted |= set(range(self.config.tasks))
                self.feed(ev.Shutdown(cancel))
            case ("tick",):
                self.tick()
            case ("wait",):
                self.waits -= 1
                self.now += 1
                self.feed(ev.Tick())
            case "pause", task:
                self.pauses -= 1
                self.held |= {task}
                self.feed(ev.Pause(ev.TaskId(task)))
            case "resume", task:
                self.held -= {task}
                self.feed(ev.Resume(ev.TaskId(task)))
            case name, id:
                self.play_proc(name, id, self.procs[id])

    def tick(self) -> None:
        due = self.machine.deadline()
        assert due is not None
        assert due > self.now, "a deadline that does not move on"
        self.now = due
        self.feed(ev.Tick())

    def play_proc(self, name: str, id: int, proc: Proc) -> None:
        worker = ev.WorkerId(id)
        match name:
            case "reply":
                self.reply(worker, proc)
            case "read":
                event, proc.channel = proc.channel[0], proc.channel[1:]
                self.feed(event)
            case "exited":
                del self.procs[id]
                claimed = None if proc.cur is None else ev.TaskId(proc.cur)
                self.feed(ev.Exited(worker, claimed))
            case "boot":
                proc.life = "ready"
                proc.channel += (ev.Booted(worker),)
                if not self.config.slow:
                    self.play_proc("read", id, proc)
            case "boot fails":
                self.boot_fails -= 1
                proc.life = "failed"
                proc.channel += (ev.BootFailed(worker),)
            case "spawn fails":
                self.spawn_fails -= 1
                del self.procs[id]
                self.feed(ev.SpawnFailed(worker))
            case "take":
                self.take(proc)
            case "decline":
                self.decline(worker, proc)
            case "return":
                self.answer(worker, proc, stopped=False)
            case "comply":
                self.answer(worker, proc, stopped=True)
            case "interrupted":
                proc.hit = True
                self.answer(worker, proc, stopped=True)
            case "swallow":
                proc.signal, proc.hit = None, True
            case "look":
                proc.looked, proc.alive = True, self.now
            case "beat":
                self.beats -= 1
                proc.alive = self.now
            case "weighed":
                self.heavy -= 1
                assert proc.cur is not None
                self.big |= {proc.cur}
                self.wanted |= {proc.cur}
                self.feed(ev.Weighed(worker, ev.TaskId(proc.cur), 11))
            case "shield":
                self.shields -= 1
                proc.shield = self.now + 1.5
            case "unshield":
                proc.shield = 0.0
                if proc.asked and proc.cur is not None:  # a task that is being stopped says so
                    proc.replies += (ev.Probe(worker, ev.TaskId(proc.cur)),)
            case "ignore":
                proc.term = False
            case "crash" | "die":
                self.crashes -= name == "crash"
                proc.life, proc.inbox, proc.replies = "dead", (), ()
                proc.term = False

    def take(self, proc: Proc) -> None:
        task, proc.inbox = proc.inbox[0], proc.inbox[1:]
        assert task not in self.ran, f"{task} runs twice"
        assert task not in self.ended, f"{task} runs after its end"
        self.ran |= {task}
        proc.alive, proc.paused_s = self.now, 0.0
        proc.cur, proc.since, proc.looked, proc.asked, proc.hit = task, self.now, False, False, False
        taken = sum(p.cur is not None and p.life != "dead" and not p.lost for p in self.procs.values())
        assert taken <= self.config.size, f"{taken} tasks run at once"

    def decline(self, worker: ev.WorkerId, proc: Proc) -> None:
        task, proc.inbox = proc.inbox[0], proc.inbox[1:]
        self.declines -= 1
        self.wanted |= {task}
        proc.channel += (ev.Answered(worker, ev.TaskId(task), stopped=True, began=False),)

    def answer(self, worker: ev.WorkerId, proc: Proc, *, stopped: bool) -> None:
        assert proc.cur is not None
        proc.channel += (ev.Answered(worker, ev.TaskId(proc.cur), stopped, fit=not proc.hit),)
        # A signal that is still on its way names a task that is over: contract 6 makes it harmless.
        proc.cur = proc.signal = None
        proc.asked = False
        proc.shield = 0.0

    def reply(self, worker: ev.WorkerId, proc: Proc) -> None:
        event, proc.replies = proc.replies[0], proc.replies[1:]
        if not isinstance(event, ev.Probe):
            self.feed(event)
            return
        while proc.channel:
            said, proc.channel = proc.channel[0], proc.channel[1:]
            self.feed(said)
        task = event.task
        if task in self.ended or proc.life == "dead":
            return
        started = proc.since if proc.cur == task else None
        shield = proc.shield if proc.cur == task else 0.0
        self.feed(ev.Probed(worker, task, proc.looked, shield, started, proc.alive if proc.cur == task else 0.0))

    # --- what must always be possible ----------------------------------------------------------

    def good(self) -> bool:
        return self.finished if self.config.shutdown else len(self.ended) == self.config.tasks

    def stopping(self) -> bool:
        return any(task.climb is not None for task in self.machine.tasks.values())

    def alone(self) -> int:
        """Return how many steps end each stop with no help from any worker: the shell's answers and time only."""
        steps = 0
        while self.stopping():
            steps += 1
            assert steps < 60, "a stop never ends by itself"
            waiting = [id for id, proc in self.procs.items() if proc.replies]
            dead = [id for id, proc in self.procs.items() if proc.life == "dead"]
            if waiting:
                self.play(("reply", waiting[0]))
            elif dead:
                self.play(("read" if self.procs[dead[0]].channel else "exited", dead[0]))
            else:
                assert self.machine.deadline() is not None, "a stop waits for nothing"
                self.tick()
        return steps
