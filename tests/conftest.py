"""What every test gets: a temp folder of its own, and a look at what it left behind when it is over."""

import multiprocessing.util
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import leaks

# No deadline: the machines that run this are shared, and a slow example is no wrong one.
settings.register_profile("house", deadline=None, print_blob=True)
# The same examples each time, for what must not fail by luck; all other runs go on looking for new ones.
settings.register_profile("steady", settings.get_profile("house"), derandomize=True)
settings.load_profile(os.environ.get("STOPPABLE_EXAMPLES", "house"))

_ROOT = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    # Whoever runs the tests in the background of a script has the first ignored, under nohup the second; and so would
    # every program that they start.
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    os.environ[leaks.MARK] = secrets.token_hex(8)
    # pytest's own temp folders stay where they are; all others of this run go where they can be counted.
    top = os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    # At the top also for a run inside a run: the path of a socket may have 107 characters at most.
    root = Path(tempfile.mkdtemp(prefix="stoppable-tests-", dir=top))
    config.stash[_ROOT] = root
    for name, folder in (("TMPDIR", root / "tmp"), ("XDG_RUNTIME_DIR", root / "run")):
        folder.mkdir(mode=0o700)
        os.environ[name] = str(folder)
    tempfile.tempdir = None  # it was remembered by the calls above


def pytest_unconfigure(config: pytest.Config) -> None:
    # Not at once: multiprocessing removes a folder of its own in there at exit, with priority -100.
    multiprocessing.util.Finalize(None, shutil.rmtree, (config.stash[_ROOT], True), exitpriority=-200)


def tidy() -> None:
    """Close the memory for flags of which no flag is left: a process keeps some for the next one."""
    slab = sys.modules.get("stoppable.flags.slab")
    if slab is not None:
        slab.trim()


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves a process, a thread, a file descriptor, shared memory or a file."""
    folders = (request.config.stash[_ROOT],)
    tidy()
    before = leaks.snapshot(folders)
    yield
    found = leaks.leftovers(before, folders, tidy=tidy)
    if found:
        pytest.fail("the test left behind:\n  " + "\n  ".join(found), pytrace=False)
