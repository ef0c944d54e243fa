"""Keeps a whole test session from the app's own databases, from the first conftest file on.

A connection that is made in a test with a database, or in a fixture that several tests share, goes to the harness's
database. What such a fixture writes stays: each test begins with it. Everything else is refused: the import of
conftest files and test modules, when there is no test database yet, and tests that ask for none.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pytest_asyncapi.database.interception import HOOK_MODULES, hooks
from pytest_asyncapi.database.targets import Address, Redirect, Target
from pytest_asyncapi.errors import AsyncAPIError, ForeignDatabase, ours
from pytest_asyncapi.wire.imports import AfterImport

if TYPE_CHECKING:
    from pytest_asyncapi.database.home import Home

__tracebackhide__ = ours

LIBRARIES = ("sqlalchemy", "asyncpg", "psycopg", "aiosqlite", "psycopg2")


class SessionRedirect(Redirect):
    """The redirect of a run: that of its databases, once a test or a fixture may have them."""

    def __init__(self) -> None:
        super().__init__(lambda address: None)
        self.home: Home | None = None
        self.served = False  # whether the test that runs has a database
        self._test: str | None = None  # the one that runs
        self._open_home: Callable[[], object] | None = None
        self._shared = 0  # fixtures of a wider scope that are being set up
        self._ending = False

    # ---- what a run of tests does

    @contextmanager
    def running(self, test: str, open_home: Callable[[], object] | None) -> Generator[None, None, None]:
        """A test runs, from its set-up to its tear-down. `open_home` sets `home`; None: this test has no fixtures."""
        self._test, self._open_home = test, open_home
        try:
            yield
        finally:
            self._test, self._open_home, self.served, self._ending = None, None, False, False

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
        shared = self._shared and self._open_home is not None
        return not (self.served or shared or (self._ending and self.home is not None))

    def _home(self, address: Address, where: str) -> Home:
        line = f"\n  at {where}" if where else ""
        if self._test is None:
            raise ForeignDatabase(
                f"the app connects to {address} while no test runs (conftest.py and the tests are imported, or the run "
                "ends), and a test session reaches no database but its own. Connect in a fixture, of scope session "
                f"if what it writes is for all tests.{line}"
            )
        if self.objection():
            raise ForeignDatabase(
                f"the app connects to {address} in {self._test}, a test without a database. Take the fixture `client` "
                f"or `db`; or set asyncapi_database = none, to leave the app's databases to your own fixtures.{line}"
            )
        if self.home is None and self._open_home is not None:
            self._open_home()
        assert self.home is not None
        return self.home


def install(guard: SessionRedirect) -> Callable[[], None]:
    """Put a guard under the drivers, those that are imported later too; the returned function takes it away."""
    before, hooks.redirect = hooks.redirect, guard
    imports = AfterImport()

    def refresh(module: object) -> None:
        with suppress(AsyncAPIError):  # a version that is too old: told when a test needs its database
            hooks.refresh()

    def uninstall() -> None:
        imports.uninstall()
        hooks.uninstall()
        hooks.redirect = before

    with suppress(AsyncAPIError):
        hooks.install()
    for name in (*LIBRARIES, *HOOK_MODULES):
        imports.watch(name, refresh)
    imports.install()
    return uninstall
