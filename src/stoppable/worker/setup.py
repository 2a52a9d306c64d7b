"""What a worker must know before its first task: made once by the parent, the same for all workers.

A worker finds the same modules as its parent (`sys.path`, `sys.argv`, the working directory), the
same `__main__` under the name `__mp_main__`, and can open what the parent's multiprocessing made
(its authentication key). That is what `multiprocessing` gives its spawned children, too.
"""

import copy
import os
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from stoppable import wire


class Place(NamedTuple):
    """What only who has forked a worker can tell it.

    number: of the worker in its pool.
    tracker: a descriptor of the parent's resource tracker; None: it has none.
    """

    number: int
    tracker: int | None


class Setup:
    """The parent's surroundings, and the initializer to run in each worker.

    Attributes:
        inherited: True if the worker is a fork of the parent, so there is nothing to set up but the initializer.
        pickled: the initializer and its arguments, in place of themselves, for a worker that has still to find `__main__`.
        levels: of the parent's loggers, if records and warnings are to be sent to it; None: they are not.
        lines: whether what is printed is to be sent, too.
        max_bytes: what a worker may have when it has answered; with more, it takes no other task. None: any.
        main_name, main_path: how to find `__main__` again; both None when it cannot be imported.
    """

    def __init__(
        self,
        name: str,
        parent_pid: int,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        self.name, self.parent_pid = name, parent_pid
        self.initializer, self.initargs = initializer, initargs
        self.pickled: bytes | None = None
        self.inherited = False
        self.levels: dict[str, int] | None = None
        self.lines = False
        self.max_bytes: int | None = None
        self.sys_path: list[str] = []
        self.argv: list[str] = []
        self.cwd: str | None = None
        self.authkey: bytes | None = None
        self.parent_name = "MainProcess"
        self.start_method: str | None = None  # of the processes that tasks start
        self.main_name: str | None = None
        self.main_path: str | None = None

    def sendable(self) -> "Setup":
        """Return it for a worker that reads it before it has run the main script, in which the initializer may be defined.

        Raises:
            Exception: the initializer or its arguments do not pickle.
        """
        sent = copy.copy(self)
        sent.initializer, sent.initargs = None, ()
        if self.initializer is not None:
            call = self.initializer, self.initargs
            sent.pickled = wire.dumps(call, by_value=not wire.main_is_importable())
        return sent


def describe(name: str, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> Setup:
    """Return the setup that makes a fresh interpreter resemble this one."""
    setup = Setup(name, os.getpid(), initializer, initargs)
    setup.sys_path, setup.argv = list(sys.path), list(sys.argv)
    try:
        setup.cwd = os.getcwd()
    except OSError:
        setup.cwd = None  # it was removed; the worker stays where it starts
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        setup.authkey = bytes(process.current_process().authkey)
        setup.parent_name = process.current_process().name
        setup.start_method = sys.modules["multiprocessing"].get_start_method(allow_none=True)
    _describe_main(setup)
    return setup


def _describe_main(setup: Setup) -> None:
    if not wire.main_is_importable():
        return
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name is not None and name != "__main__":
        setup.main_name = name
        return
    path = main.__file__
    if path is not None:
        setup.main_path = os.path.join(setup.cwd, path) if setup.cwd and not os.path.isabs(path) else path


# True while `__main__` is run again in a worker: then making a pool would never end.
importing_main = False


def apply(setup: Setup, place: Place | None, resembling: Callable[[Setup], object]) -> None:
    """Make this process resemble the parent, call *resembling*, then run the initializer.

    Args:
        place: None: the worker is a process of multiprocessing's, which has told it all that.

    Raises:
        BaseException: whatever `__main__` or the initializer raised.
    """
    if place is not None:
        _be_a_child(setup, place)
    if not setup.inherited:
        _surround(setup)
        _import_main(setup)
    resembling(setup)
    initializer, initargs = setup.initializer, setup.initargs
    if setup.pickled is not None:
        initializer, initargs = wire.loads(setup.pickled)
    if initializer is not None:
        initializer(*initargs)


def _surround(setup: Setup) -> None:
    sys.path[:] = setup.sys_path
    sys.argv[:] = setup.argv
    if setup.cwd is not None:
        try:
            os.chdir(setup.cwd)
        except OSError:
            pass  # gone meanwhile: not a reason to run nothing


def _be_a_child(setup: Setup, place: Place) -> None:
    """Look to programs like a process that multiprocessing has started: they ask it for their name, their number, their parent.

    Log records show that name, and some modules do another thing in a "MainProcess". And a tracker of the worker's own would
    unlink, at the worker's end, shared memory that others still use.
    """
    from multiprocessing import process, set_start_method

    me: Any = process.current_process()
    me.name, me._identity = f"{setup.name}-{os.getpid()}", (place.number,)
    if setup.authkey is not None:
        me.authkey = setup.authkey
    if setup.start_method is not None:
        set_start_method(setup.start_method, force=True)
    if place.tracker is not None:
        from multiprocessing import resource_tracker

        resource_tracker._resource_tracker._fd = place.tracker  # type: ignore[attr-defined]  # as a spawned process does
    if process.parent_process() is None:
        with suppress(OSError, AttributeError):  # no descriptor, no pidfd; another Python may have no such class
            kind: Any = process._ParentProcess  # type: ignore[attr-defined]
            parent = kind(setup.parent_name, setup.parent_pid, os.pidfd_open(setup.parent_pid))
            process._parent_process = parent  # type: ignore[attr-defined]


def _import_main(setup: Setup) -> None:
    global importing_main
    if setup.main_name is None and setup.main_path is None:
        return
    import runpy

    importing_main = True
    try:
        if setup.main_name is not None:
            if setup.main_name.endswith(".__main__"):
                return  # a package run by -m: as in multiprocessing, its __main__ is not run again
            names = runpy.run_module(setup.main_name, run_name="__mp_main__", alter_sys=True)
        else:
            assert setup.main_path is not None
            base = os.path.splitext(os.path.basename(setup.main_path))[0]
            if base in ("ipython", "__main__"):
                return
            names = runpy.run_path(setup.main_path, run_name="__mp_main__")
    finally:
        importing_main = False
    main = types.ModuleType("__mp_main__")
    main.__dict__.update(names)
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
