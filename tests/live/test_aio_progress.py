"""Progress on asyncio and Trio: the loop goes on, whatever the terminal does, and no bar outlasts what it shows."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import anyio
import pytest

import aio_jobs
import aio_shown
import jobs
import shown
from aio_pools import Run, running
from jobs import BOUND_S
from recorded import Recorded, drawing, recording
from stoppable import aio
from stoppable.bars import View
from terminal import Terminal
from watching import say, until


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    with recording(monkeypatch) as made:
        yield made


async def so(fact: Callable[[], object]) -> None:
    """Wait until *fact* is true, and let the loop go on meanwhile."""
    with anyio.fail_after(20):
        while not fact():
            await anyio.sleep(0.01)


class Stuck(Recorded):
    """A terminal that takes nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.released = threading.Event(), threading.Event()

    def draw(self, view: View) -> None:
        self.asked.set()
        assert self.released.wait(BOUND_S)
        super().draw(view)


# --- map ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 3])
def test_a_map_draws_calls_and_running_tasks_in_a_thread_of_its_own(
    run: Run, chunksize: int, recorded: Recorded, tmp_path: Path
) -> None:
    """Behaviour 129."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")

    async def main() -> None:
        async with running(2) as pool, anyio.create_task_group() as group:
            results = pool.map(
                shown.wait_at_half, range(4), [begun] * 4, [release] * 9, chunksize=chunksize, progress=True
            )
            assert not drawing()

            async def let_go() -> None:
                await so(lambda: recorded.views and recorded.views[-1].rows)
                say(release)

            group.start_soon(let_go)
            assert [value async for value in results] == [0, 1, 2, 3]
            assert recorded.closed == 1  # when the loop over it has ended, and not some time later
            assert [value async for value in results] == []

    run(main)
    first = next(view for view in recorded.views if view.rows)
    assert first.rows[0][1:] == ("wait_at_half" if chunksize == 1 else "chunk", 1, 2)
    assert recorded.views[0][:2] == (0, 4)
    assert recorded.views[-1] == (4, 4, [])
    assert len(recorded.threads) == 1
    assert threading.get_ident() not in recorded.threads


def test_a_terminal_that_takes_nothing_holds_up_neither_the_loop_nor_the_map_for_ever(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 129."""
    monkeypatch.setattr("stoppable.aio.drawn._DRAWN_S", 0.2)

    async def main() -> None:
        async with running() as pool:
            results = pool.map(jobs.value, range(8), progress=True)
            assert await anext(results) == 0
            await so(stuck.asked.is_set)
            assert [value async for value in results] == [1, 2, 3, 4, 5, 6, 7]
            assert not stuck.released.is_set()
            stuck.released.set()
            await so(lambda: stuck.closed)
            assert stuck.views[-1] == (8, 8, [])
            with pytest.raises(LookupError):
                async with aio.show_progress(pool):
                    stuck.released.clear()
                    stuck.asked.clear()
                    await so(stuck.asked.is_set)
                    raise LookupError
            stuck.released.set()
            await so(lambda: stuck.closed == 2)

    with recording(monkeypatch):
        stuck = Stuck()
        monkeypatch.setattr("stoppable.bars.make", stuck.make)
        run(main)
        until(lambda: not drawing(), "those that nobody waited for have ended")


def test_a_cancellation_waits_for_the_last_state_also_when_it_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behaviour 129. asyncio's second `Task.cancel()` goes through the shields; all of them are counted."""

    async def main() -> None:
        async with running() as pool:

            async def take_all() -> list[int]:
                return [value async for value in pool.map(jobs.value, range(3), progress=True)]

            task = asyncio.create_task(take_all())
            await so(stuck.asked.is_set)
            await so(lambda: pool.executor.statistics().returned == 3)
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0.01)
            assert not task.done()
            stuck.released.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelling() == 3
            assert stuck.closed == 1

    with recording(monkeypatch):
        stuck = Stuck()
        monkeypatch.setattr("stoppable.bars.make", stuck.make)
        asyncio.run(main())


def test_a_map_that_fails_ends_its_bars_and_does_not_count_what_was_stopped(run: Run, recorded: Recorded) -> None:
    """Behaviour 129."""

    async def main() -> None:
        async with running() as pool:
            results = pool.map(int, iter(["1", "2", "x", *"456789"]), buffersize=1, progress=True)
            with pytest.raises(ValueError, match="invalid literal"):
                [value async for value in results]
            assert recorded.closed == 1

    run(main)
    assert recorded.views[-1] == (3, None, [])


@pytest.mark.parametrize("how", ["cancelled", "closed", "closing", "dropped"])
def test_however_a_map_is_left_its_bars_end_and_do_not_count_what_was_stopped(
    how: str, run: Run, recorded: Recorded, tmp_path: Path
) -> None:
    """Behaviour 129."""
    paths = [str(tmp_path / name) for name in "012345"]

    async def main() -> None:
        async with running() as pool:
            results = pool.map(aio_jobs.value_or_polite, paths, progress=True)
            assert await anext(results) == 0
            await so(Path(paths[1]).exists)
            await so(lambda: recorded.views)
            match how:
                case "cancelled":
                    async with anyio.create_task_group() as group:
                        group.start_soon(anext, results)
                        await anyio.lowlevel.checkpoint()
                        group.cancel_scope.cancel()
                case "closed":
                    await results.aclose()
                    await results.aclose()
                case "closing":
                    with pytest.raises(LookupError):
                        async with aclosing(results):
                            raise LookupError
                case "dropped":
                    del results
                    gc.collect()
                    await so(lambda: recorded.closed)
            assert recorded.closed == 1

    run(main)
    until(lambda: not drawing(), "the one that nobody waited for has ended")
    assert recorded.views[-1] == (1, 6, [])


def test_a_map_that_was_closed_before_its_first_result_draws_nothing(run: Run, recorded: Recorded) -> None:
    async def main() -> None:
        async with running() as pool:
            results = pool.map(jobs.value, [1], progress=True)
            await results.aclose()
            assert [value async for value in results] == []
            assert [value async for value in pool.map(jobs.value, [])] == []
            pool.map(jobs.value, [1], progress=True)
            with pytest.raises(ValueError, match="auto, rich, tqdm, line"):
                pool.map(jobs.value, [1], progress="bar")  # type: ignore[arg-type]

    run(main)
    assert recorded.views == []


def test_one_of_two_who_share_a_map_does_not_end_the_bars_of_the_other(
    run: Run, recorded: Recorded, tmp_path: Path
) -> None:
    """Behaviour 129."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    taken: list[Any] = []

    async def main() -> None:
        async with running(2) as pool, anyio.create_task_group() as group:
            results = pool.map(aio_jobs.wait_for, [begun], [release], progress=True)

            async def take() -> None:
                taken.append([value async for value in results])

            group.start_soon(take)
            await so(Path(begun).exists)
            group.start_soon(take)
            await so(lambda: taken)
            assert taken == [[]]
            assert recorded.closed == 0
            say(release, "free")

    run(main)
    assert taken == [[], ["free"]]
    assert recorded.views[-1] == (1, 1, [])


# --- a block --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["pool", "executor", "futures"])
def test_a_block_draws_a_pool_or_futures_in_a_thread_that_ends_with_it(
    what: str, run: Run, recorded: Recorded, tmp_path: Path
) -> None:
    """Behaviour 129."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")

    async def main() -> None:
        async with running(2) as pool:
            await pool.run(jobs.pid)  # does not count
            futures = [pool.executor.submit(shown.wait_at_half, number, begun, release) for number in range(5)]
            shows = {"pool": pool, "executor": pool.executor, "futures": futures}[what]
            async with aio.show_progress(shows):  # type: ignore[arg-type]
                await so(lambda: recorded.views and len(recorded.views[-1].rows) == 2)
                assert recorded.views[-1][:2] == (0, 5)
                say(release)
                assert [await aio.result(future) for future in futures] == list(range(5))
            assert recorded.closed == 1

    run(main)
    assert recorded.views[-1] == (5, 5, [])
    assert threading.get_ident() not in recorded.threads


def test_a_block_that_is_cancelled_ends_its_bars_and_none_is_used_twice(run: Run, recorded: Recorded) -> None:
    """Behaviour 129."""

    async def main() -> None:
        async with running() as pool:
            with anyio.CancelScope() as scope:
                async with (block := aio.show_progress(pool)):
                    scope.cancel()
                    await anyio.sleep_forever()
            assert recorded.closed == 1
            with pytest.raises(RuntimeError, match="used once"):
                await block.__aenter__()
            with pytest.raises(TypeError, match="a pool or futures"):
                aio.show_progress(3)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="auto, rich, tqdm, line"):
                aio.show_progress(pool, "bar")  # type: ignore[arg-type]

    run(main)


# --- on a terminal ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("what", ["map", "block"])
def test_on_a_terminal_rich_draws_and_puts_it_right_again(what: str, backend: str) -> None:
    """Behaviours 128, 129."""
    with closing(Terminal(aio_shown, what, backend)) as terminal:
        terminal.expect("sum 66")
        assert terminal.end() == 0
    assert "12/12" in terminal.text
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h") == 1


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_ctrl_c_leaves_the_terminal_as_it_was(backend: str) -> None:
    """Behaviours 128, 129."""
    with closing(Terminal(aio_shown, "press", backend)) as terminal:
        terminal.expect("0/2")
        terminal.press()
        terminal.expect("KeyboardInterrupt")
        terminal.end()
    assert "0/2" in terminal.text
    assert "2/2" not in terminal.text
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h") == 1
