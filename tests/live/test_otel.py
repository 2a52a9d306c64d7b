"""Traces that go on in the tasks."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import jobs
import traced
from jobs import BOUND_S, running
from stoppable import ProcessPoolExecutor, TaskStopped, WorkerDied
from stoppable.otel import instrument
from test_logging import context_of, contexts
from watching import await_file

pytestmark = pytest.mark.slow  # a worker that loads opentelemetry takes as long


class Traces:
    """Gives pools whose spans are kept."""

    def __init__(self) -> None:
        self.kept = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.kept))
        self.tracer = self.provider.get_tracer("tests")

    def of(self, pool: ProcessPoolExecutor) -> ProcessPoolExecutor:
        return instrument(pool, self.provider)

    def one(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.kept.get_finished_spans() if span.name == name]
        return found


@pytest.fixture
def traces() -> Iterator[Traces]:
    made = Traces()
    yield made
    made.provider.shutdown()


def id_of(span: ReadableSpan) -> tuple[int, int]:
    context: Any = span.get_span_context()
    return context.trace_id, context.span_id


@pytest.mark.parametrize("method", contexts())
def test_a_task_runs_in_the_trace_in_which_it_was_submitted(method: str | None, traces: Traces) -> None:
    """Behaviour 140. Its worker keeps no spans, so the one that is current in it is the one of the parent."""
    with running(1, mp_context=context_of(method), name="crew") as pool:
        with traces.tracer.start_as_current_span("request"):
            seen = traces.of(pool).submit(traced.current).result(BOUND_S)
    request, task = traces.one("request"), traces.one("current")
    assert seen == id_of(task)
    assert task.parent is not None
    assert task.parent.span_id == id_of(request)[1]
    assert task.attributes == {"stoppable.pool": "crew", "stoppable.outcome": "returned"}
    assert task.status.is_unset


def test_the_workers_own_span_is_a_child_of_the_parents(traces: Traces) -> None:
    """Behaviour 140."""
    with running(1, initializer=traced.keep_spans) as pool:
        seen = traces.of(pool).options(name="first").submit(traced.current).result(BOUND_S)
        pool.submit(jobs.fail, "no").exception(BOUND_S)
        first, failed = pool.submit(traced.ended).result(BOUND_S)
        pool.shutdown()
    task = traces.one("first")
    assert (first["trace"], first["id"]) == seen
    assert (first["name"], first["trace"], first["parent"]) == ("first", *id_of(task))
    assert (first["status"], failed["status"]) == ("UNSET", "ERROR")
    assert traces.one("fail").status.description == "ValueError: no"


def test_the_span_of_a_stopped_task_tells_the_reason_and_each_rung(traces: Traces, tmp_path: Any) -> None:
    """Behaviour 140."""
    with running(1, initializer=traced.keep_spans) as pool:
        future = traces.of(pool).submit(traced.nap, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        future.stop("enough")
        with pytest.raises(TaskStopped):
            future.result(BOUND_S)
        pool.shutdown()
    span = traces.one("nap")
    assert span.attributes is not None
    assert dict(span.attributes) | {"stoppable.reason": ""} == {
        "stoppable.pool": pool.name,
        "stoppable.outcome": "stopped",
        "stoppable.reason": "",
        "stoppable.rung": "interrupt",
        "stoppable.started": True,
    }
    assert "enough" in str(span.attributes["stoppable.reason"])
    rungs = [event for event in span.events if event.name == "rung"]
    assert [event.attributes and event.attributes["stoppable.rung"] for event in rungs] == ["ask", "interrupt"]
    assert span.start_time is not None
    assert span.end_time is not None
    assert all(span.start_time <= event.timestamp <= span.end_time for event in rungs)
    assert not span.status.is_ok


def test_the_workers_span_of_a_task_that_heeds_a_stop_tells_the_reason(traces: Traces, tmp_path: Any) -> None:
    """Behaviour 140."""
    with running(1, initializer=traced.keep_spans) as pool:
        future = traces.of(pool).submit(jobs.polite, str(tmp_path / "begun"))
        never = pool.options(name="never").submit(jobs.value, 1)
        await_file(tmp_path / "begun")
        assert never.cancel()
        future.stop("enough")
        with pytest.raises(TaskStopped):
            future.result(BOUND_S)
        (polite,) = pool.submit(traced.ended).result(BOUND_S)
    assert polite["status"] == "ERROR"
    assert "enough" in polite["attributes"]["stoppable.reason"]
    assert dict(traces.one("never").attributes or {})["stoppable.started"] is False


def test_a_worker_that_was_killed_costs_its_own_span_and_not_the_parents(traces: Traces) -> None:
    """Behaviour 140."""
    with running(1) as pool:
        error = traces.of(pool).submit(jobs.end_worker, 3).exception(BOUND_S)
        pool.shutdown()
    assert isinstance(error, WorkerDied)
    span = traces.one("end_worker")
    assert span.attributes is not None
    assert span.attributes["stoppable.outcome"] == "died"
    assert not span.status.is_ok


def test_errors_name_the_task_and_its_arguments_as_without_traces(traces: Traces) -> None:
    with running(1) as pool:
        error = traces.of(pool).submit(os._exit, 3).exception(BOUND_S)
    assert isinstance(error, WorkerDied)
    assert "_exit(3)" in str(error)


def test_a_pool_that_is_instrumented_twice_makes_one_span_a_task(traces: Traces) -> None:
    with running(2) as pool:
        traces.of(traces.of(pool))
        with pool.task_group() as group:
            group.submit(jobs.value, 1)
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
    assert len(traces.kept.get_finished_spans()) == 3


def test_a_submit_that_is_refused_ends_its_span(traces: Traces) -> None:
    with running(1) as pool:
        traces.of(pool)
    with pytest.raises(RuntimeError):
        pool.submit(jobs.value, 1)
    assert not traces.one("value").status.is_ok
