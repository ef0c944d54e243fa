"""Patched functions for code that took the original ones before: by name, in a partial, a class, a default, a table."""

from __future__ import annotations

import contextlib
import functools
import sys
from types import FunctionType, ModuleType
from typing import Any

from pytest_asyncapi.blocking.owners import owner


class Builtin:
    """A patched builtin. Like the original it becomes no method as a class's attribute, and is pickled by its name."""

    def __init__(self, function: Any, name: str) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self.__qualname__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return self._function(*args, **kwargs)

    def __reduce__(self) -> str:
        return self.__qualname__


def rebind(replaced: dict[int, Any]) -> None:
    """Give the new functions, by the id of the old ones, to the modules of users and of installed packages."""
    for module in list(sys.modules.values()):
        filename = getattr(module, "__file__", None)
        if not isinstance(module, ModuleType) or not filename:
            whose = "user" if getattr(module, "__name__", "") == "__main__" else "standard"
        else:
            whose = owner(filename)
        if whose not in ("user", "library"):
            continue
        for name, value in list(vars(module).items()):
            new = replaced.get(id(value))
            if new is not None:
                setattr(module, name, new)
            elif whose == "user":
                with contextlib.suppress(Exception):  # classes that refuse, and other oddities: nothing is lost
                    _inside(value, module.__name__, replaced)


def _inside(value: Any, module: str, replaced: dict[int, Any]) -> None:
    """What keeps functions, and can be told to keep others."""
    if type(value) is functools.partial:
        new = replaced.get(id(value.func))
        if new is not None:
            state: Any = value
            state.__setstate__((new, value.args, value.keywords, vars(value) or None))
    elif type(value) is dict:
        value.update({key: replaced[id(each)] for key, each in value.items() if id(each) in replaced})
    elif isinstance(value, FunctionType):
        _defaults(value, replaced)
    elif isinstance(value, type) and value.__module__ == module:
        for name, each in list(vars(value).items()):
            kept = each.__func__ if isinstance(each, (staticmethod, classmethod)) else each
            new = replaced.get(id(kept))
            if new is not None:
                setattr(value, name, new if kept is each else type(each)(new))
            elif isinstance(kept, FunctionType):
                _defaults(kept, replaced)


def _defaults(function: FunctionType, replaced: dict[int, Any]) -> None:
    """Those of its arguments, and what its closure keeps: a dataclass' factories too."""
    given = function.__defaults__ or ()
    if any(id(each) in replaced for each in given):
        function.__defaults__ = tuple(replaced.get(id(each), each) for each in given)
    for name, each in (function.__kwdefaults__ or {}).items():
        if id(each) in replaced:
            assert function.__kwdefaults__ is not None
            function.__kwdefaults__[name] = replaced[id(each)]
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty one
            cell.cell_contents = replaced.get(id(cell.cell_contents), cell.cell_contents)
