"""The one place that all database connections of the process pass while tests run.

`hooks` is installed once a run. From then on every connection of SQLAlchemy, asyncpg, psycopg and aiosqlite, whenever
its engine or pool was made, goes where the redirect in force says; and while a sandbox is active, it is a virtual one
of that sandbox.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from pytest_asyncapi.compatibility import LIBRARIES, check
from pytest_asyncapi.database.targets import Direct, Redirect, route
from pytest_asyncapi.errors import SandboxError

if TYPE_CHECKING:
    from pytest_asyncapi.database.sandbox import RollbackSandbox


_MODULES = {
    "sqlalchemy": ("sqlalchemy_hooks", "attach"),
    "queries": ("queries", "attach"),
    "asyncpg": ("asyncpg_hooks", "attach"),
    "psycopg": ("psycopg_hooks", "attach"),
    "aiosqlite": ("aiosqlite_hooks", "attach"),
    "sqlite3": ("sync_drivers", "attach_sqlite3"),
    "psycopg2": ("sync_drivers", "attach_psycopg2"),
}
"""Library -> our module for it, and the function there."""

_PACKAGE = "pytest_asyncapi.database"
HOOK_MODULES = tuple(dict.fromkeys(f"{_PACKAGE}.{module}" for module, _ in _MODULES.values()))
"""Those modules. One that is imported before its library is hooked when it has run to its end."""


class Retirable(Protocol):
    """A virtual connection of asyncpg, which must be told when its link goes."""

    def retire(self) -> None: ...


class Outside(Redirect):
    """The redirect of a context that has stepped out of the sandbox; when that is over, it has none of its own."""

    def __init__(self, redirect: Redirect) -> None:
        super().__init__(lambda address: None)
        self.inner = redirect
        self.over = False
        self.target_for = redirect.target_for  # type: ignore[method-assign]
        self.must_verify = redirect.must_verify  # type: ignore[method-assign]
        self.verify = redirect.verify  # type: ignore[method-assign]


class Hooks:
    """What stands under the database libraries: the redirect, and the sandboxes that are active."""

    def __init__(self) -> None:
        self.redirect: Redirect | None = None
        self.in_sqlalchemy: ContextVar[bool] = ContextVar("pytest_asyncapi_database_in_sqlalchemy", default=False)
        self._sandboxes: list[RollbackSandbox] = []
        self._detach: dict[str, Callable[[], None]] = {}
        self._installed = 0
        self._refreshing = False
        self._virtual: weakref.WeakSet[Retirable] = weakref.WeakSet()
        self.renewals: list[Callable[[], Awaitable[None]]] = []
        """What hooks do where the database behind open connections is another one, or is gone."""

    # ---- installation
    def install(self) -> None:
        """Put the hooks under the libraries; each call needs an `uninstall()`."""
        self._installed += 1
        self.refresh()

    def uninstall(self) -> None:
        """Take the hooks away, when nobody needs them any more."""
        self._installed -= 1
        if self._installed == 0:
            for detach in reversed(self._detach.values()):
                detach()
            self._detach.clear()

    def refresh(self) -> None:
        """Hook what has been imported by now. A library that nobody has imported is not imported for this."""
        if self._refreshing:  # by the import of a hook of ours: what that imports is looked at afterwards
            return
        self._refreshing = True
        unfinished: set[str] = set()
        try:
            while missing := [name for name in _MODULES if name not in unfinished and self._may_hook(name)]:
                for name in missing:
                    if name in LIBRARIES:
                        check(name)
                    attach = _attach_of(*_MODULES[name])
                    if attach is None:
                        unfinished.add(name)
                    else:
                        self._detach[name] = attach(self)
        finally:
            self._refreshing = False

    def _may_hook(self, name: str) -> bool:
        libraries = {"queries": ("sqlalchemy",), "sqlite3": ("sqlalchemy", "aiosqlite")}.get(name, (name,))
        return name not in self._detach and any(library in sys.modules for library in libraries)

    # ---- what holds for a connection that is made now
    def rule(self) -> Redirect:
        """Where connections of this context go."""
        own = self._own_route()
        return own or self.redirect or Direct()

    def sandbox(self) -> RollbackSandbox | None:
        """The sandbox that connections of this context belong to; None when they are real ones."""
        if not self._sandboxes or self._own_route() is not None:
            return None
        sandbox = self._sandboxes[-1]
        if sandbox.loop is not _running_loop():
            raise SandboxError(
                "the app connects to its database in another event loop than that of the test (a thread, or "
                "Starlette's TestClient, which runs the app in a thread). The connection of the sandbox belongs to the "
                "test's loop: use the `client` fixture, or give this test real connections: "
                '@pytest.mark.db(isolation="commit").'
            )
        return sandbox

    @property
    def active(self) -> bool:
        """Whether connections of this context belong to a sandbox; also asked outside of an event loop."""
        return bool(self._sandboxes) and self._own_route() is None

    def _own_route(self) -> Redirect | None:
        own = route.get()
        return None if own is None or getattr(own, "over", False) else own

    # ---- what sandboxes and hooks tell
    def enter(self, sandbox: RollbackSandbox) -> None:
        self.refresh()
        self._sandboxes.append(sandbox)

    def leave(self, sandbox: RollbackSandbox) -> None:
        self._sandboxes.remove(sandbox)

    async def renew(self) -> None:
        """Let the app's pools of this loop, which are older than the test, connect again."""
        for each in self.renewals:
            await each()

    def remember(self, connection: Retirable) -> None:
        self._virtual.add(connection)

    def retire(self, gone: Callable[[Retirable], bool]) -> None:
        """Tell the virtual connections of asyncpg that their link has gone."""
        for connection in list(self._virtual):
            if gone(connection):
                connection.retire()


def _attach_of(module: str, function: str) -> Any:
    """What puts a hook in place; None while a module of ours that it needs is being imported.

    That import is what has imported the library: the hook's turn comes at the end of it.
    """
    try:
        return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), function, None)
    except ImportError as error:
        if "partially initialized module" in str(error) and _PACKAGE in str(error):
            return None
        raise


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


hooks = Hooks()
"""The hooks of this process."""
