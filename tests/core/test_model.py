"""The machine against a model that knows only who waits, who has what, and what that must come to.

The world of `world.py` says what may never happen. This says, besides, in what order tasks are given out, what a
stop ends in the same step, and as what each task ends; and hypothesis shrinks what it finds to a few events. The
workers obey: they boot, take, answer, give back, die when killed. What they do when they do not is the explorer's.
"""

import dataclasses
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from stoppable.core import events as ev
from stoppable.core.ends import End
from stoppable.core.ladder import StopPolicy
from stoppable.core.machine import Machine
from stoppable.rung import Rung

POLICIES = (StopPolicy(1, 1, 1), StopPolicy(0, 0, 3), StopPolicy(5, 1, 0), StopPolicy(1, 1, 1, interruptible=False))
ENDING = (Rung.TERMINATE, Rung.KILL)


@dataclasses.dataclass
class Worker:
    """A worker that obeys."""

    life: str = "boot"  # boot | ready | leaving | condemned
    line: list[int] = dataclasses.field(default_factory=list)  # the first may be at work
    at_work: bool = False
    asked: list[Any] = dataclasses.field(default_factory=list)  # recalls and probes that wait for their answer
    given: int = 0


class Shop(RuleBasedStateMachine):
    """Events at random; after each step, the actions are what the model says they must be."""

    sound = False

    @initialize(
        size=st.integers(1, 3), ahead=st.integers(1, 3), spares=st.integers(0, 1), most=st.sampled_from([None, None, 2])
    )
    def begin(self, size: int, ahead: int, spares: int, most: int | None) -> None:
        self.size, self.most = size, most or 10**9
        self.machine = Machine(
            size,
            ahead=ahead,
            spares=spares,
            max_tasks_per_child=most,
            boot_s=1e6,
            retire_s=1e6,
            kill_s=1e6,
            checked=True,
        )
        self.now = 0.0
        self.fresh: list[int] = []  # never given to anybody, in order
        self.back: list[int] = []  # given, and certain not to have started
        self.started: set[int] = set()
        self.ended: dict[int, ev.Resolve] = {}
        self.stopped: set[int] = set()  # somebody has asked for its end
        self.unwanted: set[int] = set()  # its time is up, or it is not to start any more
        self.rungs: dict[int, Rung] = {}  # the last that was climbed for it
        self.deadlines: dict[int, float] = {}
        self.workers: dict[int, Worker] = {}
        self.count = 0
        self.closed = self.finished = False

    # --- a step, and what must come of it -----------------------------------------------------------

    def feed(self, event: ev.Event, *, ends: dict[int, End] | None = None) -> None:
        """Step *event*; *ends*: what must end by it, and how. What else ends must be late for its deadline."""
        ends = ends or {}
        self.sound = False
        waiting = {*self.fresh, *self.back}
        late = {task for task in waiting if self.deadlines.get(task, self.now + 1) <= self.now}
        resolved: set[int] = set()
        for action in self.machine.step(event, self.now):
            if isinstance(action, ev.Resolve):
                resolved.add(action.task)
                self.resolve(action, ends, late)
            else:
                self.do(action)
        assert set(ends) | late <= resolved, f"{set(ends) | late} must end, and {resolved} did"
        self.balance()
        self.sound = True

    def resolve(self, said: ev.Resolve, ends: dict[int, End], late: set[int]) -> None:
        task = said.task
        assert task not in self.ended, f"{task} ended twice"
        assert task in ends or task in late, f"{task} ended for nothing: {said}"
        assert said.end is ends.get(task, End.STOPPED)
        assert said.started == (task in self.started)
        assert said.confirmed
        if said.started and said.end is not End.DIED:
            assert said.rung == self.rungs.get(task)
        assert said.kind is None or task in self.stopped | self.unwanted | late, f"{said}, and nobody asked"
        assert said.kind is not None or (said.end is not End.STOPPED and task not in self.stopped)
        self.ended[task] = said
        for place in (self.fresh, self.back, *(worker.line for worker in self.workers.values())):
            if task in place:
                place.remove(task)

    def do(self, action: ev.Action) -> None:
        match action:
            case ev.Spawn(worker):
                self.workers[worker] = Worker()
            case ev.Send(worker, task):
                self.send(self.workers[worker], task)
            case ev.Recall(worker, task) | ev.Probe(worker, task):
                assert task in self.workers[worker].line
                self.workers[worker].asked.append(action)
            case ev.Ask(worker, task) | ev.Interrupt(worker, task) | ev.Terminate(worker, task) | ev.Kill(worker, task):
                self.climb(self.workers[worker], task, Rung[type(action).__name__.upper()])
            case ev.Retire(worker):
                assert not self.workers[worker].line
                self.workers[worker].life = "leaving"
            case ev.Finished():
                assert self.closed
                assert not self.workers
                assert len(self.ended) == self.count
                self.finished = True

    def send(self, worker: Worker, task: int) -> None:
        assert worker.life == "ready"
        assert task not in self.started
        if self.back:
            assert task in self.back, f"{task} comes before {self.back}, which were given out before"
            self.back.remove(task)
        else:
            assert task == self.fresh.pop(0), f"{task} comes out of turn"
        worker.line.append(task)
        worker.given += 1
        assert worker.given <= self.most
        assert len(worker.line) == 1 or worker.line[0] not in self.stopped, "sent behind one that is being stopped"
        assert len(worker.line) <= self.machine.ahead

    def climb(self, worker: Worker, task: int | None, rung: Rung) -> None:
        if rung in ENDING:
            worker.life = "condemned"
        if task is None:  # a worker that was interrupted, or has a neighbour that was
            assert rung in ENDING
            return
        assert task in self.stopped | self.unwanted
        assert worker.at_work
        assert worker.line == [task], f"{rung} for {task} beside {worker.line}"
        assert rung > self.rungs.get(task, Rung.ASK) or task not in self.rungs, "a rung twice, or down"
        self.rungs[task] = rung

    def balance(self) -> None:
        """Nobody waits for nothing, and nobody sits where none may."""
        seats = sum(bool(worker.line) for worker in self.workers.values())
        assert seats <= self.size
        free = [worker for worker in self.workers.values() if worker.life == "ready" and not worker.line]
        if free and seats < self.size:
            assert not self.fresh
            assert not self.back
        assert len({task for worker in self.workers.values() for task in worker.line}) == sum(
            len(worker.line) for worker in self.workers.values()
        )
        assert self.machine.queued == len(self.fresh) + len(self.back)
        assert self.machine.unfinished == self.count - len(self.ended)

    # --- users --------------------------------------------------------------------------------------

    @precondition(lambda self: not self.finished)
    @rule(policy=st.sampled_from(POLICIES), deadline=st.sampled_from([None, None, None, 0.0, 2.0, 7.0]))
    def submit(self, policy: StopPolicy, deadline: float | None) -> None:
        number, self.count = self.count, self.count + 1
        if deadline is not None:
            self.deadlines[number] = self.now + deadline
        self.fresh.append(number)
        refused = {number: End.STOPPED} if self.closed else {}
        self.stopped |= set(refused)
        self.feed(ev.Submit(ev.TaskId(number), policy, deadline=self.deadlines.get(number)), ends=refused)

    def any_task(self, data: Any) -> int:
        return int(data.draw(st.integers(0, self.count - 1), "task"))

    @precondition(lambda self: self.count)
    @rule(data=st.data(), at=st.sampled_from(Rung), policy=st.none() | st.sampled_from(POLICIES))
    def stop(self, data: Any, at: Rung, policy: StopPolicy | None) -> None:
        task = self.any_task(data)
        if task in self.ended:
            before = self.machine.deadline()
            assert self.machine.step(ev.Stop(ev.TaskId(task), at, policy), self.now) == []
            assert self.machine.deadline() == before
            return
        self.stopped.add(task)
        waits = task in self.fresh or task in self.back
        self.feed(ev.Stop(ev.TaskId(task), at, policy), ends={task: End.STOPPED} if waits else {})

    @precondition(lambda self: self.count)
    @rule(at=st.sampled_from(Rung), often=st.integers(0, 4))
    def stop_all(self, at: Rung, often: int) -> None:
        if often:
            return
        waiting = dict.fromkeys([*self.fresh, *self.back], End.STOPPED)
        self.stopped |= set(range(self.count)) - set(self.ended)
        self.feed(ev.StopAll(at), ends=waiting)

    @rule(cancel=st.booleans(), often=st.integers(0, 9))
    def shutdown(self, cancel: bool, often: int) -> None:
        if often or self.closed:
            return
        self.closed = True
        waiting = dict.fromkeys([*self.fresh, *self.back], End.STOPPED) if cancel else {}
        self.stopped |= set(waiting)
        if cancel:  # those that a worker has not begun will be taken back, and end then
            self.unwanted |= {task for w in self.workers.values() for task in w.line if task not in self.started}
        self.feed(ev.Shutdown(cancel), ends=waiting)

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0]))
    def let_time_pass(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.machine.deadline()) is not None and due <= until:
            assert due > self.now or due <= self.now  # it may be due at once
            self.now = max(self.now, due)
            self.tick()
        self.now = until

    def tick(self) -> None:
        over = {task for w in self.workers.values() for task in w.line if self.deadlines.get(task, 1e9) <= self.now}
        self.unwanted |= over
        self.feed(ev.Tick())

    # --- workers ------------------------------------------------------------------------------------

    def some(self, data: Any, fact: Any) -> tuple[ev.WorkerId, Worker]:
        number = data.draw(st.sampled_from([n for n, worker in self.workers.items() if fact(worker)]), "worker")
        return ev.WorkerId(number), self.workers[number]

    @precondition(lambda self: any(w.life == "boot" for w in self.workers.values()))
    @rule(data=st.data())
    def boot(self, data: Any) -> None:
        number, worker = self.some(data, lambda w: w.life == "boot")
        worker.life = "ready"
        self.feed(ev.Booted(number))

    @precondition(lambda self: any(w.line and not w.at_work and w.life == "ready" for w in self.workers.values()))
    @rule(data=st.data())
    def take(self, data: Any) -> None:
        """No event: the machine learns of it only when it asks."""
        self.begin_the_first(self.some(data, lambda w: w.line and not w.at_work and w.life == "ready")[1])

    def begin_the_first(self, worker: Worker) -> None:
        assert worker.line[0] not in self.started, "it runs twice"
        self.started.add(worker.line[0])
        worker.at_work = True

    @precondition(lambda self: any(w.at_work for w in self.workers.values()))
    @rule(data=st.data(), stopped=st.booleans(), fit=st.booleans())
    def answer(self, data: Any, stopped: bool, fit: bool) -> None:
        self.say_it_is_over(*self.some(data, lambda w: w.at_work), stopped, fit)

    def say_it_is_over(self, number: ev.WorkerId, worker: Worker, stopped: bool, fit: bool) -> None:
        task = worker.line[0]
        stopped = stopped and self.rungs.get(task, Rung.KILL) < Rung.KILL
        worker.at_work = False
        worker.asked = [each for each in worker.asked if each.task != task]
        fit = fit and self.rungs.get(task, Rung.ASK) is Rung.ASK  # it was interrupted: never fit
        self.feed(
            ev.Answered(number, ev.TaskId(task), stopped, fit), ends={task: End.STOPPED if stopped else End.ANSWERED}
        )

    @precondition(lambda self: any(w.asked for w in self.workers.values()))
    @rule(data=st.data(), looked=st.booleans(), shielded=st.booleans())
    def reply(self, data: Any, looked: bool, shielded: bool) -> None:
        self.say_what_was_asked(*self.some(data, lambda w: w.asked), looked, shielded)

    def say_what_was_asked(self, number: ev.WorkerId, worker: Worker, looked: bool, shielded: bool) -> None:
        request = worker.asked.pop(0)
        task = request.task
        begun = worker.at_work and worker.line[0] == task
        if isinstance(request, ev.Probe):
            if begun and self.deadlines.get(task, 1e9) <= self.now:
                self.unwanted.add(task)
            until = self.now + 0.5 if shielded and begun else 0.0
            self.feed(ev.Probed(number, task, looked, until, self.now if begun else None))
        elif begun:
            self.feed(ev.Claimed(number, task))
        else:
            worker.line.remove(task)
            worker.given -= 1
            unwanted = task in self.stopped | self.unwanted
            self.back.append(task)
            self.feed(ev.Recalled(number, task), ends={task: End.STOPPED} if unwanted else {})

    @precondition(lambda self: any(w.life in ("leaving", "condemned") for w in self.workers.values()))
    @rule(data=st.data())
    def die(self, data: Any) -> None:
        number, _ = self.some(data, lambda w: w.life in ("leaving", "condemned"))
        self.exit(number)

    @precondition(lambda self: any(w.life == "ready" for w in self.workers.values()))
    @rule(data=st.data(), often=st.integers(0, 2))
    def crash(self, data: Any, often: int) -> None:
        if not often:
            number, _ = self.some(data, lambda w: w.life == "ready")
            self.exit(number)

    def exit(self, number: ev.WorkerId) -> None:
        worker = self.workers.pop(number)
        claimed = ev.TaskId(worker.line[0]) if worker.at_work else None
        ends: dict[int, End] = {}
        for task in worker.line:
            if task == claimed:
                ends[task] = End.STOPPED if self.rungs.get(task) in ENDING else End.DIED
            elif task in self.stopped | self.unwanted:
                self.back.append(task)
                ends[task] = End.STOPPED
            else:
                self.back.append(task)
        self.feed(ev.Exited(number, claimed, killed=True), ends=ends)

    def teardown(self) -> None:
        """Whatever has happened, all ends once the workers do their part."""
        if not self.sound:  # a rule has failed, and that is what is to be shown
            return
        if not self.closed:
            self.closed = True
            self.feed(ev.Shutdown())
        for _ in range(500):
            if self.finished:
                break
            self.help()
        assert self.finished, f"it does not end: {self.workers}, {self.fresh}, {self.back}"
        assert sorted(self.ended) == list(range(self.count))

    def help(self) -> None:
        for number, worker in list(self.workers.items()):
            if worker.life in ("leaving", "condemned"):
                self.exit(ev.WorkerId(number))
            elif worker.life == "boot":
                worker.life = "ready"
                self.feed(ev.Booted(ev.WorkerId(number)))
            elif worker.asked or worker.line:
                self.help_work(ev.WorkerId(number), worker)
        self.let_time_pass(1.0)

    def help_work(self, number: ev.WorkerId, worker: Worker) -> None:
        if worker.asked:
            self.say_what_was_asked(number, worker, looked=False, shielded=False)
        elif worker.at_work:
            self.say_it_is_over(number, worker, stopped=False, fit=True)
        else:
            self.begin_the_first(worker)


Shop.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, phases=set(Phase) - {Phase.explain}
)
TestShop = pytest.mark.slow(Shop.TestCase)
