"""What a task has from where it was submitted."""

import contextvars
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import relayed
import stoppable
from jobs import BOUND_S, running
from relayed import request, tenant
from stoppable import ProcessPoolExecutor
from stoppable.worker import context as contexts_of_tasks
from test_logging import context_of, contexts, kept


@pytest.mark.parametrize("method", contexts())
def test_a_task_sees_the_named_variables_as_they_were_where_it_was_submitted(method: str | None) -> None:
    """Behaviour 138."""
    with running(1, mp_context=context_of(method), contextvars=(request, tenant)) as pool:

        def submit(value: object) -> Any:
            request.set(value)
            return pool.submit(relayed.values)

        first, second = (contextvars.copy_context().run(submit, value) for value in ({"id": 1}, "two"))
        assert first.result(BOUND_S) == ({"id": 1}, "nobody")
        assert second.result(BOUND_S) == ("two", "nobody")
        assert pool.submit(relayed.values).result(BOUND_S) == (None, "nobody")


def test_what_a_task_sets_is_not_seen_by_the_next() -> None:
    """Behaviour 138."""
    with running(1, contextvars=[request, tenant]) as pool:
        token = request.set(1)
        try:
            assert pool.submit(relayed.set_tenant).result(BOUND_S) == "changed"
            assert pool.submit(relayed.values).result(BOUND_S) == (1, "nobody")
        finally:
            request.reset(token)


def test_variables_go_with_map_groups_and_options_too() -> None:
    with running(2, contextvars=[tenant]) as pool:
        token = tenant.set("me")
        try:
            with pool.task_group() as group:
                inside = group.submit(relayed.values)
            futures = [inside, pool.options(timeout=60).submit(relayed.values)]
            assert [future.result(BOUND_S) for future in futures] == [(None, "me")] * 2
            assert pool.race([relayed.values]) == (None, "me")
        finally:
            tenant.reset(token)


def test_a_variable_that_is_found_in_no_module_is_refused_at_once() -> None:
    """Behaviour 138."""
    with pytest.raises(ValueError, match="'hidden' is an attribute of no module"):
        ProcessPoolExecutor(1, contextvars=[contextvars.ContextVar("hidden")])
    with pytest.raises(TypeError, match="must be context variables"):
        ProcessPoolExecutor(1, contextvars=["request"])  # type: ignore[list-item]


def test_a_value_that_does_not_pickle_fails_the_future_and_says_so() -> None:
    token = request.set(threading.Lock())
    try:
        with running(1, contextvars=[request]) as pool:
            error = pool.submit(relayed.values).exception(BOUND_S)
    finally:
        request.reset(token)
    assert isinstance(error, TypeError)
    assert "was pickled for a worker" in error.__notes__[0]


def test_a_variable_that_the_worker_does_not_find_fails_the_task() -> None:
    call = (relayed.values, (), {})
    with pytest.raises(LookupError, match="finds no context variable 'log' in the module 'relayed'"):
        contexts_of_tasks.bind((("relayed", "log", 1),), call)
    with pytest.raises(ModuleNotFoundError):
        contexts_of_tasks.bind((("no_such_module", "log", 1),), call)


IN_MAIN = """
import contextvars, stoppable
where = contextvars.ContextVar("where")
def look():
    return where.get()
if __name__ == "__main__":
    where.set("in main")
    with stoppable.ProcessPoolExecutor(1, contextvars=[where]) as pool:
        print(pool.submit(look).result())
"""


@pytest.mark.slow
def test_a_variable_of_a_script_is_found_and_one_that_was_typed_in_is_refused(tmp_path: Path) -> None:
    """Behaviour 138."""
    (tmp_path / "script.py").write_text(IN_MAIN)
    as_file = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=100)
    assert (as_file.stdout, as_file.stderr) == ("in main\n", "")
    typed_in = subprocess.run([sys.executable, "-c", IN_MAIN], capture_output=True, text=True, timeout=100)
    assert "'where' is defined in __main__, which workers cannot import here" in typed_in.stderr


@pytest.mark.parametrize("method", contexts())
def test_a_tasks_context_is_read_in_all_its_threads_and_in_its_records(method: str | None) -> None:
    """Behaviour 139."""
    with kept() as keeper, running(1, mp_context=context_of(method)) as pool:
        mine = pool.options(context={"user": "me", "try": 2})
        assert mine.submit(relayed.context).result(BOUND_S) == {"user": "me", "try": 2}
        mine.submit(relayed.log_context).result(BOUND_S)
        assert mine.options(timeout=60, context={"user": "you"}).submit(relayed.context).result(BOUND_S) == {
            "user": "you"
        }
        assert pool.submit(relayed.context).result(BOUND_S) == {}
        pool.shutdown()
    (record,) = keeper.records
    assert record.context == {"user": "me", "try": 2}


def test_a_context_is_the_one_of_the_call_of_options_and_cannot_be_changed_in_the_task() -> None:
    """Behaviour 139."""
    given = {"user": "me"}
    with running() as pool:
        mine = pool.options(context=given)
        given["user"] = "changed"
        assert mine.submit(relayed.context).result(BOUND_S) == {"user": "me"}
        assert isinstance(mine.submit(relayed.change_context).exception(BOUND_S), TypeError)


def test_there_is_no_context_outside_a_task() -> None:
    assert dict(stoppable.current_context()) == {}


@pytest.mark.parametrize("given", [5, [("a", 1)], {1: 2}], ids=repr)
def test_a_context_that_is_no_mapping_of_names_is_refused(given: Any) -> None:
    with running() as pool, pytest.raises(TypeError, match="context must be a mapping"):
        pool.options(context=given)
