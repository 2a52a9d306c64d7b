"""Log records and warnings of tasks, as the parent's handlers see them."""

import contextlib
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import relayed
from jobs import BOUND_S, running
from relayed import Keeper
from stoppable import ProcessPoolExecutor, TaskStopped, wire
from stoppable.shell import relay as relays
from stoppable.shell.relay import Relay
from stoppable.worker import relay as worker_relay
from watching import await_file, until


@contextlib.contextmanager
def kept(handler: Keeper | None = None, name: str = "relayed") -> Iterator[Keeper]:
    """Give a handler of the logger *name*; no other sees what it sees."""
    handler = handler or Keeper()
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def contexts() -> list[Any]:
    slow = pytest.mark.slow
    return [None, pytest.param("fork"), pytest.param("spawn", marks=slow)]


def context_of(method: str | None) -> Any:
    return None if method is None else multiprocessing.get_context(method)


@pytest.mark.parametrize("method", contexts())
def test_a_record_of_a_task_reaches_the_parents_handlers_whole_and_once(method: str | None) -> None:
    """Behaviours 130, 134."""
    with kept() as keeper, running(1, mp_context=context_of(method), name="crew") as pool:
        worker = pool.options(name="job", context={"user": "me"}).submit(relayed.log_with_all).result(BOUND_S)
        pool.shutdown()
        (record,) = keeper.records
    assert (record.name, record.levelno, record.getMessage()) == ("relayed", logging.ERROR, "failed in here")
    assert (record.process, record.processName) == (worker, f"crew-{worker}")
    assert worker != os.getpid()
    assert record.args is None
    assert record.exc_info is None
    assert record.exc_text.splitlines()[-1] == "ValueError: bad value"
    assert "log_with_all" in record.stack_info
    assert record.funcName == "log_with_all"
    assert (record.task, record.taskid, record.context) == ("job", 1, {"user": "me"})
    assert record.answer == 42
    assert record.lock.startswith("<unlocked _thread.lock")
    assert "ValueError: bad value" in logging.Formatter("%(message)s").format(record)


def test_what_no_handler_would_get_is_not_even_made_in_the_worker() -> None:
    """Behaviour 131."""
    levels = {"relayed": logging.WARNING, "relayed.deep": logging.DEBUG, "relayed.quiet": logging.CRITICAL}
    try:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        with kept() as keeper, running() as pool:
            assert pool.submit(relayed.log_costly).result(BOUND_S) == 4
            pool.shutdown()
    finally:
        for name in levels:
            logging.getLogger(name).setLevel(logging.NOTSET)
    assert [(record.name, record.levelno) for record in keeper.records] == [
        ("relayed", logging.ERROR),
        ("relayed.deep", logging.DEBUG),
        ("relayed.deep", logging.INFO),
        ("relayed.deep", logging.ERROR),
    ]


def test_what_logging_disable_forbids_here_is_not_sent() -> None:
    logging.disable(logging.WARNING)
    try:
        with kept() as keeper, running() as pool:
            pool.submit(relayed.log_lines, 5).result(BOUND_S)
            pool.submit(relayed.log_with_all).result(BOUND_S)
    finally:
        logging.disable(logging.NOTSET)
    assert keeper.texts == ["failed in here"]


def test_each_workers_records_come_in_order_and_all_before_the_pool_is_over() -> None:
    """Behaviour 132."""
    with kept() as keeper:
        with running(2) as pool:
            workers = {future.result(BOUND_S) for future in [pool.submit(relayed.log_lines, 300) for _ in range(6)]}
        assert len(keeper.records) == 1800
    for worker in workers:
        numbers = [int(r.getMessage().split()[1]) for r in keeper.records if r.process == worker]
        assert numbers == list(range(300)) * (len(numbers) // 300)


def test_records_of_a_worker_that_is_killed_are_handled(tmp_path: Path) -> None:
    """Behaviour 132."""
    with kept() as keeper:
        with running() as pool:
            future = pool.submit(relayed.log_and_die, str(tmp_path / "begun"))
            await_file(tmp_path / "begun")
            future.kill()
            with pytest.raises(TaskStopped):
                future.result(BOUND_S)
        assert keeper.texts == ["line 0", "line 1", "line 2"]


def test_a_handler_that_waits_holds_up_no_task() -> None:
    """Behaviour 133."""
    go_on = threading.Event()
    with kept(Keeper(lambda _: go_on.wait(BOUND_S))) as keeper, running(2) as pool:
        for number in range(20):
            assert pool.submit(relayed.log_lines, 3).result(BOUND_S), number
        assert keeper.records == []
        go_on.set()
        pool.shutdown()
        assert len(keeper.records) == 60


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)], ids=repr)
def test_a_handler_that_raises_ends_neither_the_pool_nor_the_records(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behaviour 133."""

    def raise_first(record: logging.LogRecord) -> None:
        if record.getMessage() == "line 0":
            raise error

    with kept(Keeper(raise_first)) as keeper, running() as pool:
        pool.submit(relayed.log_lines, 3).result(BOUND_S)
        pool.shutdown()
    assert keeper.texts == ["line 1", "line 2"]
    assert type(error).__name__ in capsys.readouterr().err


def said(text: str) -> wire.Frame:
    record = logging.makeLogRecord({"name": "relayed", "levelno": logging.ERROR, "msg": text})
    body = wire.dumps(("task", 1, "crew-1", (vars(record), None)))
    return wire.Frame(wire.Kind.SAID, worker_relay.RECORD, 0, 0, body)


def test_what_finds_no_room_is_dropped_and_its_number_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Behaviour 133."""
    monkeypatch.setattr(relays, "MOST", 10)
    begun, go_on = threading.Event(), threading.Event()

    def wait(_: logging.LogRecord) -> None:
        begun.set()
        go_on.wait(BOUND_S)

    relay = Relay("crew")
    with kept(Keeper(wait)) as keeper:
        relay.take(said("first"))
        assert begun.wait(BOUND_S)
        for number in range(30):
            relay.take(said(str(number)))
        go_on.set()
        until(lambda: len(keeper.records) == 11)
        relay.take(said("last"))
        relay.close()
    assert keeper.texts == ["first", *map(str, range(10)), "last"]
    assert "crew: 20 log records or printed lines of tasks were lost" in caplog.text


def test_closing_waits_for_what_was_taken() -> None:
    """Behaviour 132."""
    go_on = threading.Event()
    relay = Relay("crew")
    with kept(Keeper(lambda _: go_on.wait(BOUND_S))) as keeper:
        for number in range(3):
            relay.take(said(str(number)))
        timer = threading.Timer(0.05, go_on.set)
        timer.start()
        relay.close()
        assert keeper.texts == ["0", "1", "2"]
        timer.join()


@pytest.mark.slow
def test_closing_waits_longer_than_its_bound_while_records_are_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behaviour 132."""
    monkeypatch.setattr(relays, "CLOSE_S", 1.0)
    relay = Relay("crew")
    with kept(Keeper(lambda _: time.sleep(0.15))) as keeper:
        for number in range(10):
            relay.take(said(str(number)))
        relay.close()
        assert len(keeper.records) == 10


def test_no_more_memory_is_taken_than_the_bound_however_long_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "MOST_BYTES", 100_000)
    go_on = threading.Event()
    relay = Relay("crew")
    with kept(Keeper(lambda _: go_on.wait(BOUND_S))) as keeper, kept(name="stoppable") as own:
        for _ in range(100):
            relay.take(said("x" * 30_000))
        go_on.set()
        relay.close()
    assert 3 <= len(keeper.records) <= 4
    assert f"{100 - len(keeper.records)} log records" in own.texts[0]


@pytest.mark.slow
def test_a_handler_that_never_returns_does_not_keep_the_pool_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behaviour 133."""
    monkeypatch.setattr(relays, "CLOSE_S", 0.3)
    go_on = threading.Event()
    with kept(Keeper(lambda _: go_on.wait(BOUND_S))) as keeper:
        with ProcessPoolExecutor(1) as pool:
            pool.submit(relayed.log_lines, 1).result(BOUND_S)
        assert keeper.records == []
        go_on.set()
        until(lambda: keeper.records)


def test_a_record_that_a_handler_of_the_worker_takes_is_not_sent(tmp_path: Path) -> None:
    """Behaviour 134."""
    path = tmp_path / "log"
    with kept() as keeper, running(1, initializer=relayed.add_file_handler, initargs=(str(path),)) as pool:
        pool.submit(relayed.log_lines, 2).result(BOUND_S)
    assert path.read_text() == "line 0\nline 1\n"
    assert keeper.records == []


SCRIPT = """
import logging, sys
logging.basicConfig(filename="log", filemode=sys.argv[1], level=logging.INFO, format="%(message)s")
logging.getLogger("own").addHandler(logging.FileHandler("own"))
import stoppable

def work():
    logging.info("root in the task")
    logging.getLogger("own").info("own in the task")

if __name__ == "__main__":
    import multiprocessing
    logging.info("before")
    context = multiprocessing.get_context("spawn") if sys.argv[2] == "spawn" else None
    with stoppable.ProcessPoolExecutor(1, context) as pool:
        pool.submit(work).result()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "method"), [("w", ""), ("a", "spawn")])
def test_a_script_that_configures_logging_at_its_top_logs_once_and_loses_nothing(
    mode: str, method: str, tmp_path: Path
) -> None:
    """Behaviour 134. A worker imports the script, too, and mode "w" empties the file (a spawned one does that before us)."""
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", mode, method]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "log").read_text().splitlines() == ["before", "root in the task", "own in the task"]
    assert (tmp_path / "own").read_text().splitlines() == ["own in the task"]


def test_without_logs_a_worker_logs_as_a_fresh_process_does(capfd: pytest.CaptureFixture[str]) -> None:
    with kept() as keeper, running(1, logs=False) as pool:
        pool.submit(relayed.log_lines, 1).result(BOUND_S)
    assert keeper.records == []
    assert "line 0" in capfd.readouterr().err


@pytest.mark.slow
def test_records_of_threads_and_large_answers_never_mix() -> None:
    """Behaviour 135."""
    with kept() as keeper:
        with running() as pool:
            assert pool.submit(relayed.log_from_threads, 4, 250).result(BOUND_S) == bytes(500_000)
    assert len(keeper.records) == 1000
    for who in "0123":
        assert [text for text in keeper.texts if text[0] == who] == [f"{who} {number}" for number in range(250)]


@pytest.mark.slow
def test_a_signal_handler_may_log_in_the_middle_of_a_frame() -> None:
    """Behaviour 135."""
    with kept() as keeper:
        with running() as pool:
            made = pool.submit(relayed.log_in_signal_handler, 100).result(BOUND_S)
            assert pool.submit(relayed.values).result(BOUND_S) == (None, "nobody")
    assert made > 10
    assert sorted(keeper.texts) == sorted(f"alarm {number}" for number in range(made))


@pytest.mark.slow
def test_a_task_that_logs_all_the_time_is_stopped_like_any_other(tmp_path: Path) -> None:
    """Behaviour 135. The interrupt comes in the middle of the handler, and of frames."""
    with kept() as keeper, running(1) as pool:
        for number in range(10):
            begun = str(tmp_path / str(number))
            future = pool.submit(relayed.log_until_stopped, begun)
            await_file(begun)
            until(lambda: keeper.records)
            keeper.records.clear()
            future.stop()
            with pytest.raises(TaskStopped) as stopped:
                future.result(BOUND_S)
            assert str(stopped.value.rung) == "interrupt"
        pool.submit(relayed.log_lines, 1, "last").result(BOUND_S)
        pool.shutdown()
        assert keeper.texts[-1] == "last 0"


def test_a_fork_of_a_task_speaks_for_itself_and_not_through_the_channel(capfd: pytest.CaptureFixture[str]) -> None:
    """Behaviour 135."""
    with kept() as keeper, running(1, output="lines") as pool:
        assert pool.submit(relayed.fork_and_say).result(BOUND_S) == "parent"
        pool.shutdown()
    assert keeper.texts == ["logged in the task"]
    out, err = capfd.readouterr()
    assert "logged in the fork" in err
    assert "Custom: warned in the fork" in err
    assert out == "printed in the fork\n"


@pytest.mark.slow
def test_a_record_of_an_inner_pools_task_keeps_its_own_name_and_process() -> None:
    with kept() as keeper, running() as pool:
        pool.options(name="outer").submit(relayed.log_in_inner_pool).result(BOUND_S)
        pool.shutdown()
    (record,) = keeper.records
    assert (record.task, record.getMessage()) == ("inner", "line 0")


def test_what_cannot_be_sent_as_it_is_costs_no_task_and_not_the_text(capfd: pytest.CaptureFixture[str]) -> None:
    with kept() as keeper, kept(name="stoppable") as own, running() as pool:
        pool.submit(relayed.log_long, 3_000_000).result(BOUND_S)
        pool.submit(relayed.log_local).result(BOUND_S)
        assert pool.submit(relayed.log_wrongly).result(BOUND_S) == "went on"
        pool.shutdown()
    long, local = keeper.texts
    assert long.startswith("xxx")
    assert long.endswith("(2934464 more characters)")
    assert local == "with local"
    assert [record.task for record in keeper.records] == ["log_long", "log_local"]
    assert "does not unpickle" in own.texts[0]
    assert "--- Logging error ---" in capfd.readouterr().err


@pytest.mark.parametrize("method", contexts())
def test_a_warning_of_a_task_is_shown_here_as_it_was_made(method: str | None) -> None:
    """Behaviour 136."""
    with warnings.catch_warnings(record=True) as shown, running(1, mp_context=context_of(method)) as pool:
        warnings.simplefilter("default")
        line = pool.submit(relayed.warn).result(BOUND_S)
        pool.shutdown()
    (warning,) = [each for each in shown if each.category is relayed.Custom]
    assert isinstance(warning.message, relayed.Custom)
    assert (str(warning.message), warning.filename, warning.lineno) == ("take care", relayed.__file__, line)


def test_a_warning_goes_to_logging_if_this_process_has_its_warnings_logged() -> None:
    """Behaviour 136."""
    with warnings.catch_warnings(), kept(name="py.warnings") as keeper:
        logging.captureWarnings(True)
        try:
            with running() as pool:
                pool.submit(relayed.warn).result(BOUND_S)
        finally:
            logging.captureWarnings(False)
    assert "Custom: take care" in keeper.texts[0]
