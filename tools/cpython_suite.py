"""Run CPython's own tests of its process pool against ours, once for each way of starting workers.

The tests are those of the running interpreter (`test.test_concurrent_futures`); nothing of them is
copied. The class they test is replaced at run time, in the modules and in the scripts they start.

1. A test is left out only by a line of `LEFT_OUT`, with its reason; everything else must pass.
2. No file of the interpreter is changed.
3. Each start method runs in a process of its own under a time limit. A test that hangs or takes
   the process down counts as failed, and the tests after it are still run.

Start methods: fork, forkserver and spawn are given as `mp_context=`; "default" gives no context,
which is what most users have. "future" is not a way to start: it runs the tests of the bare Future.

    python tools/cpython_suite.py                        # everything
    python tools/cpython_suite.py --start-method spawn -k shutdown -v
    python tools/cpython_suite.py --stock                # the standard executor: a check of this tool
"""

import argparse
import faulthandler
import fnmatch
import importlib
import json
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
import types
import unittest
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

METHODS = ("fork", "forkserver", "spawn", "default", "future")
PACKAGE = "test.test_concurrent_futures"
TEST_LIMIT_S = 90.0  # the longest of them takes 10 s with the standard executor
METHOD_LIMIT_S = 900.0

_MACHINERY = "looks at private attributes of the standard executor (manager thread, call queue, process table)"
_BREAKS = "wants the whole pool broken, by one dead worker or one bad pickle; here that costs its own task only"

# Pattern of "<start method>:<test id>" -> why it is not run. Only for our class, not with --stock.
LEFT_OUT = {
    "*.test_killed_child": _BREAKS,
    "*.test_error_at_task_unpickle": _BREAKS,
    "*.test_exit_at_task_unpickle": _BREAKS,
    "*.test_error_during_result_unpickle_in_result_handler": _BREAKS,
    "*.test_exit_during_result_unpickle_in_result_handler": _BREAKS,
    "*.test_processes_terminate": _MACHINERY,
    "*ShutdownTest.test_context_manager_shutdown": _MACHINERY,
    "*ShutdownTest.test_del_shutdown": _MACHINERY,
    "*ShutdownTest.test_shutdown_no_wait": _MACHINERY,
    "*.test_saturation": _MACHINERY,
    "*.test_idle_process_reuse_*": _MACHINERY,
    "*.test_shutdown_deadlock_pickle": _MACHINERY,
    "*.test_gh105829_should_not_deadlock_if_wakeup_pipe_full": _MACHINERY,
    "*.test_python_finalization_error": _MACHINERY,
    "*FailingInitializerTest.test_initializer": _MACHINERY,
    "*FailingInitializerResourcesTest.*": "runs the test above, which is left out",
    "*.test_max_tasks_per_child": _MACHINERY + "; with fork it wants the option refused, which ours takes",
    "*.test_max_tasks_per_child_defaults_to_spawn_context": _MACHINERY,
    "*ProcessPoolShutdownTest.test_cancel_futures": (
        "wants a task to have begun the moment after submit; here none has before a worker is up, so all are cancelled"
    ),
}


class Outcome(NamedTuple):
    test: str
    outcome: str  # started, passed, failed, skipped, left out
    why: str = ""


# --- in the parent: one child process for each start method ------------------------------------


def main() -> int:
    """Run the start methods asked for, print a summary, and return 1 if a test failed."""
    options = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the child is ended too
    if options.child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return run_here(options)
    try:
        importlib.import_module(PACKAGE)
    except ImportError:
        print(f"Python {sys.version.split()[0]} at {sys.executable} came without {PACKAGE}: nothing to run")
        return 2
    methods = options.start_method or METHODS
    what = "the standard executor" if options.stock else "stoppable.ProcessPoolExecutor"
    print(f"{PACKAGE} of Python {sys.version.split()[0]}, against {what}", flush=True)
    summaries = {method: run_method(method, options) for method in methods}
    if options.list:
        return 0
    return summarise(summaries)


def parse(args: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--start-method", action="append", choices=METHODS, help="only this one; may be repeated")
    parser.add_argument("--stock", action="store_true", help="test the standard executor, leaving nothing out")
    parser.add_argument("--list", action="store_true", help="print the tests, and those left out with the reason")
    parser.add_argument("-k", metavar="TEXT", help="only tests whose name contains TEXT (or matches it as a pattern)")
    parser.add_argument("-v", "--verbose", action="store_true", help="print each test as it runs")
    parser.add_argument("--child", metavar="REPORT", help=argparse.SUPPRESS)
    return parser.parse_args(args)


def run_method(method: str, options: argparse.Namespace) -> list[Outcome]:
    """Run the tests of *method* in child processes, going on after one that a test took down."""
    end_s = time.monotonic() + METHOD_LIMIT_S
    command = [sys.executable, os.path.abspath(__file__), "--start-method", method]
    command += ["--stock"] * options.stock + ["--list"] * options.list + ["-v"] * options.verbose
    command += ["-k", options.k] if options.k else []
    known = -1
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        report.touch()
        while True:
            status = run_bounded([*command, "--child", str(report)], end_s - time.monotonic())
            outcomes = read(report)
            if status == 0:
                return outcomes
            # The number of known outcomes must grow, else a child that cannot start would be started for ever.
            if status is None or len(outcomes) == known:
                why = "its time limit passed" if status is None else f"its process ended with status {status}"
                return [*outcomes, Outcome(f"{method}: the run", "failed", why)]
            hung = [one.test for one in outcomes if one.outcome == "started"]
            name = hung[-1] if hung else f"{method}: after {outcomes[-1].test if outcomes else 'the start'}"
            write(report, Outcome(name, "failed", f"it hung or crashed: the process ended with status {status}"))
            # With that one: it was counted as news, and a child that could not start was, for ever.
            known = len(read(report))


def run_bounded(command: list[str], limit_s: float) -> int | None:
    """Run *command* in a session of its own; return its status, or None if the limit ended it."""
    with subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL) as child:
        try:
            return child.wait(max(1.0, limit_s))
        except subprocess.TimeoutExpired:
            return None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)


def read(report: Path) -> list[Outcome]:
    """Return the last outcome of each test in *report*."""
    lines = report.read_text().splitlines()
    return list({one.test: one for one in (Outcome(*json.loads(line)) for line in lines)}.values())


def write(report: Path, outcome: Outcome) -> None:
    with report.open("a") as file:
        file.write(json.dumps(outcome) + "\n")


def summarise(summaries: dict[str, list[Outcome]]) -> int:
    bad = 0
    print()
    for method, outcomes in summaries.items():
        count = Counter(one.outcome for one in outcomes)
        failed = [one for one in outcomes if one.outcome in ("failed", "started")]
        bad += len(failed)
        ran = count["passed"] + len(failed)
        print(
            f"{method:11} ran {ran}, passed {count['passed']}, failed {len(failed)}, "
            f"skipped by themselves {count['skipped']}, left out {count['left out']}"
        )
        for one in failed:
            print(f"    failed: {one.test}: {one.why}")
    reasons = Counter(one.why for all_ in summaries.values() for one in all_ if one.outcome == "left out")
    for reason, number in reasons.most_common():
        print(f"left out {number}: {reason}")
    return 1 if bad or not any(summaries.values()) else 0


# --- in the child: the tests themselves ---------------------------------------------------------


def run_here(options: argparse.Namespace) -> int:
    (method,) = options.start_method
    report = Path(options.child)
    if not options.stock:
        replace_executor(drop_context=method == "default")
    modules = load_modules()
    vars(importlib.import_module("test.support"))["verbose"] = options.verbose
    if not options.stock:
        patch_modules(modules, method)
    done = {one.test for one in read(report)}
    suite = unittest.TestSuite()
    for test in select(modules, method, options.k):
        why = None if options.stock else left_out(method, test.id())
        if options.list:
            print(f"{method}: {short(test.id())}" + (f"   LEFT OUT: {why}" if why else ""))
        elif short(test.id()) not in done:
            if why:
                write(report, Outcome(short(test.id()), "left out", why))
            else:
                suite.addTest(test)
    if options.list:
        return 0
    print(f"\n--- {method}: {suite.countTestCases()} tests", flush=True)

    def make_result(*args: Any, **kwargs: Any) -> Reporter:
        return Reporter(report, *args, **kwargs)

    runner = unittest.TextTestRunner(sys.stdout, verbosity=2 if options.verbose else 1, resultclass=make_result)
    runner.run(suite)
    faulthandler.cancel_dump_traceback_later()
    return 0  # failures are in the report; any other status says that the run was cut short


class Reporter(unittest.TextTestResult):
    """Writes each outcome down at once, so that a crash loses none, and ends a test that hangs."""

    def __init__(self, report: Path, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._report = report

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
        super().startTest(test)
        write(self._report, Outcome(short(test.id()), "started"))
        self._outcome = Outcome(short(test.id()), "passed")
        faulthandler.dump_traceback_later(TEST_LIMIT_S, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        faulthandler.dump_traceback_later(TEST_LIMIT_S, exit=True)  # what comes between tests can hang too
        write(self._report, self._outcome)
        super().stopTest(test)

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self._fail(test, err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self._fail(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._fail(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self._outcome = Outcome(short(test.id()), "skipped", reason)

    def _fail(self, test: unittest.TestCase, err: Any) -> None:
        # setUpModule and its like fail outside any test: then there is no outcome to replace.
        self._outcome = Outcome(short(test.id()), "failed", f"{err[0].__name__}: {err[1]}".partition("\n")[0])
        write(self._report, self._outcome)


def replace_executor(*, drop_context: bool) -> None:
    """Put our class where the tests, and the scripts they start, look for the standard one."""
    import concurrent.futures.process as standard

    import stoppable

    ours: type[futures.Executor] = stoppable.ProcessPoolExecutor
    if drop_context:
        ours = without_context(ours)
    futures.ProcessPoolExecutor = ours  # type: ignore[misc, assignment]
    standard.ProcessPoolExecutor = ours  # type: ignore[misc, assignment]


def without_context(base: type[Any]) -> type[Any]:
    """Return a subclass of *base* that takes `mp_context` and ignores it."""

    def init(self: Any, *args: Any, mp_context: object = None, **kwargs: Any) -> None:
        base.__init__(self, *args, **kwargs)

    return type("ProcessPoolExecutor", (base,), {"__init__": init, "__module__": base.__module__})


def load_modules() -> list[types.ModuleType]:
    """Return the modules of the interpreter's tests: one file until 3.11, a package since."""
    package = importlib.import_module(PACKAGE)
    if not hasattr(package, "__path__"):
        return [package]
    return [importlib.import_module(f"{PACKAGE}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]


def patch_modules(modules: list[types.ModuleType], method: str) -> None:
    from stoppable import Future

    ours, our_future = futures.ProcessPoolExecutor, Future
    for module in modules:
        if hasattr(module, "assert_python_ok"):
            module.assert_python_ok = with_ours(module.assert_python_ok, method)  # type: ignore[attr-defined]
        for value in list(vars(module).values()):
            if isinstance(value, type) and "ProcessPool" in getattr(value, "executor_type", type).__name__:
                value.executor_type = ours  # type: ignore[attr-defined]
            if hasattr(value, "_fail_on_deadlock"):
                value.TIMEOUT = TEST_LIMIT_S / 3
        if method == "future" and getattr(module, "Future", None) is futures.Future:
            module.Future = our_future  # type: ignore[attr-defined]


def with_ours(assert_python_ok: Callable[..., Any], method: str) -> Callable[..., Any]:
    """Return *assert_python_ok* for scripts in which the standard executor is replaced too."""
    first = f"import cpython_suite; cpython_suite.replace_executor(drop_context={method == 'default'})\n"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])

    def run(flag: str, code: str) -> Any:
        # The scripts are normally run with -I, which would hide an uninstalled source tree.
        return assert_python_ok(flag, first + code, __isolated=False, PYTHONPATH=path)

    return run


def select(modules: list[types.ModuleType], method: str, wanted: str | None) -> Iterator[unittest.TestCase]:
    """Yield the tests of *method*: those of classes with its context, and those named after it."""
    loader = unittest.TestLoader()
    if wanted:
        loader.testNamePatterns = [wanted if "*" in wanted else f"*{wanted}*"]
    for module in modules:
        for value in list(vars(module).values()):
            if not (isinstance(value, type) and issubclass(value, unittest.TestCase)):
                continue
            if value.__module__ != module.__name__:
                continue
            for test in loader.loadTestsFromTestCase(value):
                assert isinstance(test, unittest.TestCase)
                # A test that names its context itself runs for that context alone.
                if method_of(test) == method or (method == "default" and getattr(test, "ctx", None) == "spawn"):
                    yield test


def method_of(test: unittest.TestCase) -> str | None:
    """Return the start method that *test* is about, or None when it is about threads or interpreters."""
    if hasattr(test, "ctx"):
        return str(test.ctx)
    if hasattr(test, "executor_type"):
        return None
    if type(test).__name__ == "FutureTests":
        return "future"
    name = test.id().rpartition("test_")[2]
    return name if name in multiprocessing.get_all_start_methods() else None


def left_out(method: str, test_id: str) -> str | None:
    for pattern, reason in LEFT_OUT.items():
        if fnmatch.fnmatchcase(f"{method}:{test_id}", pattern):
            return reason
    return None


def short(test_id: str) -> str:
    return test_id.removeprefix(PACKAGE + ".")


if __name__ == "__main__":
    sys.exit(main())
