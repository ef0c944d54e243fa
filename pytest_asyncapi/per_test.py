"""What a test has one of: opened by the first of its fixtures that needs it, and closed with that fixture.

A room declares it by `one_a_test`. Another room has it by its name: as an argument of a fixture, or from inside of one
by `entered`, which spares the test a fixture. Pytest takes longer to set one up than a small request takes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

_OPENERS: dict[str, Callable[[pytest.FixtureRequest], contextlib.AbstractContextManager[Any]]] = {}
_OPEN = pytest.StashKey[dict[str, Any]]()


def one_a_test(func: Callable[[pytest.FixtureRequest], Iterator[T]]) -> Any:
    """A function-scoped fixture, from a generator function of `request`."""
    name = func.__name__
    _OPENERS[name] = contextlib.contextmanager(func)

    @pytest.fixture(name=name)
    def fixture(request: pytest.FixtureRequest) -> Iterator[T]:
        with contextlib.ExitStack() as stack:
            yield entered(name, request, stack)

    fixture.__doc__ = func.__doc__
    return fixture


def entered(name: str, request: pytest.FixtureRequest, stack: contextlib.ExitStack) -> Any:
    """The value that `one_a_test` declares as `name`: the test's, if it is open, else opened until `stack` closes."""
    opened = request.node.stash.setdefault(_OPEN, {})
    if name not in opened:
        opened[name] = stack.enter_context(_OPENERS[name](request))
        stack.callback(opened.pop, name)
    return opened[name]
