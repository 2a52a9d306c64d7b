"""What must be so after a chaos run: one function a promise, each given the history and yielding what broke it.

It only compares; it knows no pool and no process. That each check can fail is shown in `test_chaos_checks.py`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from signal import SIGKILL, SIGSEGV

from chaos_history import HarmDone, History, Outcome, Record
from chaos_plan import DIE, FAIL, NEVER_BEGIN, Kind, Order
from chaos_tasks import BEGUN, ENDED, SHIELDED, UNSHIELDED, exit_code

INTERRUPT, TERMINATE = 2, 3
_LONG_S = 100.0  # a timeout that no task comes near
# A signal is on its way while the process that it is for may still run a little.
_SIGNAL_S = 0.1
_WARDEN_S = 2.0  # a warden's death, then its workers'
_CHILD_S = 0.1
_SUICIDES = {Kind.SEGFAULT: -SIGSEGV, Kind.KILL_SELF: -SIGKILL, Kind.ARGUMENT_KILLS: 23}


class Facts:
    """A history, sorted for looking things up."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.orders = history.orders
        self.outcomes = {outcome.number: outcome for outcome in history.outcomes}
        self.records: dict[int, list[Record]] = defaultdict(list)
        for record in history.records:
            self.records[record.number].append(record)
        self.asked_at: dict[int, float] = {}
        for stop in history.stops:
            self.asked_at[stop.number] = min(stop.at, self.asked_at.get(stop.number, stop.at))

    def count(self, number: int, what: int) -> int:
        return sum(record.what == what for record in self.records[number])

    def begun(self, number: int) -> Record | None:
        return next((record for record in self.records[number] if record.what == BEGUN), None)

    def targeted(self, number: int) -> bool:
        """Say whether anybody asked for the stop of the task before it was done."""
        order, outcome = self.orders[number], self.outcomes[number]
        timed = order.timeout_s is not None and order.timeout_s < _LONG_S
        return timed or self.asked_at.get(number, float("inf")) <= outcome.at

    def each(self) -> Iterator[tuple[Order, Outcome]]:
        for outcome in self.history.outcomes:
            yield self.orders[outcome.number], outcome


def every_task_ends_once(facts: Facts) -> Iterator[str]:
    ends = Counter(outcome.number for outcome in facts.history.outcomes)
    for number, order in facts.orders.items():
        if ends[number] != 1:
            yield f"task {number} ({order.kind}) has {ends[number]} outcomes"
        elif facts.outcomes[number].end == "never":
            yield f"task {number} ({order.kind}) was never done"
        elif facts.outcomes[number].end == "broken":
            yield f"task {number} ({order.kind}) was refused: the pool is broken: {facts.outcomes[number].text}"


def none_runs_twice(facts: Facts) -> Iterator[str]:
    for number, order in facts.orders.items():
        begun = facts.count(number, BEGUN)
        if begun > 1:
            pids = [record.pid for record in facts.records[number] if record.what == BEGUN]
            yield f"task {number} ({order.kind}) began {begun} times, in {pids}"
        if begun and order.kind in NEVER_BEGIN:
            yield f"task {number} ({order.kind}) began, though it cannot be read"


def who_answers_has_run(facts: Facts) -> Iterator[str]:
    for order, outcome in facts.each():
        begun, ended = facts.count(order.number, BEGUN), facts.count(order.number, ENDED)
        if outcome.end == "value" and (begun, ended) != (1, 1):
            yield f"task {order.number} ({order.kind}) has a value, having begun {begun} and ended {ended} times"
        if outcome.end == "error" and not begun and order.kind not in NEVER_BEGIN and not facts.targeted(order.number):
            yield f"task {order.number} ({order.kind}) failed ({outcome.text}) and never began"


def values_are_right(facts: Facts) -> Iterator[str]:
    for order, outcome in facts.each():
        if outcome.fault:
            yield f"task {order.number} ({order.kind}): {outcome.fault}"
        elif outcome.end == "value" and (order.kind in FAIL or order.kind in DIE):
            yield f"task {order.number} ({order.kind}) has a value"


def errors_are_its_own(facts: Facts) -> Iterator[str]:
    for order, outcome in facts.each():
        # An interrupt in the import of a module in C comes out of it as ImportError (PyCapsule_Import).
        cut = order.kind is Kind.ARRAY and outcome.error == "ImportError" and facts.targeted(order.number)
        if outcome.end == "error" and outcome.error != FAIL.get(order.kind) and not cut:
            yield f"task {order.number} ({order.kind}) raised {outcome.error}: {outcome.text}"


def only_the_targeted_are_stopped(facts: Facts) -> Iterator[str]:
    for order, outcome in facts.each():
        if outcome.end in ("stopped", "timeout") and not facts.targeted(order.number):
            yield f"task {order.number} ({order.kind}) was stopped, and nobody asked for it: {outcome.text}"
        if outcome.end == "timeout" and order.timeout_s is None:
            yield f"task {order.number} ({order.kind}) is out of time, and had no timeout"


def stops_tell_the_truth(facts: Facts) -> Iterator[str]:
    for order, outcome in facts.each():
        name = f"task {order.number} ({order.kind}), {outcome.end}"
        if outcome.end not in ("stopped", "timeout"):
            if outcome.cancelled:
                yield f"{name}, is cancelled()"
            continue
        if outcome.cancelled != (outcome.end == "stopped"):
            yield f"{name}: cancelled() is {outcome.cancelled}"
        if not outcome.confirmed:
            yield f"{name}: its process was not seen to end"
        if outcome.started != (outcome.rung is not None):
            yield f"{name}: started is {outcome.started} and the rung is {outcome.rung}"
        if not outcome.started and facts.count(order.number, BEGUN):
            yield f"{name}: it says that it never started, and it has"
        if outcome.rungs and outcome.rung is not None and outcome.rung != outcome.rungs[-1]:
            yield f"{name}: rung {outcome.rung}, and the report says {outcome.rungs}"
        if any(a >= b for a, b in zip(outcome.rungs, outcome.rungs[1:], strict=False)):
            yield f"{name}: the rungs {outcome.rungs} do not go up"
        if outcome.message not in (None, f"chaos {order.number}", "chaos all"):
            yield f"{name}: for the reason of another: {outcome.message}"


def calls_that_stop_are_right(facts: Facts) -> Iterator[str]:
    for stop in facts.history.stops:
        outcome = facts.outcomes.get(stop.number)
        if stop.accepted is False and outcome is not None and stop.at + _SIGNAL_S < outcome.at and stop.how == "wait":
            yield f"stop_and_wait() of task {stop.number} ran out"
        elif stop.accepted is False and outcome is not None and outcome.at > stop.at + 10 * _SIGNAL_S:
            yield f"{stop.how} of task {stop.number} was refused, and it was not done"


def the_dead_are_accounted_for(facts: Facts) -> Iterator[str]:
    """Each kill explains one death at most, a warden's as many as there are seats."""
    kills = [harm for harm in facts.history.harms if harm.signum == SIGKILL]
    left = {harm: facts.history.workers if harm.warden else 1 for harm in kills}
    dead = [(order, outcome) for order, outcome in facts.each() if outcome.end == "died"]
    # Those of which more is known choose first.
    for order, outcome in sorted(dead, key=lambda pair: facts.begun(pair[0].number) is None):
        if order.kind in DIE and outcome.code == suicide_code(order):
            continue
        begun = facts.begun(order.number)
        found = next((harm for harm in kills if left[harm] and _explains(harm, begun, outcome)), None)
        if found is None:
            yield f"task {order.number} ({order.kind}) lost its worker (code {outcome.code}), and nobody had killed that"
        else:
            left[found] -= 1


def _explains(harm: HarmDone, begun: Record | None, outcome: Outcome) -> bool:
    if harm.began > outcome.at or harm.ended + _WARDEN_S < outcome.submitted_at:
        return False
    if harm.warden:
        return begun is None or begun.at <= harm.ended + _WARDEN_S
    if outcome.code not in (-SIGKILL, None):
        return False
    return begun is None or (begun.pid == harm.pid and begun.at <= harm.ended + _SIGNAL_S)


def suicide_code(order: Order) -> int:
    """Return the exit code of the worker of a task that ends it."""
    return _SUICIDES.get(order.kind, exit_code(order.number))


def who_ends_its_worker_has_died(facts: Facts) -> Iterator[str]:
    for order, outcome in facts.each():
        if order.kind in DIE and outcome.end in ("value", "error"):
            yield f"task {order.number} ({order.kind}) ended its worker, and has: {outcome.end} {outcome.text}"


def nothing_happens_after_the_end(facts: Facts) -> Iterator[str]:
    for order, outcome in facts.each():
        begun = facts.begun(order.number)
        for record in reversed(facts.records[order.number]):
            own = record.what == BEGUN or (begun is not None and record.pid == begun.pid)
            if own and record.place >= outcome.place:
                late_ms = (record.at - outcome.at) * 1000
                yield f"task {order.number} ({order.kind}), {outcome.end}, wrote {record.what} after that ({late_ms:.2f} ms)"
                break
            ended_hard = outcome.end == "died" or (outcome.rung or 0) >= TERMINATE
            if not own and ended_hard and record.at > outcome.at + _CHILD_S:
                late_s = record.at - outcome.at
                yield f"a child of task {order.number}, {outcome.end}, went on for {late_s:.3f} s: {outcome.text}"
                break


def shields_are_kept(facts: Facts) -> Iterator[str]:
    for order, outcome in facts.each():
        if order.kind is not Kind.SHIELDS or outcome.end == "died" or (outcome.rung or 0) > INTERRUPT:
            continue
        up, down = facts.count(order.number, SHIELDED), facts.count(order.number, UNSHIELDED)
        if up != down:
            yield f"task {order.number}, {outcome.end} by rung {outcome.rung}, was stopped inside a shield"


def nothing_is_left_behind(facts: Facts) -> Iterator[str]:
    for line in facts.history.left_behind:
        yield f"left behind: {line}"


CHECKS: tuple[Callable[[Facts], Iterator[str]], ...] = (
    every_task_ends_once,
    none_runs_twice,
    who_answers_has_run,
    values_are_right,
    errors_are_its_own,
    only_the_targeted_are_stopped,
    stops_tell_the_truth,
    calls_that_stop_are_right,
    the_dead_are_accounted_for,
    who_ends_its_worker_has_died,
    nothing_happens_after_the_end,
    shields_are_kept,
    nothing_is_left_behind,
)


def verify(history: History) -> list[str]:
    """Return a line for each promise that was broken."""
    facts = Facts(history)
    missing = facts.orders.keys() - facts.outcomes.keys()
    if missing:  # the other checks look outcomes up
        return list(every_task_ends_once(facts))
    return [line for check in CHECKS for line in check(facts)]
