"""The pools that are measured, each behind the methods of `Peer`.

A peer that cannot do something raises `Cannot`, and the table says so. Nothing here makes a peer
slower than its own documentation would: each is used in the way its authors show.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from peer import Cannot, Fn, Peer
from peers_trio import AnyioProcess, TrioParallel

FUTURES = "from concurrent.futures import process"


class Stoppable(Peer):
    imports = "from stoppable import ProcessPoolExecutor"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        import stoppable

        self.pool = stoppable.ProcessPoolExecutor(workers)

    def stream(self, fn: Fn, items: Iterator[Any]) -> Iterator[Any]:
        return self.pool.map(fn, items, buffersize=2 * self.workers)

    def stop(self, handle: Any) -> None:
        handle.kill()

    def interrupt(self, handle: Any) -> None:
        handle.stop(at="interrupt")


class _Standard(Peer):
    method = ""
    imports = FUTURES

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from concurrent.futures import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(self.method))

    def stream(self, fn: Fn, items: Iterator[Any]) -> Iterator[Any]:
        ahead = {"buffersize": 2 * self.workers} if sys.version_info >= (3, 14) else {}
        return self.pool.map(fn, items, **ahead)

    def stop(self, handle: Any) -> None:
        """Kill every worker: the standard executor can end no single task."""
        for pid in list(self.pool._processes):
            os.kill(pid, signal.SIGKILL)


class StandardFork(_Standard):
    method = "fork"
    forks = True


class StandardForkserver(_Standard):
    method = "forkserver"


class StandardSpawn(_Standard):
    method = "spawn"


class MultiprocessingPool(Peer):
    imports = "import multiprocessing.pool"
    forks = True

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.pool = multiprocessing.get_context("fork").Pool(workers)

    def submit(self, fn: Fn, *args: Any) -> Any:
        return self.pool.apply_async(fn, args)

    def get(self, handle: Any) -> Any:
        return handle.get()

    def map(self, fn: Fn, items: list[Any], chunk: int) -> list[Any]:
        return self.pool.map(fn, items, chunk)

    def stream(self, fn: Fn, items: Iterator[Any]) -> Iterator[Any]:
        return self.pool.imap(fn, items)

    def stop(self, handle: Any) -> None:
        raise Cannot("terminate() ends the whole pool, and the handles never say so")

    def close(self) -> None:
        pool: Any = self.pool
        pool.close()
        pool.join()


class Billiard(MultiprocessingPool):
    package = "billiard"
    imports = "import billiard.pool"

    def __init__(self, workers: int) -> None:
        Peer.__init__(self, workers)
        import billiard

        self.pool = billiard.Pool(workers)

    def stop(self, handle: Any) -> None:
        self.pool.terminate_job(self._pid(handle), signal.SIGKILL)

    def interrupt(self, handle: Any) -> None:
        """Raise SoftTimeLimitExceeded, as Celery's `revoke(terminate=True, signal="SIGUSR1")` does."""
        self.pool.terminate_job(self._pid(handle), signal.SIGUSR1)

    def _pid(self, handle: Any) -> int:
        while handle._worker_pid is None:  # the worker has said so before the task began; a thread here has to read it
            time.sleep(0.0001)
        pid: int = handle._worker_pid
        return pid


class Pebble(Peer):
    package = "pebble"
    imports = "from pebble import ProcessPool"
    forks = True

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from pebble import ProcessPool

        self.pool = ProcessPool(max_workers=workers, context=multiprocessing.get_context("fork"))

    def submit(self, fn: Fn, *args: Any) -> Any:
        return self.pool.schedule(fn, args=args)

    def map(self, fn: Fn, items: list[Any], chunk: int) -> list[Any]:
        return list(self.pool.map(fn, items, chunksize=chunk).result())

    def stream(self, fn: Fn, items: Iterator[Any]) -> Iterator[Any]:
        return iter(self.pool.map(fn, items).result())

    def stop(self, handle: Any) -> None:
        handle.cancel()

    def close(self) -> None:
        pool: Any = self.pool
        pool.close()
        pool.join()


class Deadpool(Peer):
    package = "deadpool-executor"
    imports = "from deadpool import Deadpool"
    no_queue = "submit() itself waits once 1,000 tasks do (max_backlog)"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from deadpool import Deadpool as Pool

        self.pool = Pool(max_workers=workers)

    def stop(self, handle: Any) -> None:
        handle.cancel_and_kill_if_running()


class Loky(Peer):
    package = "loky"
    imports = "from loky import ProcessPoolExecutor"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from loky import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(workers)

    def stop(self, handle: Any) -> None:
        """Kill every worker: it can end no single task."""
        self.pool.shutdown(wait=False, kill_workers=True)


class Mpire(Peer):
    package = "mpire"
    imports = "from mpire import WorkerPool"
    forks = True

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

    def stream(self, fn: Fn, items: Iterator[Any]) -> Iterator[Any]:
        return self.pool.imap(fn, items)

    def stop(self, handle: Any) -> None:
        raise Cannot("terminate() ends the whole pool")

    def close(self) -> None:
        self.pool.stop_and_join()


class Joblib(Peer):
    package = "joblib"
    imports = "from joblib import Parallel, delayed"
    handles = False

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from joblib import Parallel, delayed

        self.parallel, self.delayed = Parallel(n_jobs=workers), delayed
        self.parallel.__enter__()

    def submit(self, fn: Fn, *args: Any) -> Any:
        raise Cannot("no futures: a call is made when its result is asked for")

    async def call(self, fn: Fn, *args: Any) -> Any:
        return self.parallel([self.delayed(fn)(*args)])[0]

    async def all_of(self, calls: list[tuple[Any, ...]]) -> list[Any]:
        return list(self.parallel(self.delayed(fn)(*args) for fn, *args in calls))

    def map(self, fn: Fn, items: list[Any], chunk: int) -> list[Any]:
        from joblib import Parallel

        return list(Parallel(n_jobs=self.workers, batch_size=chunk)(self.delayed(fn)(item) for item in items))

    def stream(self, fn: Fn, items: Iterator[Any]) -> Iterator[Any]:
        from joblib import Parallel

        parallel = Parallel(n_jobs=self.workers, return_as="generator")
        return iter(parallel(self.delayed(fn)(item) for item in items))

    def close(self) -> None:
        """End its workers too: leaving the block only keeps them for the next one."""
        from joblib.externals.loky import get_reusable_executor

        self.parallel.__exit__(None, None, None)
        get_reusable_executor().shutdown(wait=True)


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
