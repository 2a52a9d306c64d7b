"""OpenTelemetry: the trace goes on in the task. Needs `pip install 'stoppable[otel]'`; imported by nobody else here.

For each task there are two spans. One in this process, from the submission to the end, tells what became of the task,
also if its worker was killed. One in the worker, from the call to its return, is the first's child and the parent of all that the
task traces; it reaches an exporter only if the worker has one (an initializer sets it up), and not if the worker is killed.

It never makes an exporter, and never starts a thread.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from stoppable import errors

if TYPE_CHECKING:  # a worker imports this module, too
    from stoppable.executor import ProcessPoolExecutor
    from stoppable.future import Future
    from stoppable.options import SubmitOptions

_NAME = "stoppable"


def instrument(
    pool: "ProcessPoolExecutor", tracer_provider: trace.TracerProvider | None = None
) -> "ProcessPoolExecutor":
    """Have each task that is submitted to *pool* from now on continue the trace in which it was submitted.

    The attributes of the span here are `stoppable.pool`, `stoppable.outcome` (returned, failed, died, stopped) and, for a
    stopped task, `stoppable.reason`, `stoppable.rung` and `stoppable.started`; each rung is an event. All but
    a returned task have the status ERROR. The span in the worker has `stoppable.reason` if the task was left by a stop.
    The span ends in the pool's own thread, so its exporter must not be slow: use a BatchSpanProcessor.

    A second call changes nothing.

    Args:
        tracer_provider: of the spans here; None: the global one. In a worker it is the global one there.

    Returns:
        The same pool.
    """
    if not isinstance(pool.__dict__.get("_submit"), _Submit):
        submit: Any = _Submit(pool._submit, pool.name, trace.get_tracer(_NAME, tracer_provider=tracer_provider))
        pool._submit = submit  # type: ignore[method-assign]  # groups, map and options end there, too
    return pool


class _Submit:
    """Takes the place of the pool's `_submit`."""

    def __init__(self, submit: Callable[..., "Future[Any]"], pool: str, tracer: trace.Tracer) -> None:
        self._submit, self._pool, self._tracer = submit, pool, tracer

    def __call__(
        self, options: "SubmitOptions", fn: Callable[..., Any], args: Any, kwargs: Any, *rest: Any, **more: Any
    ) -> "Future[Any]":
        name = options.name or getattr(fn, "__qualname__", None) or type(fn).__name__
        span = self._tracer.start_span(name, kind=SpanKind.PRODUCER, attributes={"stoppable.pool": self._pool})
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(span))
        try:
            future = self._submit(options, _Traced(fn, name, carrier), args, kwargs, *rest, **more)
        except BaseException as error:
            _fail(span, error)
            span.end()
            raise
        future.add_done_callback(lambda _: _end(span, future))
        return future


class _Traced:
    """The task's function, to be called in the trace of *carrier*. Pickled into the worker."""

    def __init__(self, fn: Callable[..., Any], name: str, carrier: dict[str, str]) -> None:
        self._fn, self._carrier = fn, carrier
        self.__qualname__ = name  # by which errors and logs call the task

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tracer = trace.get_tracer(_NAME)
        above = propagate.extract(self._carrier)
        with tracer.start_as_current_span(
            self.__qualname__, above, SpanKind.CONSUMER, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                return self._fn(*args, **kwargs)
            except errors.StopRequested as stop:
                span.set_attribute("stoppable.reason", str(stop.reason))
                span.set_status(Status(StatusCode.ERROR, "stopped"))
                raise
            except BaseException as error:
                _fail(span, error)
                raise


def _fail(span: Span, error: BaseException) -> None:
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))


def _end(span: Span, future: "Future[Any]") -> None:
    """Say in the span of this process how the task ended."""
    try:
        error = future.exception(0)
    except BaseException as cancelled:  # a stop ends the future as cancelled
        error = cancelled
    outcome = "returned" if error is None else "failed"
    if isinstance(error, errors.TaskStopped):
        outcome = "stopped"
        facts = {"reason": error.reason, "rung": error.rung, "started": error.started}
        for name, fact in facts.items():
            if fact is not None:
                span.set_attribute(f"stoppable.{name}", fact if isinstance(fact, bool) else str(fact))
    elif isinstance(error, errors.WorkerDied):
        outcome = "died"
    if error is not None:
        _fail(span, error)
    span.set_attribute("stoppable.outcome", outcome)
    behind_s = time.time() - time.monotonic()
    for rung, at in future.report.rungs:
        span.add_event("rung", {"stoppable.rung": str(rung)}, timestamp=int((at + behind_s) * 1e9))
    span.end()
