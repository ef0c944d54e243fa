"""Dependencies of a FastAPI app replaced for a while, and put back as they were."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pytest_asyncapi.client.exchange import describe
from pytest_asyncapi.errors import ConfigurationError, ours

__tracebackhide__ = ours

_ABSENT: Any = object()


class Override:
    """One replacement. As a context manager it ends with the block; `undo()` ends it at once."""

    def __init__(self, table: dict[Any, Any], dependency: Any, replacement: Callable[..., Any]) -> None:
        self._table = table
        self._dependency = dependency
        self._replacement = replacement
        self._before = table.get(dependency, _ABSENT)
        table[dependency] = replacement

    def undo(self) -> None:
        """Put back what was there before; once."""
        if self._table.get(self._dependency, _ABSENT) is not self._replacement:
            return  # somebody has replaced it since, or cleared the table
        if self._before is _ABSENT:
            del self._table[self._dependency]
        else:
            self._table[self._dependency] = self._before

    def __enter__(self) -> Override:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.undo()


class Overrides:
    """`override(dependency, value)`: the app's endpoints get `value` instead, until the end of the test.

    `override(dependency, using=function)` replaces it by another dependency, with parameters and clean-up of its own; a
    function as `value` is refused, since it is most often meant so.
    `app=` names another app than the one under test, such as a mounted one.
    """

    def __init__(self, app: Callable[[], Any]) -> None:
        self._app = app
        self._active: list[Override] = []

    def __call__(
        self,
        dependency: Callable[..., Any],
        value: Any = _ABSENT,
        *,
        using: Callable[..., Any] | None = None,
        app: Any = None,
    ) -> Override:
        if (value is _ABSENT) == (using is None):
            raise ConfigurationError(
                "override() takes the dependency and either a value, override(get_user, user), or another dependency, "
                "override(get_user, using=get_test_user)"
            )
        if not callable(dependency):
            raise ConfigurationError(
                f"override(): {dependency!r} is not a dependency: give the function that the endpoints depend on"
            )
        if inspect.isroutine(value):  # as in `app.dependency_overrides[get_user] = get_test_user`
            name = _name(value)
            raise ConfigurationError(
                f"override(): the value is a function, which the endpoints would get uncalled. "
                f"Write override({_name(dependency)}, using={name}) to have it called; "
                f"where they shall get the function itself: using=lambda: {name}"
            )
        replacement = using if using is not None else lambda: value
        override = Override(_table(app if app is not None else self._app()), dependency, replacement)
        self._active.append(override)
        return override

    def undo(self) -> None:
        """Undo every replacement, the last first."""
        while self._active:
            self._active.pop().undo()


def _name(function: Any) -> str:
    name: str = getattr(function, "__name__", repr(function))
    return "function" if name == "<lambda>" else name


def _table(app: Any) -> dict[Any, Any]:
    """The `dependency_overrides` of a FastAPI app, also one that is wrapped in middleware."""
    inner, seen = app, 0
    while inner is not None and seen < 20:
        table = getattr(inner, "dependency_overrides", None)
        if isinstance(table, dict):
            return table
        inner, seen = getattr(inner, "app", None), seen + 1
    raise ConfigurationError(
        f"override() works on FastAPI apps, which have `dependency_overrides`; {describe(app)} has none"
    )
