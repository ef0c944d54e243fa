"""Keeps a whole test session from the app's own databases, from the first conftest file on.

A connection that is made in a test with a database, or in a fixture that several tests share, goes to the harness's
database. What such a fixture writes stays: each test begins with it. Everything else is refused: the import of
conftest files and test modules, when there is no test database yet, and tests that ask for none.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.targets import Address, Redirect, Target
from pytest_asyncapi.errors import AsyncAPIError, ForeignDatabase, ours
from pytest_asyncapi.wire.imports import AfterImport

if TYPE_CHECKING:
    from pytest_asyncapi.database.home import Home

__tracebackhide__ = ours

LIBRARIES = ("sqlalchemy", "asyncpg", "psycopg", "aiosqlite", "psycopg2")
HOME = "_asyncapi_database_home"
DATABASE = "_asyncapi_database"

_GUARD = pytest.StashKey["SessionRedirect"]()


class SessionRedirect(Redirect):
    """The redirect of a run: that of its databases, once a test or a fixture may have them."""

    def __init__(self) -> None:
        super().__init__(lambda address: None)
        self.home: Home | None = None
        self.served = False  # whether the test that runs has a database
        self._item: pytest.Item | None = None
        self._shared = 0  # fixtures of a wider scope that are being set up
        self._ending = False

    # ---- what pytest does

    @contextmanager
    def running(self, item: pytest.Item) -> Generator[None, None, None]:
        """A test runs, from its set-up to its tear-down."""
        self._item = item
        try:
            yield
        finally:
            self._item, self.served, self._ending = None, False, False

    @contextmanager
    def shared(self) -> Generator[None, None, None]:
        """A fixture of several tests is being set up."""
        self._shared += 1
        try:
            yield
        finally:
            self._shared -= 1

    def end(self) -> None:
        """The tear-down begins, which may be that of shared fixtures too."""
        self._ending = True

    # ---- the rule

    def target_for(self, address: Address, where: str = "") -> Target | None:
        if address.in_memory:
            return None
        target = self._home(address, where).redirect.target_for(address, where)
        if self._shared and self.home is not None:
            self.home.settled = False
        return target

    def must_verify(self, address: Address) -> bool:
        return self.home is not None and self.home.redirect.must_verify(address)

    def verify(self, address: Address, comment: str | None, where: str = "") -> None:
        if self.home is not None:
            self.home.redirect.verify(address, comment, where)

    @property
    def files(self) -> set[str]:
        return self.home.redirect.files if self.home is not None else set()

    def objection(self) -> bool:
        shared = self._shared and hasattr(self._item, "_request")
        return not (self.served or shared or (self._ending and self.home is not None))

    def _home(self, address: Address, where: str) -> Home:
        item, line = self._item, f"\n  at {where}" if where else ""
        if item is None:
            raise ForeignDatabase(
                f"the app connects to {address} while no test runs (conftest.py and the tests are imported, or the run "
                "ends), and a test session reaches no database but its own. Connect in a fixture, of scope session "
                f"if what it writes is for all tests.{line}"
            )
        if self.objection():
            raise ForeignDatabase(
                f"the app connects to {address} in {item.name}, a test without a database. Take the fixture `client` "
                f"or `db`; or set asyncapi_database = none, to leave the app's databases to your own fixtures.{line}"
            )
        if self.home is None:
            request: Any = item._request  # type: ignore[attr-defined]
            request.getfixturevalue(HOME)
        assert self.home is not None
        return self.home


def guard_of(config: pytest.Config) -> SessionRedirect:
    """The guard of a run, put in place now if it is not there yet."""
    guard = config.stash.get(_GUARD, None)
    if guard is not None:
        return guard
    guard = config.stash[_GUARD] = SessionRedirect()
    before, hooks.redirect = hooks.redirect, guard
    imports = AfterImport()

    def refresh(module: object) -> None:
        with suppress(AsyncAPIError):  # a version that is too old: told when a test needs its database
            hooks.refresh()

    def disarm() -> None:
        imports.uninstall()
        hooks.uninstall()
        hooks.redirect = before

    with suppress(AsyncAPIError):
        hooks.install()
    for name in LIBRARIES:
        imports.watch(name, refresh)
    imports.install()
    config.add_cleanup(disarm)
    return guard


def put_first(item: pytest.Item) -> None:
    """Open the test's database before its other function-scoped fixtures, which may use the app's engine."""
    names = getattr(item, "fixturenames", [])
    info: Any = getattr(item, "_fixtureinfo", None)
    if info is None or not ("_asyncapi_client_plan" in names or DATABASE in names):
        return
    wide = 0
    for name in names:
        definitions = info.name2fixturedefs.get(name)
        if not definitions or definitions[-1].scope == "function":
            break
        wide += 1
    item.fixturenames = [*names[:wide], DATABASE, *(name for name in names[wide:] if name != DATABASE)]  # type: ignore[attr-defined]
