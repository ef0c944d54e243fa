"""The test database: every test begins with the tables as the schema made them, whatever the tests before it did.

`Database` is what the `db` fixture gives. `RollbackSandbox` undoes everything that an app does in its databases, from
a REPL too; `QueryLog` notes the statements, and finds the N+1 among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_asyncapi.lazy import exports

if TYPE_CHECKING:
    from pytest_asyncapi.database.control import Database as Database
    from pytest_asyncapi.database.control import Isolation as Isolation
    from pytest_asyncapi.database.home import Home as Home
    from pytest_asyncapi.database.home import Wishes as Wishes
    from pytest_asyncapi.database.queries import Query as Query
    from pytest_asyncapi.database.queries import QueryLog as QueryLog
    from pytest_asyncapi.database.sandbox import Links as Links
    from pytest_asyncapi.database.sandbox import RollbackSandbox as RollbackSandbox
    from pytest_asyncapi.database.sessions import fresh_session as fresh_session
    from pytest_asyncapi.database.targets import Target as Target

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Database": ".control",
        "Isolation": ".control",
        "Home": ".home",
        "Wishes": ".home",
        "Query": ".queries",
        "QueryLog": ".queries",
        "Links": ".sandbox",
        "RollbackSandbox": ".sandbox",
        "fresh_session": ".sessions",
        "Target": ".targets",
    },
)
