"""The rollback sandbox: everything that a test does in its databases is undone when it ends.

    hooks.install()
    async with RollbackSandbox(hooks) as sandbox:
        ...                                  # the app's engines, sessions and pools, as they are
        async with fresh_session(sandbox.engine(engine)) as session:
            ...                              # the test's own: what it flushes, the app sees
    print(sandbox.leaks)

Nothing is connected before somebody connects. With `Links` that outlive a sandbox, the physical connections are kept
from test to test, for as long as the event loop is the same.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from pytest_asyncapi.database import waits
from pytest_asyncapi.database.frames import Frame, Link, finish
from pytest_asyncapi.database.interception import Hooks, Outside, hooks
from pytest_asyncapi.database.scheduler import Scheduler
from pytest_asyncapi.database.targets import route
from pytest_asyncapi.errors import SandboxError, SandboxWarning

if TYPE_CHECKING:
    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

L = TypeVar("L", bound=Link)


@dataclass(frozen=True)
class Leak:
    """A transaction that was open when its test ended."""

    text: str
    frame: Frame

    def __str__(self) -> str:
        return self.text


class Links:
    """The physical connections of one event loop: one for each database."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._links: dict[Hashable, Link] = {}
        self._opening = asyncio.Lock()
        self.outlived: WeakSet[asyncio.Task[Any]] = WeakSet()
        """Tasks of tests that have ended."""

    async def __aenter__(self) -> Links:
        self.loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for link in list(self._links.values()):
            await self.release(link)

    def __iter__(self) -> Any:
        return iter(list(self._links.values()))

    def find(self, key: Hashable) -> Link | None:
        """The link to a database, when there is a living one."""
        link = self._links.get(key)
        return link if link is not None and link.alive else None

    async def get(self, key: Hashable, driver: str, opener: Callable[[], Awaitable[L]]) -> L:
        """The link to a database, opened when it is needed for the first time, also by many at once."""
        link = self.find(key)
        if link is None:
            link = await finish(self._open(key, opener))  # a cancelled request must not leave half a link behind
        if link.driver != driver:
            raise SandboxError(
                f"the app uses the database {link.name!r} through {link.driver} and through {driver}. A test that is "
                "isolated by rollback has one connection for each database, which two drivers cannot share: use one "
                'driver, or give this test real connections: @pytest.mark.db(isolation="commit").'
            )
        return link  # type: ignore[return-value]

    async def release(self, link: Link) -> None:
        """Close a link, and forget it."""
        self._links = {key: kept for key, kept in self._links.items() if kept is not link}
        hooks.retire(lambda connection: getattr(connection, "_link", None) is link)
        if link.alive:
            await finish(link.close())

    async def _open(self, key: Hashable, opener: Callable[[], Awaitable[L]]) -> Link:
        async with self._opening:
            link = self.find(key)
            if link is None:
                link = self._links[key] = await opener()
            return link


class RollbackSandbox:
    """The databases of one test: a connection each, in a transaction each, which is rolled back at the end."""

    def __init__(self, hooks: Hooks, links: Links | None = None, *, lock_timeout: float = 5.0) -> None:
        self.hooks = hooks
        self.lock_timeout = lock_timeout
        self.loop: asyncio.AbstractEventLoop | None = None
        self.warnings: list[str] = []
        """What the test saw that separate connections would not show."""
        self.leaks: list[Leak] = []
        """Transactions that nobody ended; known when the sandbox has ended."""
        self._own_links = links is None
        self.links = links or Links()
        self._schedulers: dict[int, Scheduler] = {}
        self._used: dict[Hashable, Link] = {}

    async def __aenter__(self) -> RollbackSandbox:
        self.loop = asyncio.get_running_loop()
        if self._own_links:
            await self.links.__aenter__()
        elif self.links.loop is not self.loop:
            raise SandboxError("these links belong to another event loop")
        self.hooks.install()
        self.hooks.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for scheduler in self._schedulers.values():
                for frame in await scheduler.close():
                    self.leaks.append(Leak(waits.leak(frame), frame))
        finally:
            self.hooks.leave(self)
            self.hooks.uninstall()
            self._schedulers.clear()
            if self._own_links:
                await self.links.__aexit__()

    async def link(self, key: Hashable, driver: str, opener: Callable[[], Awaitable[L]]) -> L:
        """The link to a database for this test; one that was lost is not replaced, for its rows are lost too."""
        used = self._used.get(key)
        if used is not None and not used.alive:
            raise SandboxError(
                f"the connection of the sandbox to {used.name!r} was lost in this test, and with it all that the "
                "test did in that database: the server ended it, or the app did (pg_terminate_backend)."
            )
        link = await self.links.get(key, driver, opener)
        self._used[key] = link
        return link

    def scheduler(self, link: Link) -> Scheduler:
        """The scheduler of a link in this test."""
        scheduler = self._schedulers.get(id(link))
        if scheduler is None:
            scheduler = Scheduler(link, lock_timeout=self.lock_timeout, warn=self.warn, outlived=self.links.outlived)
            self._schedulers[id(link)] = scheduler
        return scheduler

    def owns(self, scheduler: Scheduler) -> bool:
        return self._schedulers.get(id(scheduler.link)) is scheduler and scheduler.link.alive

    def warn(self, text: str) -> None:
        """Say that the sandbox shows something else than separate connections would."""
        self.warnings.append(text)
        warnings.warn(text, SandboxWarning, stacklevel=2)

    def engine(self, engine: AsyncEngine | URL | str) -> AsyncEngine:
        """An engine for the test's own sessions: anybody's transaction may nest in theirs, and sees their rows."""
        from pytest_asyncapi.database.sqlalchemy_hooks import transparent_engine

        return transparent_engine(engine, self.links)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Everything that is done in this block, by the test and by the app, is undone when it ends."""
        before = list(self._schedulers.values())
        members = [await scheduler.enter_savepoint() for scheduler in before]
        try:
            yield
        finally:
            for scheduler in self._schedulers.values():
                if scheduler not in before:
                    await scheduler.leave_savepoint(None)
            for member in reversed(members):
                await member.scheduler.leave_savepoint(member)

    @asynccontextmanager
    async def outside(self) -> AsyncIterator[None]:
        """Connections made in this block, and in tasks that it starts while it lasts, are real, and really commit."""
        for scheduler in list(self._schedulers.values()):
            paused = await scheduler.pause()
            if not scheduler.link.exclusive:
                continue
            if not paused:
                raise SandboxError(
                    f"outside(): the in-memory database {scheduler.link.name!r} is one connection, and the test has "
                    "written to it already. Do what has to be committed before that."
                )
            await self.links.release(scheduler.link)
            self._used = {key: link for key, link in self._used.items() if link is not scheduler.link}
            del self._schedulers[id(scheduler.link)]
        redirect = Outside(self.hooks.rule())
        token = route.set(redirect)
        try:
            yield
        finally:
            redirect.over = True
            route.reset(token)
