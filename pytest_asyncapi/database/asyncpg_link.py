"""A physical connection of asyncpg, shared by the virtual ones of a sandbox."""

from __future__ import annotations

from typing import Any

import asyncpg

_HAS_DEFERRABLE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE condeferrable)"
_CHECK = "SAVEPOINT asyncapi_check; SET CONSTRAINTS ALL IMMEDIATE"
_UNCHECK = "ROLLBACK TO SAVEPOINT asyncapi_check; RELEASE SAVEPOINT asyncapi_check"  # constraints are deferred again


class SettingsView:
    """The type codecs of one virtual connection.

    SQLAlchemy installs codecs for json and jsonb on each of its connections, which a plain `asyncpg.connect()` must not
    see. The real settings are shared, so they are programmed anew when the link changes hands.
    """

    def __init__(self, real: Any) -> None:
        self.real = real
        self.codecs: dict[tuple[Any, ...], tuple[str, tuple[Any, ...]]] = {}
        self.changed = False

    def add_python_codec(self, oid: Any, name: Any, schema: Any, *rest: Any) -> None:
        self.codecs[oid, name, schema] = ("add_python_codec", (oid, name, schema, *rest))
        self.changed = True

    def set_builtin_type_codec(self, oid: Any, name: Any, schema: Any, *rest: Any) -> None:
        self.codecs[oid, name, schema] = ("set_builtin_type_codec", (oid, name, schema, *rest))
        self.changed = True

    def remove_python_codec(self, *key: Any) -> None:
        self.codecs.pop(key, None)
        self.changed = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class AsyncpgLink:
    """One connection to PostgreSQL. Its protocol object does the talking for all virtual connections."""

    driver = "asyncpg"
    exclusive = False

    def __init__(self, connection: asyncpg.Connection, name: str) -> None:
        self.connection = connection
        self.protocol: Any = connection._protocol
        self.name = name
        self.deferrable = False
        self.statements: set[str] = set()
        """The names of the prepared statements that the server has."""
        self.unused: list[str] = []
        """Those whose virtual connection is gone."""
        self._view: SettingsView | None = None
        self._applied: list[tuple[Any, ...]] = []

    @property
    def alive(self) -> bool:
        return bool(self.protocol.is_connected())

    async def prepare(self) -> None:
        """Learn what the sandbox needs to know of the database."""
        self.deferrable = await self.connection.fetchval(_HAS_DEFERRABLE)

    def give_to(self, connection: asyncpg.Connection) -> None:
        """Let another connection object be the one that the protocol reports to, in place of the one it came with."""
        self.protocol.set_connection(connection)
        shell, self.connection = self.connection, connection
        shell._aborted, shell._protocol = True, None

    def use(self, view: SettingsView) -> None:
        """Let the codecs of `view` be those that are in force."""
        if self._view is view and not view.changed:
            return
        settings = self.protocol.get_settings()
        for key in self._applied:
            settings.remove_python_codec(*key)
        for method, arguments in view.codecs.values():
            getattr(settings, method)(*arguments)
        self._applied = list(view.codecs)
        self._view, view.changed = view, False

    async def control(self, *statements: str) -> None:
        messages = list(statements)
        if "ROLLBACK" in statements and self.unused:
            messages += [f'DEALLOCATE "{name}"' for name in self.unused if name in self.statements]
            self.statements.difference_update(self.unused)
            self.unused.clear()
        await self.protocol.query("; ".join(messages), None)

    async def check_deferred(self) -> None:
        await self.protocol.query(f"{_CHECK}; {_UNCHECK}", None)

    def is_aborted(self, error: BaseException) -> bool:
        return isinstance(error, asyncpg.InFailedSQLTransactionError)

    async def close(self) -> None:
        await self.connection.close()

    def kill(self) -> None:
        self.connection.terminate()
