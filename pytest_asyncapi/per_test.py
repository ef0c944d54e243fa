"""What a test has one of: opened by the first of its fixtures that needs it, and closed with that fixture.

A room declares it by `one_a_test`. Another room has it by its name: as an argument of a fixture, or from inside of one
by `entered`, which spares the test a fixture. Pytest takes longer to set one up than a small request takes.
"""

from __future__ import annotations

import contextlib
import functools
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


def forget_finished(item: pytest.Item) -> None:
    """Let a test's requests for fixtures go, once they have ended.

    Whenever a fixture of one test asks for one of the session, as `client` does for `asgi_app`, pytest notes at the
    latter that the former ends with it, and keeps the note until the end of the run, with all that hangs on it.
    """
    for fixturedef in item._request._fixture_defs.values():  # type: ignore[attr-defined]
        if fixturedef.scope != "function":
            notes = fixturedef._finalizers
            notes[:] = [each for each in notes if not _has_finished(each)]


def _has_finished(note: object) -> bool:
    fixturedef = getattr(note.func, "__self__", None) if isinstance(note, functools.partial) else None
    return isinstance(fixturedef, pytest.FixtureDef) and fixturedef.cached_result is None
