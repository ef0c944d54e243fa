"""Where a connection goes: the address that the app names, and the harness's database that answers in its place.

Nothing here imports a driver. The hooks turn what the app passed to its engine or to asyncpg into an `Address`, ask
the `Redirect` in force, and connect to the `Target` they get; with None they connect to what the app named.

Which redirect is in force is `route.get()` when a context set one (the harness's own connections, a schema that is
being built), else the one that the hooks hold. While a context has set one, connections are real: never virtual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pytest_asyncapi.errors import ForeignDatabase, ours
from pytest_asyncapi.masking import masked

__tracebackhide__ = ours

__all__ = ["MARK", "MARK_QUERY", "Address", "Direct", "Fixed", "Redirect", "Target", "Unanswered", "route", "routed"]

MARK = "pytest-asyncapi:"
"""How the comment of every PostgreSQL database begins that the harness made."""

MARK_QUERY = (
    "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database"
    " WHERE datname = pg_catalog.current_database()"
)
"""Asks the connected PostgreSQL database for its comment (one row, one column, may be null)."""


@dataclass(frozen=True, slots=True)
class Address:
    """What the app named. For SQLite `database` is the path as it was given, or `:memory:`."""

    dialect: str
    driver: str = ""
    host: str = ""
    port: int | None = None
    user: str = ""
    database: str = ""

    @property
    def in_memory(self) -> bool:
        """Whether this is a SQLite database that has no file, and so is the app's own already."""
        name = self.database
        return self.dialect == "sqlite" and (
            name in {"", ":memory:"}
            or name.startswith("file::memory:")
            or (name.startswith("file:") and "mode=memory" in name)
        )

    @property
    def place(self) -> Address:
        """The address without the driver: alike for two drivers that connect to one database."""
        return replace(self, driver="")

    def __str__(self) -> str:
        scheme = f"{self.dialect}+{self.driver}" if self.driver else self.dialect
        if self.dialect == "sqlite":
            return f"{scheme}:///{self.database}"
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{scheme}://{user}{self.host}{port}/{self.database}"


@dataclass(frozen=True, slots=True)
class Target:
    """A database that the harness made. `host` is the directory of the socket where the server listens on one."""

    dialect: str
    host: str = ""
    port: int | None = None
    user: str = ""
    password: str | None = field(default=None, repr=False)
    database: str = ""

    def url(self, driver: str = "") -> str:
        """The address in SQLAlchemy's spelling; with `driver` (`asyncpg`, `psycopg`, `aiosqlite`) in its scheme."""
        scheme = f"{self.dialect}+{driver}" if driver else self.dialect
        if self.dialect == "sqlite":
            return f"{scheme}:///{self.database}"
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        user = f"{quote(self.user, safe='')}{secret}@" if self.user else ""
        if self.host.startswith("/"):
            return f"{scheme}://{user}/{quote(self.database)}?host={quote(self.host)}&port={self.port}"
        port = f":{self.port}" if self.port else ""
        return f"{scheme}://{user}{self.host}{port}/{quote(self.database)}"

    def answers(self, address: Address) -> bool:
        """Whether `address` names this very database."""
        if address.dialect != self.dialect:
            return False
        if self.dialect == "sqlite":
            return Path(address.database).resolve() == Path(self.database).resolve()
        same_port = address.port in {None, self.port}
        return (address.host, address.database) == (self.host, self.database) and same_port


class Unanswered(Exception):
    """Why nothing of the harness answers an address; `Redirect` makes the error of it."""


class Redirect:
    """The rule of a test: every address is answered by a database of the harness that speaks its dialect.

    `target_of(address)` gives that database (and may have to start a server first); None, or `Unanswered`, refuses.
    With `enabled=False` (ini `asyncapi_redirect = false`) the app's address is left alone, and only a database that
    the harness made, or that carries its mark, may be used.
    """

    def __init__(self, target_of: Callable[[Address], Target | None], *, enabled: bool = True, hint: str = "") -> None:
        self._target_of = target_of
        self.enabled = enabled
        self._files: set[str] = set()
        self._hint = hint

    @property
    def files(self) -> set[str]:
        """The app's own files of SQLite, which nobody may open in a test."""
        return self._files

    def target_for(self, address: Address, where: str = "") -> Target | None:
        """The database to connect to in place of `address`; None leaves it. `where` is the app's line, for errors."""
        if address.in_memory:
            return None
        try:
            target = self._target_of(address)
        except Unanswered as error:
            raise self.refuse(address, where, str(error)) from None
        if target is None:
            raise self.refuse(
                address,
                where,
                f"no database of the harness speaks {address.dialect}. "
                + (
                    self._hint
                    or "Set asyncapi_database to what the app speaks, or to none to leave the app's databases alone."
                ),
            )
        if self.enabled:
            if address.dialect == "sqlite" and not target.answers(address):
                self._files.add(str(Path(address.database).absolute()))
            return target
        if address.dialect == "sqlite" and not target.answers(address):
            raise self.refuse(
                address,
                where,
                "asyncapi_redirect is off and this file was not made by the harness. "
                f"Point the app at {masked(target.url())} (db.url), or switch asyncapi_redirect on.",
            )
        return None

    def objection(self) -> bool:
        """Whether no connection may be used at this moment, not even one that is open."""
        return False

    def must_verify(self, address: Address) -> bool:
        """Whether the hooks have to ask a new connection for its mark (`MARK_QUERY`) before the app may use it."""
        return not self.enabled and address.dialect == "postgresql"

    def verify(self, address: Address, comment: str | None, where: str = "") -> None:
        """Refuse a database whose comment does not carry the harness's mark."""
        if comment is None or not comment.startswith(MARK):
            raise self.refuse(
                address,
                where,
                "asyncapi_redirect is off and this database does not carry the harness's mark: tests run in a database "
                "that pytest-asyncapi made, never in yours. Point the app at db.url, or switch asyncapi_redirect on.",
            )

    def refuse(self, address: Address, where: str, why: str) -> ForeignDatabase:
        """The error for an address that nothing of the harness may answer."""
        line = f"\n  at {where}" if where else ""
        return ForeignDatabase(f"the app connects to {address} in a test, but {why}{line}")


class Direct(Redirect):
    """Leaves every address as it is: for connections of the harness itself."""

    def __init__(self) -> None:
        super().__init__(lambda address: None)

    def target_for(self, address: Address, where: str = "") -> Target | None:
        return None

    def must_verify(self, address: Address) -> bool:
        return False


class Fixed(Redirect):
    """Sends every address of the target's dialect to one target: a schema that is built, a clone."""

    def __init__(self, target: Target) -> None:
        super().__init__(lambda address: target if address.dialect == target.dialect else None)
        self.target = target


route: ContextVar[Redirect | None] = ContextVar("pytest_asyncapi_database_route", default=None)
"""The redirect that this context has set over the one of the test; connections are then real ones."""


@contextmanager
def routed(redirect: Redirect) -> Iterator[Any]:
    """Connections made in this context go where `redirect` says, and are real."""
    token = route.set(redirect)
    try:
        yield redirect
    finally:
        route.reset(token)
