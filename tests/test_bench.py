"""The measurements run at all; what they measure is asserted nowhere."""

import importlib.util
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of bench/ by name; forgotten afterwards, so that no other test finds them."""
    monkeypatch.syspath_prepend(str(BENCH))
    names = [path.stem for path in BENCH.glob("*.py")]
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


# The cases with counts so small that they measure nothing.
SMALL: dict[str, dict[str, Any]] = {
    "floors": {"times": 20, "size_mb": 1},
    "flag": {"rounds": 1},
    "noops": {"count": 50},
    "chunks": {"count": 2000},
    "round_trip": {"count": 5},
    "efficiency": {"count": 20},
    "head_of_line": {},
    "arrays": {"sizes_mb": [8, 100]},
    "asks": {"times": 2},
    "interrupts": {"times": 1},
    "stops": {"times": 1},
    "recovery": {"times": 1},
    "life": {},
    "imports": {"times": 1},
    "memory": {},
    "queue": {"count": 200},
    "endless": {},
}
ELSEWHERE = {"fork_server_mb", "tracker_mb"}  # helpers that peers have


@pytest.mark.slow
@pytest.mark.parametrize("case", SMALL)
def test_a_case_runs_in_a_process_of_its_own_and_gives_each_number_that_the_table_names(case: str, bench: Any) -> None:
    if case == "arrays":
        pytest.importorskip("numpy")
    rows = bench("rows")
    found = bench("run").measure(case, "stoppable", SMALL[case], 100)
    named = {row.key for row in [*rows.ROWS, *rows.FLAG_ROWS, *rows.FLOOR_ROWS] if row.case == case}
    named |= {
        target.key
        for row in [*rows.ROWS, *rows.FLAG_ROWS, *rows.FLOOR_ROWS]
        if row.case == case
        for target in row.targets
        if isinstance(target, rows.Beside)
    }
    assert named
    assert named - ELSEWHERE <= found.keys(), found
    assert all(isinstance(found[key], int | float) for key in named - ELSEWHERE), found


def test_every_case_is_tried_here_and_has_a_line_in_a_table(bench: Any) -> None:
    rows = bench("rows")
    cases = bench("cases").CASES
    assert set(SMALL) == set(cases)
    assert {row.case for row in [*rows.ROWS, *rows.FLAG_ROWS, *rows.FLOOR_ROWS]} == set(cases)


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["stdlib fork", "mp.Pool"])
@pytest.mark.parametrize("case", ["noops", "round_trip", "asks", "life", "memory"])
def test_a_peer_of_the_standard_library_gives_the_same_numbers(case: str, peer: str, bench: Any) -> None:
    rows = bench("rows")
    found = bench("run").measure(case, peer, SMALL[case], 100)
    named = {row.key for row in rows.ROWS if row.case == case} - ELSEWHERE - {"warden_mb", "spare_mb"}
    assert named <= found.keys(), found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "peer", "says"),
    [
        ("stops", "mp.Pool", "terminate() ends the whole pool, and the handles never say so"),
        ("interrupts", "stdlib fork", "no way to raise in a running task"),
        ("recovery", "stdlib fork", "the whole pool is lost: BrokenProcessPool"),
    ],
)
def test_a_pool_that_cannot_do_something_says_so(case: str, peer: str, says: str, bench: Any) -> None:
    assert bench("run").measure(case, peer, SMALL[case], 100) == {"cannot": says}


def test_a_case_that_does_not_end_is_ended_with_all_that_it_started(bench: Any) -> None:
    found = bench("run").measure("noops", "stoppable", {"count": 10**9}, 0.5)
    assert found == {"cannot": "not done within 0.5 s"}


def test_a_case_that_fails_says_its_last_line(bench: Any) -> None:
    found = bench("run").measure("noops", "stoppable", {"count": "many"}, 100)
    assert found["cannot"].startswith("TypeError")


# --- verdicts ----------------------------------------------------------------------------------------------


def made_up(case: str, key: str, **values: float) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return {case: {peer.replace("_", " "): [{key: value}] for peer, value in values.items()}}


@pytest.mark.parametrize(
    ("case", "key", "values", "says"),
    [
        ("noops", "per_s", {"stoppable": 250.0, "pebble": 100.0, "anyio": 50.0}, "met"),
        ("noops", "per_s", {"stoppable": 249.0, "pebble": 100.0, "anyio": 50.0}, "not met"),
        ("noops", "per_s", {"stoppable": 250.0}, "no peer measured"),
        ("noops", "per_s", {"pebble": 100.0}, "not measured"),
        ("round_trip", "median_us", {"stoppable": 70.0, "pebble": 100.0, "anyio": 500.0}, "met"),
        ("round_trip", "median_us", {"stoppable": 71.0, "pebble": 100.0, "anyio": 500.0}, "not met"),
        ("round_trip", "p99_us", {"stoppable": 71.0, "pebble": 100.0}, "–"),
        ("efficiency", "part", {"stoppable": 0.95, "pebble": 0.99}, "met"),
        ("efficiency", "part", {"stoppable": 0.94, "pebble": 0.1}, "not met"),
        ("life", "first_ms", {"stoppable": 35.0, "pebble": 5.0}, "met"),
        ("life", "first_ms", {"stoppable": 35.1}, "not met"),
        ("arrays", "result_8mb_gb_s", {"stoppable": 10.0, "joblib": 5.0, "pebble": 1.0}, "met"),
        ("arrays", "result_8mb_gb_s", {"stoppable": 10.0, "joblib": 5.1, "pebble": 1.0}, "not met"),
        ("arrays", "result_8mb_gb_s", {"stoppable": 10.0, "joblib": 5.0, "pebble": 1.1}, "not met"),
        ("arrays", "result_8mb_gb_s", {"stoppable": 10.0, "pebble": 1.0}, "no peer measured"),
        ("arrays", "result_8mb_gb_s", {"stoppable": 10.0, "pebble": 1.1}, "not met"),
    ],
)
def test_a_verdict_follows_from_the_numbers(
    case: str, key: str, values: dict[str, float], says: str, bench: Any
) -> None:
    rows = bench("rows")
    (row,) = [row for row in rows.ROWS if (row.case, row.key) == (case, key)]
    assert rows.verdict(made_up(case, key, **values), row) == says


@pytest.mark.parametrize(("standard_ms", "says"), [(10.0, "met"), (9.9, "not met"), (None, "no peer measured")])
def test_a_verdict_beside_a_number_of_the_same_measurement(standard_ms: float | None, says: str, bench: Any) -> None:
    rows = bench("rows")
    (row,) = [row for row in rows.ROWS if row.case == "imports"]
    numbers = {"ms": 12.0} | ({} if standard_ms is None else {"standard_ms": standard_ms})
    assert rows.verdict({"imports": {"stoppable": [numbers]}}, row) == says


def test_the_median_of_the_rounds_is_judged_and_a_round_without_a_number_does_not_count(bench: Any) -> None:
    rows = bench("rows")
    (row,) = [row for row in rows.ROWS if row.key == "shutdown_ms"]
    told = [{"shutdown_ms": 2.0}, {"shutdown_ms": 50.0}, {"shutdown_ms": 2.5}, {"cannot": "no"}, {"shutdown_ms": "no"}]
    assert rows.middle({"life": {"stoppable": told}}, row, "stoppable") == 2.5
    assert rows.verdict({"life": {"stoppable": told}}, row) == "met"


def test_the_document_says_ratios_targets_verdicts_and_reasons(bench: Any) -> None:
    results = {
        "noops": {"stoppable": [{"per_s": 300.0}], "mp.Pool": [{"per_s": 100.0}], "pebble": [{"cannot": "no way"}]},
        "life": {"stoppable": [{"first_ms": 40.0}], "mp.Pool": [{"first_ms": 20.0, "shutdown_ms": "they stay"}]},
        "flag": {"stoppable": [{"threading_ns": 20.0, "event_ns": 25.0, "check_ns": 60.0, "manager_times": 1600.0}]},
    }
    text = bench("report").document(results, ["stoppable", "mp.Pool", "pebble"], 1)
    assert "| no-ops, a future each, /s | 3.00 × | ≥ 2.5 × the best peer | met | 300 | 100 | – |" in text
    assert "| first result of a new pool, ms | 2.00 × | ≤ 35 ms | not met | 40 | 20 | – |" in text
    assert "| `Event().is_set()` | 25 | 1.25 × | ≤ 1.3 × threading.Event | met |" in text
    assert "| `stoppable.check()` | 60 | 3.00 × | ≤ 2.5 × threading.Event | not met |" in text
    assert "| a Manager's event to ours |  | 1,600 × | ≥ 1,000 × | met |" in text
    assert "- not met: first result of a new pool (≤ 35 ms)" in text
    assert "- noops, pebble: no way" in text
    assert "- life, mp.Pool: shutdown_ms: they stay" in text


# --- very many tasks and workers ---------------------------------------------------------------------------


def scale(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run bench/scale.py; *before* is what the shell does first."""
    command = f'{before or ":"} && exec "$0" "$@"'
    program = [sys.executable, str(BENCH / "scale.py"), *arguments]
    return subprocess.run(["sh", "-c", command, *program], capture_output=True, text=True, timeout=100)


@pytest.mark.slow
def test_many_tasks_on_many_workers_are_measured_and_nothing_is_wrong() -> None:
    done = scale("--tasks", "300", "--workers", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    for what in (
        "submit",
        "for each queued task",
        "workers alive",
        "until all are done",
        "warden's memory",
        "shutdown",
    ):
        assert what in done.stdout


@pytest.mark.slow
def test_the_machine_alone_is_measured_in_four_sizes() -> None:
    done = scale("--simulate", "--tasks", "2000", "--workers", "20")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[2:6]]
    assert [row[:2] for row in rows] == [["2", "1"], ["20", "1"], ["200", "2"], ["2,000", "20"]]
    assert all(float(number) > 0 for row in rows for number in row[2:4])


@pytest.mark.slow
def test_a_run_in_which_nothing_moves_says_where_it_stood_and_ends() -> None:
    done = scale("--tasks", "5", "--workers", "2", "--patience", "0.001")
    assert done.returncode == 1
    assert "WRONG: workers at work: 0 of 2 for 0.001 s, and nothing moves; Statistics(" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tasks", "0"), "argument --tasks: must be a whole number of at least 1, was '0'"),
        (("--workers", "many"), "argument --workers: must be a whole number of at least 1, was 'many'"),
        (("--patience", "nan"), "argument --patience: must be seconds, more than 0, was 'nan'"),
    ],
)
def test_bad_arguments_of_a_measurement_are_refused(arguments: tuple[str, ...], says: str) -> None:
    done = scale(*arguments)
    assert done.returncode == 2
    assert says in done.stderr


def test_more_workers_than_there_may_be_descriptors_are_refused_with_advice() -> None:
    done = scale("--workers", "100", before="ulimit -n 100")
    assert done.returncode == 2
    assert "100 workers need" in done.stderr
    assert "`ulimit -n 1" in done.stderr
    assert done.stdout == ""


def test_more_workers_than_there_may_be_processes_are_refused_unless_the_user_is_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("scale_for_test", BENCH / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    limits = {resource.RLIMIT_NPROC: (10, 10), resource.RLIMIT_NOFILE: (10_000, 10_000)}
    monkeypatch.setattr(module.resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (line,) = module.too_small(20)
    assert "20 workers need" in line
    assert "this user may have 10: `ulimit -u" in line
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert module.too_small(20) == []
