"""The portable build must keep the same promises: run the same tests with it, on Linux too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stoppable.flags import kernel

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(kernel.PORTABLE, reason="this is that run")
@pytest.mark.parametrize(
    ("name", "which"),
    # An exception or a signal handler that hits a thread inside its claim makes it give up the claim there.
    [
        ("token", ""),
        ("event", ""),
        ("callbacks", ""),
        ("processes", ""),
        ("faults", "random_instant or killed_after_setting"),
    ],
)
def test_the_portable_build_passes_the_same_tests(name: str, which: str) -> None:
    code = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", str(HERE / f"test_flag_{name}.py"), "-k", which],
        env={**os.environ, "STOPPABLE_PORTABLE": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
