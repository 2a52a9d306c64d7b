"""A mixed load: each step runs to its end and is checked, so that between two steps nothing is under way."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import soak_tasks as tasks

from stoppable import Event, ProcessPoolExecutor, Rung, StopPolicy, StopToken, TaskStopped, TaskTimeout, WorkerDied

BOUND_S = 120.0
POLICY = StopPolicy(ask=2.0, interrupt=0.5, terminate=0.5)


class Load:
    """Two pools: one whose tasks are stopped in every way, and a calm one, whose worker stays for the whole run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.pool = ProcessPoolExecutor(2, policy=POLICY)
        self.calm = ProcessPoolExecutor(1, policy=POLICY)
        self.steps: dict[Callable[[], None], float] = {
            self.burst: 6, self.mapping: 4, self.stop_at_each_rung: 4, self.kill: 2, self.timeout: 1, self.tokens: 4,
            self.events: 4, self.partial: 2, self.children: 2, self.big: 2, self.failures: 2, self.death: 1,
            self.nested: 0.3, self.own_pool: 0.3, self.queued: 1,
        }  # fmt: skip

    def step(self) -> None:
        """Do one of them."""
        chosen = self.chance.choices(list(self.steps), list(self.steps.values()))[0]
        chosen()
        self.done[chosen.__name__] += 1

    def close(self) -> None:
        self.pool.shutdown()
        self.calm.shutdown()

    def begin(self, task: Callable[..., Any], *args: Any, **options: Any) -> Any:
        begun = Event()
        future = self.pool.options(**options).submit(task, begun, *args)
        assert begun.wait(BOUND_S), f"{task} did not begin"
        return future

    # --- the steps -----------------------------------------------------------------------------

    def burst(self) -> None:
        for pool in (self.pool, self.calm):
            futures = [pool.submit(tasks.double, n) for n in range(100)]
            assert [future.result(BOUND_S) for future in futures] == list(range(0, 200, 2))

    def mapping(self) -> None:
        for pool in (self.pool, self.calm):
            assert list(pool.map(tasks.double, range(500), chunksize=20)) == list(range(0, 1000, 2))
        taken = self.pool.map(tasks.double, range(200), buffersize=5)
        assert next(taken) == 0
        taken.close()  # type: ignore[attr-defined]

    def stop_at_each_rung(self) -> None:
        for task, rung in (
            (tasks.polite, Rung.ASK),
            (tasks.deaf, Rung.INTERRUPT),
            (tasks.stubborn, Rung.TERMINATE),
            (tasks.unkind, Rung.KILL),
        ):
            future = self.begin(task)
            future.stop("soak")
            ended(future, TaskStopped, rung)

    def kill(self) -> None:
        future = self.begin(tasks.deaf)
        future.kill()
        ended(future, TaskStopped, Rung.KILL)

    def timeout(self) -> None:
        ended(self.begin(tasks.polite, timeout=0.1), TaskTimeout)

    def tokens(self) -> None:
        root = StopToken()
        for token in (root.child(), StopToken.any_of(root, StopToken(timeout=1000)), root):
            future = self.begin(tasks.wait_for_token, token)
            token.stop("enough")
            assert future.result(BOUND_S) == "stop: enough"
        others = [StopToken().child() for _ in range(50)]
        token = StopToken()
        future = self.begin(tasks.polite, token=token)
        token.stop()
        ended(future, TaskStopped)
        del others

    def events(self) -> None:
        for _ in range(20):
            go = Event()
            future = self.calm.submit(tasks.wait_for, go)
            go.set()
            assert future.result(BOUND_S) is True

    def partial(self) -> None:
        future = self.begin(tasks.partial)
        assert future.stack() is None or "soak_tasks" in future.stack()
        future.kill()
        assert ended(future, TaskStopped).partial == list(range(1000))

    def children(self) -> None:
        future = self.begin(tasks.with_children)
        future.kill()
        ended(future, TaskStopped)

    def big(self) -> None:
        for size in (1 << 16, 1 << 21, 1 << 25):
            for pool in (self.pool, self.calm):
                assert len(pool.submit(tasks.big, size, bytes(1 << 20)).result(BOUND_S)) == size

    def failures(self) -> None:
        for pool in (self.pool, self.calm):
            ended(pool.submit(tasks.fail, "no"), ValueError)

    def death(self) -> None:
        ended(self.pool.submit(tasks.die), WorkerDied)

    def nested(self) -> None:
        assert self.pool.submit(tasks.nested, [1, 2]).result(BOUND_S) == [2, 4]

    def own_pool(self) -> None:
        with ProcessPoolExecutor(1) as pool:
            assert pool.submit(tasks.double, 2).result(BOUND_S) == 4

    def queued(self) -> None:
        first = [self.begin(tasks.polite) for _ in range(2)]
        waiting = [self.pool.submit(tasks.double, n) for n in range(300)]
        for future in waiting:
            future.cancel()
        stop_all(first)
        for future in waiting:
            ended(future, TaskStopped)


def stop_all(futures: "Iterable[Any]") -> None:
    futures = list(futures)
    for future in futures:
        future.stop()
    for future in futures:
        ended(future, TaskStopped)


def ended(future: "Future[Any]", kind: type[BaseException], most: Rung = Rung.KILL) -> Any:
    """Return the error that *future* must have ended with, at a rung no harsher than *most*.

    A milder one may be enough: an interrupt can come to a task that ignores them between two of its lines.
    """
    try:
        value = future.result(BOUND_S)
    except kind as error:
        climbed = getattr(error, "rung", None)
        if climbed is not None and climbed > most:
            raise AssertionError(f"{climbed} and not {most}") from error
        return error
    raise AssertionError(f"{value!r} and no {kind.__name__}")
