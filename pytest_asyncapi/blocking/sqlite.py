"""The standard library's sqlite3: queries of a database file, also over a connection that a thread or a fixture opened.

Its connections are of C and cannot be patched, but `connect()` takes a factory: files get a subclass whose methods are
named calls. Databases in memory, and connections with a factory of their own, are left alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pytest_asyncapi.blocking.calls import Call, real_file

_FACTORY = 5  # the position of `factory` among connect()'s arguments
_OF_CONNECTION = ("execute", "executemany", "executescript", "commit", "rollback", "backup")
_OF_CURSOR = ("execute", "executemany", "executescript", "fetchall", "fetchmany")


def connect_with(module: ModuleType, wrap: Callable[[Call, Any], Any], active: Callable[[], bool]) -> Any:
    """A `sqlite3.connect` whose connections of files have named methods. `wrap` makes a method from the original."""
    original = module.connect

    def named(base: type, names: tuple[str, ...]) -> dict[str, Any]:
        def method(name: str) -> Any:
            call = Call("sqlite3:connect", f"sqlite3.{base.__name__}.{name}", lambda args, kwargs: active())
            return wrap(call, getattr(base, name))

        return {name: method(name) for name in names} | {"__module__": "sqlite3"}

    cursor_class: Any = type("Cursor", (module.Cursor,), named(module.Cursor, _OF_CURSOR))

    def cursor(self: Any, factory: Any = cursor_class) -> Any:
        return module.Connection.cursor(self, factory)

    methods = named(module.Connection, _OF_CONNECTION) | {"cursor": cursor}
    connection_class: Any = type("Connection", (module.Connection,), methods)

    @functools.wraps(original)
    def connect(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if len(args) <= _FACTORY and "factory" not in kwargs and active() and real_file(args, kwargs):
            kwargs["factory"] = connection_class
        return original(*args, **kwargs)

    return connect
