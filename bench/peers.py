"""The pools that are measured, each behind the same few methods.

A peer that cannot do something raises `Cannot`, and the table says so. Nothing here makes a peer
slower than its own documentation would: each is used in the way its authors show.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

Fn = Callable[..., Any]


class Cannot(Exception):
    """This pool has no way to do that."""


class Peer:
    """A pool of *workers* processes. `submit` returns a handle, `get` waits for its result."""

    package: str | None = None  # on the package index; None: part of Python or of this project

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def submit(self, fn: Fn, *args: Any) -> Any:
        return self.pool.submit(fn, *args)  # type: ignore[attr-defined]

    def get(self, handle: Any) -> Any:
        return handle.result()

    def map(self, fn: Fn, items: list[Any], chunk: int) -> list[Any]:
        return list(self.pool.map(fn, items, chunksize=chunk))  # type: ignore[attr-defined]

    def get_all(self, calls: list[tuple[Any, ...]]) -> list[Any]:
        """Make all calls at once and return their results."""
        handles = [self.submit(*call) for call in calls]
        return [self.get(handle) for handle in handles]

    def stop(self, handle: Any) -> None:
        """End the running task by force; return at once."""
        raise Cannot

    def ask(self, handle: Any) -> None:
        """Ask the running task to end, in this pool's own way; return at once."""
        raise Cannot

    def close(self) -> None:
        self.pool.shutdown()  # type: ignore[attr-defined]


class Stoppable(Peer):
    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        import stoppable

        self.pool = stoppable.ProcessPoolExecutor(workers)

    def stop(self, handle: Any) -> None:
        handle.kill()

    def ask(self, handle: Any) -> None:
        handle.stop()


class _Standard(Peer):
    method = ""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from concurrent.futures import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(self.method))

    def stop(self, handle: Any) -> None:
        """Kill every worker: the standard executor can end no single task."""
        for pid in list(self.pool._processes):
            os.kill(pid, signal.SIGKILL)


class StandardFork(_Standard):
    method = "fork"


class StandardForkserver(_Standard):
    method = "forkserver"


class StandardSpawn(_Standard):
    method = "spawn"


class MultiprocessingPool(Peer):
    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.pool = multiprocessing.get_context("fork").Pool(workers)

    def submit(self, fn: Fn, *args: Any) -> Any:
        return self.pool.apply_async(fn, args)

    def get(self, handle: Any) -> Any:
        return handle.get()

    def map(self, fn: Fn, items: list[Any], chunk: int) -> list[Any]:
        return self.pool.map(fn, items, chunk)

    def close(self) -> None:
        pool: Any = self.pool
        pool.close()
        pool.join()


class Billiard(MultiprocessingPool):
    package = "billiard"

    def __init__(self, workers: int) -> None:
        Peer.__init__(self, workers)
        import billiard

        self.pool = billiard.Pool(workers)

    def stop(self, handle: Any) -> None:
        handle.terminate(signal.SIGKILL)


class Pebble(Peer):
    package = "pebble"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from pebble import ProcessPool

        self.pool = ProcessPool(max_workers=workers, context=multiprocessing.get_context("fork"))

    def submit(self, fn: Fn, *args: Any) -> Any:
        return self.pool.schedule(fn, args=args)

    def map(self, fn: Fn, items: list[Any], chunk: int) -> list[Any]:
        return list(self.pool.map(fn, items, chunksize=chunk).result())

    def stop(self, handle: Any) -> None:
        handle.cancel()

    def close(self) -> None:
        pool: Any = self.pool
        pool.close()
        pool.join()


class Deadpool(Peer):
    package = "deadpool-executor"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from deadpool import Deadpool as Pool

        self.pool = Pool(max_workers=workers)

    def stop(self, handle: Any) -> None:
        handle.cancel_and_kill_if_running()


class Loky(Peer):
    package = "loky"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from loky import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(workers)


class Mpire(Peer):
    package = "mpire"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from mpire import WorkerPool

        self.pool = WorkerPool(n_jobs=workers)

    def submit(self, fn: Fn, *args: Any) -> Any:
        return self.pool.apply_async(fn, args)

    def get(self, handle: Any) -> Any:
        return handle.get()

    def map(self, fn: Fn, items: list[Any], chunk: int) -> list[Any]:
        return list(self.pool.map(fn, items, chunk_size=chunk))

    def close(self) -> None:
        self.pool.stop_and_join()


class Joblib(Peer):
    package = "joblib"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from joblib import Parallel, delayed

        self.parallel, self.delayed = Parallel(n_jobs=workers), delayed
        self.parallel.__enter__()

    def submit(self, fn: Fn, *args: Any) -> Any:
        return (fn, args)  # it has no futures: a call is made when its result is asked for

    def get(self, handle: Any) -> Any:
        fn, args = handle
        return self.parallel([self.delayed(fn)(*args)])[0]

    def get_all(self, calls: list[tuple[Any, ...]]) -> list[Any]:
        return list(self.parallel(self.delayed(fn)(*args) for fn, *args in calls))

    def map(self, fn: Fn, items: list[Any], chunk: int) -> list[Any]:
        return list(self.parallel(self.delayed(fn)(item) for item in items))

    def close(self) -> None:
        self.parallel.__exit__(None, None, None)


class _Async(Peer):
    """A pool for Trio: handles are made by `submit`, and a call runs when `get` or `get_all` is awaited."""

    async def call(self, fn: Fn, *args: Any) -> Any:
        raise NotImplementedError

    def submit(self, fn: Fn, *args: Any) -> Any:
        return (fn, args)

    def get(self, handle: Any) -> Any:
        raise Cannot  # `cases` awaits `call` in one event loop instead

    def map(self, fn: Fn, items: list[Any], chunk: int) -> list[Any]:
        raise Cannot

    def close(self) -> None: ...


class TrioParallel(_Async):
    package = "trio-parallel"

    async def call(self, fn: Fn, *args: Any) -> Any:
        import trio_parallel

        return await trio_parallel.run_sync(fn, *args, kill_on_cancel=True)


class AnyioProcess(_Async):
    package = "anyio"

    async def call(self, fn: Fn, *args: Any) -> Any:
        import anyio.to_process

        return await anyio.to_process.run_sync(fn, *args, cancellable=True)


PEERS: dict[str, type[Peer]] = {
    "stoppable": Stoppable,
    "stdlib fork": StandardFork,
    "stdlib forkserver": StandardForkserver,
    "stdlib spawn": StandardSpawn,
    "mp.Pool": MultiprocessingPool,
    "billiard": Billiard,
    "pebble": Pebble,
    "deadpool": Deadpool,
    "loky": Loky,
    "mpire": Mpire,
    "joblib": Joblib,
    "trio-parallel": TrioParallel,
    "anyio": AnyioProcess,
}
