"""Tasks that are stopped in the live tests, and the pool that they run in. Importable, so that they pickle by name."""

import faulthandler
import os
import re
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import stoppable
from stoppable import Future, ProcessPoolExecutor, StopInterrupt, StopPolicy, StopRequested, StopToken
from stoppable.worker import start
from watching import await_file, say

LONG_S = 1000.0
# A future that is not done by then hangs. Less than a patient rung, so that it cannot be the next rung that ended it.
BOUND_S = 30.0
PATIENT = StopPolicy(ask=60.0, interrupt=60.0, terminate=60.0)
QUICK = StopPolicy(ask=0.2, interrupt=0.2, terminate=0.2)


@contextmanager
def running(workers: int = 1, **options: Any) -> Iterator[ProcessPoolExecutor]:
    """Give a pool that is shut down at the end; a failed test does not wait for its patient ladders."""
    options.setdefault("policy", PATIENT)
    pool = ProcessPoolExecutor(workers, **options)
    try:
        yield pool
    except BaseException:
        pool.kill_workers()
        raise
    finally:
        pool.shutdown()


def stopped_once_begun(function: Callable[..., Any], begun: Path, *args: Any) -> Future[Any]:
    """Ask `function(str(begun), *args)` to stop once it has written *begun*; return its future when it has ended."""
    with running() as pool:
        future = pool.submit(function, str(begun), *args)
        await_file(begun)
        future.stop()
        future.exception(BOUND_S)
        return future


def pid() -> int:
    return os.getpid()


def value(given: Any) -> Any:
    return given


def add_line(path: str) -> None:
    with open(path, "a") as file:
        file.write("ran\n")


def fail(text: str) -> NoReturn:
    raise ValueError(text)


def fail_after(path: str, text: str) -> NoReturn:
    await_file(path, 60)
    raise ValueError(text)


def give_token(begun: str) -> None:
    """Give the task's token away, then look whether it is to stop, by `check`."""
    stoppable.publish(stoppable.current_token())
    say(begun)
    while True:
        stoppable.check()
        time.sleep(0.001)


def heed_token(begun: str) -> None:
    """Look at the task's token, and not whether the task is asked."""
    token = stoppable.current_token()
    say(begun)
    token.wait(LONG_S)


def wait_until_there(path: str) -> str:
    """Wait for a file, asking nobody; return what is in it."""
    return await_file(path, 60)


def end_worker(code: int) -> NoReturn:
    os._exit(code)


def segfault() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would be left beside the tests
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(LONG_S)


# --- that never look at their token ---------------------------------------------------------------


def spin(begun: str, cleaned: str) -> None:
    try:
        say(begun)
        while True:
            pass
    finally:
        say(cleaned)


def call_all_the_time(begun: str) -> None:
    """Make frames and drop them, of functions, generators and C code that calls back."""
    say(begun)
    while True:
        sum(abs(number) for number in range(20))
        sorted(range(20), key=lambda number: -number)
        re.sub("a", lambda match: match[0], "aaa")


def nap(begun: str) -> None:
    say(begun)
    time.sleep(LONG_S)


def nap_in_two_threads(begun: str) -> None:
    threading.Thread(target=nap, args=(begun + ".2",), daemon=True).start()
    await_file(begun + ".2")
    nap(begun)


def match_for_ever(begun: str) -> None:
    """Be in a regular expression that backtracks: C that holds the GIL, but looks for signals now and then."""
    say(begun)
    re.match(r"(a+)+$", "a" * 40 + "b")


def ignore_all(begun: str) -> None:
    """Swallow interrupts and ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            if begun:
                say(begun)  # from inside: an interrupt could come before the next line
            time.sleep(LONG_S)
        except StopRequested:
            begun = ""


def _clean_up_on_sigterm(cleaned: str) -> None:
    def on_term(_number: int, _frame: object) -> NoReturn:
        say(cleaned)
        os._exit(9)

    signal.signal(signal.SIGTERM, on_term)


def tell_signals(begun: str, folder: str) -> None:
    """Leave a file for each gentle way in which this is told to end."""
    _clean_up_on_sigterm(f"{folder}/terminated")
    try:
        say(begun)
        time.sleep(LONG_S)
    except BaseException:
        say(f"{folder}/interrupted")
        raise


def spin_and_clean(begun: str, cleaned: str) -> None:
    """Run Python code for ever, clean up on SIGTERM, and die of faulthandler at once if that is asked for a stack."""
    _clean_up_on_sigterm(cleaned)
    faulthandler.unregister(start.DUMP_SIGNAL)
    signal.signal(start.DUMP_SIGNAL, signal.SIG_DFL)
    say(begun)
    while True:
        pass


def survive_interrupt(begun: str, survived: str, release: str) -> str:
    """Swallow the interrupt, say so, and end when released."""
    try:
        say(begun)
        time.sleep(LONG_S)
    except StopInterrupt:
        say(survived)
        await_file(release, 60)
    return "survived"


# --- that look ------------------------------------------------------------------------------------


def polite(begun: str) -> None:
    stoppable.check()
    say(begun)
    stoppable.sleep(LONG_S)


def linger(begun: str, stopping: str, release: str) -> None:
    """Hear the stop, say so, and end only when released."""
    try:
        polite(begun)
    finally:
        say(stopping)
        await_file(release, 60)


def give_five(begun: str) -> int:
    try:
        polite(begun)
    except StopRequested:
        return 5
    return 0


def fail_in_cleanup(begun: str) -> None:
    try:
        polite(begun)
    finally:
        raise ValueError("cleanup failed")


def make_another_of_an_interrupt(begun: str) -> None:
    """Do as code in C may that meets an exception it does not expect."""
    met = False
    try:
        say(begun)
        time.sleep(LONG_S)
    except BaseException:
        met = True
    if met:
        raise ImportError("could not import it")


def die_in_cleanup(begun: str, how: Callable[..., Any], *args: Any) -> None:
    try:
        polite(begun)
    finally:
        how(*args)


def look_then_nap(begun: str) -> None:
    stoppable.check()
    nap(begun)


def swallow(begun: str) -> None:
    """Swallow every StopRequested but the interrupt's; tell by a partial result that check() raised thrice."""
    stoppable.check()
    say(begun)
    seen = 0
    while True:
        try:
            stoppable.check()
        except StopInterrupt:
            raise
        except StopRequested:
            seen += 1
            if seen == 3:
                stoppable.publish(seen)


def stop_by_hand() -> None:
    raise StopRequested


def stop_myself(silent: str) -> None:
    stoppable.check()
    stoppable.current_token().stop("by myself")
    stoppable.check()
    say(silent)


# --- with processes of their own --------------------------------------------------------------------


def with_child(begun: str, new_session: bool, ignore_term: bool) -> None:
    """Start a process, write its id, and never look."""
    program = "trap '' TERM; echo ready; sleep 1000" if ignore_term else "echo ready; exec sleep 1000"
    child = subprocess.Popen(["sh", "-c", program], start_new_session=new_session, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    say(begun, str(child.pid))
    time.sleep(LONG_S)


class Large:
    """Says when it is being pickled, and is *size* bytes when unpickled."""

    def __init__(self, path: str, size: int) -> None:
        self.path, self.size = path, size

    def __reduce__(self) -> tuple[Any, ...]:
        say(self.path)
        return bytes, (bytes(self.size),)


def large(path: str, size: int) -> Large:
    return Large(path, size)


# --- with shields -------------------------------------------------------------------------------------


def shielded(begun: str, limit: float) -> list[Any]:
    """Wait in a shield for the stop as a fact; say what was seen in it and after it."""
    seen: list[Any] = []
    token = stoppable.current_token()
    try:
        with stoppable.shield(limit):
            say(begun)
            seen.append(token.wait(60))
            stoppable.check()
            stoppable.sleep(0.01)
            seen.append("silent")
        seen.append("left")
        stoppable.check()
    except StopRequested as stop:
        seen.append(str(stop))
    return seen


def shield_and_ignore(begun: str, limit: float) -> None:
    with stoppable.shield(limit):
        say(begun)
        time.sleep(LONG_S)


def shield_in_shield(begun: str, outer: float, inner: float) -> None:
    with stoppable.shield(outer), stoppable.shield(inner):
        say(begun)
        while True:
            stoppable.check()
            time.sleep(0.01)


def shields_everywhere(begun: str, cleaned: str) -> None:
    """Use shields before the stop, in finally, and while unwinding."""
    for _ in range(2):
        with stoppable.shield():
            stoppable.check()
    try:
        try:
            polite(begun)
        finally:
            with stoppable.shield():
                stoppable.sleep(0.001)
    finally:
        with stoppable.shield():
            stoppable.check()
            say(cleaned)


def submit_in_shield(begun: str) -> int:
    """After the stop, in a shield, run an inner pool's task."""
    try:
        polite(begun)
    except StopRequested:
        with stoppable.shield(60), ProcessPoolExecutor(1) as pool:
            return pool.submit(abs, -7).result(BOUND_S)
    return 0


def shield_in_finally_of_interrupt(begun: str) -> str:
    """Be interrupted, then shield the cleanup: it runs to its end."""
    try:
        nap(begun)
    except StopInterrupt:
        with stoppable.shield(60):
            stoppable.check()
            stoppable.sleep(0.01)
            return "cleaned"
    return ""


# --- partial results and progress ---------------------------------------------------------------------


def publish_then_nap(begun: str, *values: Any) -> None:
    for each in values:
        stoppable.publish(each)
    say(begun)
    time.sleep(LONG_S)


def publish_and_be_polite(begun: str) -> None:
    stoppable.publish("half")
    polite(begun)


def publish_unpicklable(begun: str) -> None:
    stoppable.publish("first")
    try:
        stoppable.publish(threading.Lock())
    except TypeError:
        say(begun)
    time.sleep(LONG_S)


def publish_and_return(*values: Any) -> str:
    for each in values:
        stoppable.publish(each)
    return "done"


def report_progress(begun: str, release: str) -> None:
    stoppable.progress(3)
    say(begun)
    await_file(release, 60)
    stoppable.progress(10, 10)


# --- tokens ----------------------------------------------------------------------------------------


def stop_token(token: StopToken, message: str) -> bool:
    return token.stop(message)


def use_token(begun: str, token: StopToken) -> None:
    """Look only at the token that was given."""
    say(begun)
    token.sleep(LONG_S)


def state_of_current() -> dict[str, Any]:
    token = stoppable.current_token()
    return {
        "same": token is stoppable.current_token(),
        "set": token.is_set(),
        "name": token.name,
        "remaining": token.remaining(),
    }


def wait_in_process(token: StopToken, begun: str, heard: str) -> None:
    """Be the child of a task: wait for its token."""
    say(begun)
    if token.wait(60):
        say(heard, str(token.reason))


def hand_on_token(begun: str, heard: str, method: str) -> str:
    """Give the current token to a process of one's own, which hears the stop."""
    import multiprocessing

    context: Any = multiprocessing.get_context(method)
    child = context.Process(target=wait_in_process, args=(stoppable.current_token(), begun, heard))
    child.start()
    child.join(60)
    code = child.exitcode
    child.close()
    return f"exit code {code}"


def beat_and_check(extend: float) -> str:
    stoppable.beat(extend)
    stoppable.check()
    stoppable.sleep(0)
    return "beaten"
