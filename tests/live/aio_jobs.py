"""Tasks of the tests of `stoppable.aio`, apart from them: a worker that imports this loads no event loop."""

from pathlib import Path

import jobs
import stoppable
from stoppable import StopToken
from watching import await_file, say


def value_or_polite(path: str) -> int:
    """Return, fail, or last until stopped, by the name of the path."""
    name = Path(path).name
    if name == "fails":
        raise ValueError("it fails")
    if name != "0":
        jobs.polite(path)
    return 0


def fail_when_another_runs(begun: str, other: str) -> None:
    """Fail, if the path says so, once the *other* has begun; else last until stopped."""
    if Path(begun).name != "fails":
        jobs.polite(begun)
    await_file(other)
    raise ValueError("it fails")


def end_iteration(_: int) -> None:
    raise StopAsyncIteration


def wait_for(begun: str, release: str) -> str:
    """Wait for a file; return what is in it."""
    say(begun)
    return await_file(release, 60)


def say_and_sleep(_: StopToken) -> None:
    stoppable.progress(1)
    stoppable.sleep(jobs.LONG_S)
