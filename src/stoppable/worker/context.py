"""What a task has from where it was submitted: the values of context variables, and a mapping of its own.

Two things that do not know of each other. The mapping (`options(context=...)`) is plain data. The variables
(`ProcessPoolExecutor(contextvars=...)`) are the program's own; they do not pickle, so each is named by the
module and the name where it is found, and must be found there in the worker, too.
"""

import sys
from collections.abc import Iterable, Mapping
from contextvars import Context, ContextVar, copy_context
from types import MappingProxyType
from typing import Any

from stoppable import wire

_NOTHING = object()
_EMPTY: Mapping[str, Any] = MappingProxyType({})
_found: dict[tuple[str, str], "ContextVar[Any]"] = {}

Carried = tuple[tuple[Any, ...], ...]  # each: module, name and, if it has one, value


def current_context() -> Mapping[str, Any]:
    """Return what was given to this task as `options(context=...)`, read only; empty outside a task.

    It is the same in all threads of the task.
    """
    from stoppable.worker import intask  # there already, in a task

    task = intask.current()
    return _EMPTY if task is None or not task.context else MappingProxyType(task.context)


class Variables:
    """The context variables whose values go with each task.

    Raises:
        TypeError: one is no ContextVar.
        ValueError: one is found in no module, or only in a `__main__` that workers cannot import.
    """

    def __init__(self, variables: "Iterable[ContextVar[Any]]") -> None:
        self._named = [(*_place_of(each), each) for each in variables]

    def __bool__(self) -> bool:
        return bool(self._named)

    def values(self) -> Carried:
        """Return the values that they have here and now."""
        now = ((module, name, each.get(_NOTHING)) for module, name, each in self._named)
        return tuple(item[:2] if item[2] is _NOTHING else item for item in now)


def _place_of(variable: Any) -> tuple[str, str]:
    """Return (module, name) of what must be a ContextVar."""
    if not isinstance(variable, ContextVar):
        raise TypeError(f"contextvars must be context variables, one was {variable!r}")
    places = [
        (module, name)
        for module, namespace in list(sys.modules.items())
        for name, value in list(getattr(namespace, "__dict__", {}).items())
        if value is variable
    ]
    if not places:
        raise ValueError(
            f"the context variable {variable.name!r} is an attribute of no module, so a worker cannot find it: "
            "make it at the top of one"
        )
    importable = [place for place in places if place[0] not in ("__main__", "__mp_main__")]
    if importable:
        return importable[0]
    if not wire.main_is_importable():
        raise ValueError(
            f"the context variable {variable.name!r} is defined in __main__, which workers cannot import here: "
            "put it into a module"
        )
    return "__main__", places[0][1]


def bind(carried: Carried, call: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Return a call that does the same as *call*, in a context of its own where the variables have these values.

    Raises:
        LookupError: there is no such variable here.
        ImportError: nor such a module.
    """
    named = [(_find(*item[:2]), item[2:]) for item in carried]
    context = copy_context()
    if any(not value and variable in context for variable, value in named):
        # A worker that is a fork has them from there. Nothing takes a variable out of a context.
        context = _without(context, {variable for variable, _ in named})
    for variable, value in named:
        if value:
            context.run(variable.set, *value)
    function, args, kwargs = call
    return context.run, (function, *args), kwargs


def _find(module: str, name: str) -> "ContextVar[Any]":
    variable = _found.get((module, name))
    if variable is None:
        __import__(module)
        variable = getattr(sys.modules[module], name, None)
        if not isinstance(variable, ContextVar):
            raise LookupError(f"the worker finds no context variable {name!r} in the module {module!r}")
        _found[module, name] = variable
    return variable


def _without(context: Context, variables: "set[ContextVar[Any]]") -> Context:
    rest = Context()
    for variable, value in context.items():
        if variable not in variables:
            rest.run(variable.set, value)
    return rest
