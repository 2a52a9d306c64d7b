"""The soak runs, and its judge sees what grows."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("soak_for_test", BENCH / "soak.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "soak_for_test", module)
    spec.loader.exec_module(module)
    return module


def samples(soak: Any, **growing: float) -> list[dict[str, float]]:
    """Return 40 samples of things that stand still, but for those that grow by so much each time."""
    names = [column.name for column in soak.COLUMNS]
    return [{name: 10_000 + growing.get(name, 0) * n for name in names} for n in range(40)]


def test_what_stands_still_is_flat(soak: Any) -> None:
    assert all(flat for *_, flat in soak.judge(samples(soak)))


@pytest.mark.parametrize("name", ["parent_fds", "flag_records", "warden_rss_kb", "calm_worker_pss_kb"])
def test_what_grows_is_seen_and_nothing_else_is_blamed(soak: Any, name: str) -> None:
    by = 200.0 if name.endswith("_kb") else 0.2
    assert [found for found, _, _, flat in soak.judge(samples(soak, **{name: by})) if not flat] == [name]


@pytest.mark.slow
def test_a_soak_of_some_seconds_runs_each_step_right_and_says_what_it_saw(tmp_path: Path) -> None:
    """So short that memory may still grow: only that it runs to its end is asked."""
    path = os.pathsep.join(filter(None, [str(BENCH.parent / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, BENCH / "soak.py", "--minutes", "0.08", "--folder", tmp_path, "--no-plot"],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.stderr == ""
    assert done.returncode in (0, 1)
    assert "parent_fds" in done.stdout
    with open(tmp_path / "soak.csv") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(float(row["tasks_kept"]) == 0 for row in rows)
