"""The measurements run at all; what they measure is asserted nowhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "bench"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "keys"),
    [
        ("round_trip", {"median_us", "p99_us"}),
        ("asks", {"polling_us", "polling_p99_us", "waiting_us", "waiting_p99_us"}),
    ],
)
def test_a_case_runs_in_a_process_of_its_own_and_says_its_numbers(case: str, keys: set[str]) -> None:
    command = [sys.executable, str(BENCH / "cases.py"), case, "stoppable"]
    done = subprocess.run(command, capture_output=True, timeout=100, check=True)
    numbers = json.loads(done.stdout)
    assert numbers.keys() == keys
    assert all(value > 0 for value in numbers.values())


def test_a_pool_that_cannot_do_something_says_so() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH / "cases.py"), "stops", "joblib"], capture_output=True, timeout=100, check=True
    )
    assert "cannot" in json.loads(done.stdout)
