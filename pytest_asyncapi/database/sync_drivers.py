"""The hooks under sqlite3 and psycopg2, which an app may use without SQLAlchemy above them.

psycopg2 is redirected, and refused while a sandbox is active. sqlite3 has too many other users (coverage, for one) to
be redirected: what is refused is to open the very file that the app's engines name, for the test's rows are not in it.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.database import raw
from pytest_asyncapi.database.addresses import address_of_psycopg, to_psycopg
from pytest_asyncapi.database.naming import name_of
from pytest_asyncapi.database.targets import MARK_QUERY, Address
from pytest_asyncapi.errors import SandboxError, ours

if TYPE_CHECKING:
    from pytest_asyncapi.database.interception import Hooks

__tracebackhide__ = ours


def attach_sqlite3(hooks: Hooks) -> Callable[[], None]:
    """Put the hook under `sqlite3.connect`; the returned function takes it away."""
    from sqlite3 import dbapi2

    original: Any = sqlite3.connect

    def connect(*args: Any, **options: Any) -> Any:
        database = args[0] if args else options.get("database")
        files = hooks.rule().files
        if files and isinstance(database, (str, bytes, os.PathLike)):
            address = Address("sqlite", "sqlite3", database=os.fsdecode(database))
            if not address.in_memory and name_of(address) in files:
                raise hooks.rule().refuse(
                    address,
                    raw.line(),
                    "that is the app's own file, and sqlite3 is not redirected. The rows of the test are in another "
                    "one: read them by `db_session`, or open `db.target.database`.",
                )
        return original(*args, **options)

    sqlite3.connect = connect
    dbapi2.connect = connect

    def detach() -> None:
        sqlite3.connect = original
        dbapi2.connect = original

    return detach


def attach_psycopg2(hooks: Hooks) -> Callable[[], None]:
    """Put the hook under `psycopg2.connect`; the returned function takes it away."""
    psycopg2: Any = sys.modules["psycopg2"]
    from psycopg2.extensions import make_dsn, parse_dsn  # type: ignore[import-not-found, import-untyped, unused-ignore]

    original = psycopg2._connect

    def _connect(dsn: str, *args: Any, **options: Any) -> Any:
        if hooks.in_sqlalchemy.get():
            return original(dsn, *args, **options)
        parameters = parse_dsn(dsn)
        address = address_of_psycopg(parameters, "psycopg2")
        if hooks.active and not raw.keeps_itself(sys._getframe(1).f_locals.get("cursor_factory")):
            raise SandboxError(
                f"a connection of psycopg2 is opened at {raw.line() or '(no line of yours)'}. A test that is isolated "
                "by rollback has one connection, which only asyncio code can share, so this one would really commit. "
                'Give the test real connections: @pytest.mark.db(isolation="commit").'
            )
        rule = hooks.rule()
        target = rule.target_for(address, raw.line())
        if target is not None:
            return original(make_dsn(**to_psycopg(parameters, target)), *args, **options)
        connection = original(dsn, *args, **options)
        if rule.must_verify(address):
            try:
                with connection.cursor() as cursor:
                    cursor.execute(MARK_QUERY)
                    row = cursor.fetchone()
                connection.rollback()
                rule.verify(address, row[0] if row else None, raw.line())
            except BaseException:
                connection.close()
                raise
        return connection

    psycopg2._connect = _connect

    def detach() -> None:
        psycopg2._connect = original

    return detach
