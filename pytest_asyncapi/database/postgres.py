"""The worker's PostgreSQL database: on a server of the run, or beside the user's own on a server that is named."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pytest_asyncapi.database import admin, server, workers
from pytest_asyncapi.database.admin import Admin, Session, literal, quoted, sqlstate
from pytest_asyncapi.database.reset import BASELINE, DatabaseChanged, Resetter, Sequences, sequences_of
from pytest_asyncapi.database.schema import Schema
from pytest_asyncapi.database.server import Server
from pytest_asyncapi.database.store import Reset, Store, in_thread
from pytest_asyncapi.database.targets import Target
from pytest_asyncapi.errors import DatabaseError, ServerError

FILE_COPY_SINCE = 150000  # server_version_num; before, it was the only way
INSUFFICIENT_PRIVILEGE = "42501"


class PostgresStore(Store):
    """One database a worker, cloned from a template that the workers of a run share."""

    dialect = "postgresql"

    def __init__(
        self,
        schema: Schema,
        run: str,
        worker: str,
        *,
        base: str = "",
        tag: str = "",
        owner: bool = True,
        address: Target | None = None,
        named_by: str = "",
        reuse: bool = False,
        create: bool = False,
    ) -> None:
        self._schema = schema
        self._reuse = reuse
        self._create = create
        self._run = run
        self._worker = worker
        self._tag = tag
        self._owner = owner
        self._server: Server | None = None
        self._session: Session | None = None  # on the worker's database, for resets
        self._original: Resetter | None = None
        self._current: Resetter | None = None
        self._sequences: Sequences | None = None  # as they were before tests that were rolled back
        self._numbers = itertools.count(1)
        self._admin = Admin()
        try:
            if address is None:
                self._server = server.start(self._run, reuse=reuse, fresh=create)
                self._maintenance = self._server.target
                templates = "test"
                where = self._server.origin
            else:
                templates = address.database or "test"
                self._maintenance = address
                where = f"the server of {named_by}"
            self._base = workers.safe(templates)
            self.name = workers.worker_database(workers.safe(base or templates), self._run, self._worker)
            self.target = dataclasses.replace(self._maintenance, database=self.name)
            version = self._admin.run(self._open(named_by))
            self.description = f"PostgreSQL {version} ({where})"
        except BaseException:
            self.close()
            raise

    # ---- opening

    async def _open(self, named_by: str) -> str:
        self._keeper = await self._connect(named_by)
        versions = "current_setting('server_version_num')::int, split_part(current_setting('server_version'), ' ', 1)"
        ((number, version),) = await self._keeper.fetch(f"SELECT {versions}")
        self._strategy = " STRATEGY FILE_COPY" if number >= FILE_COPY_SINCE else ""
        if self._server is None:
            await workers.reap(self._keeper)
        await self._keeper.fetch(f"SELECT pg_advisory_lock({workers.lock_key(self.name)})")
        try:
            self._template = await self._ready_template()
            await self._make(self.name)
        except Exception as error:
            if sqlstate(error) == INSUFFICIENT_PRIVILEGE:
                raise ServerError(
                    f"the user {self._maintenance.user!r} of {named_by} may not create databases, and tests get "
                    f"databases of their own. Allow it: ALTER ROLE {quoted(self._maintenance.user)} CREATEDB"
                ) from error
            raise
        return str(version)

    async def _connect(self, named_by: str) -> Session:
        """To `postgres`, or where that is not allowed, to the database that was named."""
        last: Exception | None = None
        for database in dict.fromkeys(("postgres", self._maintenance.database or "postgres")):
            try:
                target = dataclasses.replace(self._maintenance, database=database)
                session = await admin.connect(target)
            except DatabaseError:
                raise
            except Exception as error:
                last = last or error
            else:
                self._maintenance = target
                return session
        shown = dataclasses.replace(self._maintenance, password=None, database="").url()
        raise ServerError(
            f"the PostgreSQL server that {named_by or 'the run'} names does not let us in: {shown}\n"
            f"  {type(last).__name__}: {last}\n"
            f"Start it, or unset {named_by or 'it'}: the harness then starts a server of its own."
        ) from last

    async def _ready_template(self) -> str:
        """Build the template, unless a worker of this run has, or (`--reuse-db`) an earlier run."""
        keeper = self._keeper
        name = workers.template_database(
            self._base, self._schema.fingerprint(self.dialect) if self._reuse else self._run, self._tag
        )
        async with workers.lock(keeper, name):
            await keeper.fetch(f"SELECT pg_advisory_lock_shared({workers.lock_key(name + '/use')})")
            facts = await workers.mark_of(keeper, name) or {}
            ours = facts.get("run") == self._run
            if facts.get("state") != "ready" or (self._create and not ours):
                await self._build_template(name)
        return name

    async def _build_template(self, name: str) -> None:
        keeper = self._keeper
        await workers.drop_unused_templates(keeper, self._base, tag=self._tag, but=name, kept=True)
        await workers.drop(keeper, name)
        await keeper.execute(f"CREATE DATABASE {quoted(name)}")
        facts = {"kind": "template", "run": self._run, "keep": self._reuse}
        await workers.mark(keeper, name, **facts, state="building")
        target = dataclasses.replace(self._maintenance, database=name)
        await asyncio.to_thread(in_thread, lambda: self._schema.build(target))
        await keeper.execute(f"ALTER DATABASE {quoted(name)} WITH ALLOW_CONNECTIONS false")  # or it cannot be copied
        await workers.mark(keeper, name, **facts, state="ready")

    async def _make(self, name: str, template: str = "") -> None:
        template = template or self._template
        await workers.drop(self._keeper, name)
        await self._keeper.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(template)}{self._strategy}")
        await workers.mark(self._keeper, name, kind="worker", run=self._run)

    # ---- what the tests need

    def watch(self) -> None:
        if self._original is None:
            self._admin.run(self._watch())

    async def _watch(self) -> None:
        if self._original is None:
            self._session = self._session or await admin.connect(self.target)
            if self.moved and self._sequences is None:
                self._sequences = await self._sequences_of_template()
            self._original = self._current = await Resetter.prepare(self._session, sequences=self._sequences)

    async def _sequences_of_template(self) -> Sequences:
        """Nobody can connect to the template itself."""
        copy = workers.fitted(self.name, f"_c{next(self._numbers)}")
        await self._make(copy)
        session = await admin.connect(dataclasses.replace(self.target, database=copy))
        try:
            return await sequences_of(session)
        finally:
            await session.close()
            self._admin.start(workers.drop(self._keeper, copy))

    async def reset(self, original: bool = False) -> Reset:
        return await self._admin.arun(self._reset(original))

    async def _reset(self, original: bool) -> Reset:
        resetter = self._original if original else self._current
        if resetter is None:
            return Reset()
        try:
            holders = await resetter.reset()
        except DatabaseChanged:
            return Reset(changed=True)
        if original:
            self._current = self._original
        return Reset([str(holder) for holder in holders])

    async def remake(self) -> None:
        await self._admin.arun(self._remake())

    async def _remake(self) -> None:
        assert self._session is not None
        await self._session.close()
        self._session = self._original = self._current = self._sequences = None
        self.moved = False
        await self._make(self.name)
        await self._watch()

    async def rebase(self) -> None:
        self._current = await self._admin.arun(self._prepared("now"))

    async def settle(self) -> None:
        if self._original is not None:
            self._original = self._current = await self._admin.arun(self._prepared("settled"))
        else:  # that is still to come, when tests have moved the sequences
            self._sequences = await self._admin.arun(self._sequences_now())

    async def _sequences_now(self) -> Sequences:
        self._session = self._session or await admin.connect(self.target)
        return await sequences_of(self._session)

    async def _prepared(self, name: str) -> Resetter:
        await self._watch()
        assert self._session is not None
        return await Resetter.prepare(self._session, f"{BASELINE}_{name}")

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        before = await self._admin.arun(self._prepared(f"snapshot{next(self._numbers)}"))
        try:
            yield
        finally:
            await self._admin.arun(before.reset())

    def clone(self, whole: bool = False, into: Target | None = None) -> Target:
        name = into.database if into else workers.fitted(self.name, f"_c{next(self._numbers)}")
        self._admin.run(self._copy(name) if whole else self._make(name))
        return dataclasses.replace(self.target, database=name)

    async def _copy(self, name: str) -> None:
        """Copy this database, to which nobody may be connected then: a pool that is older has to reconnect."""
        watched, session = self._original is not None, self._session
        if session is not None:
            await session.close()
        await self._keeper.fetch(
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE datname = " + literal(self.name)
        )
        await self._make(name, self.name)
        if session is not None:
            self._session = await admin.connect(self.target)
            for resetter in filter(None, (self._original, self._current)):
                resetter.session = self._session
        if watched:
            own = await admin.connect(dataclasses.replace(self.target, database=name))
            for schema, *_ in await own.fetch(f"SELECT nspname FROM pg_namespace WHERE nspname LIKE '{BASELINE}%'"):
                await own.execute(f"DROP SCHEMA {quoted(schema)} CASCADE")
            await own.close()

    def discard(self, clone: Target) -> None:
        self._admin.start(workers.drop(self._keeper, clone.database))  # it takes a while, and nobody waits

    def close(self) -> None:
        keeper = getattr(self, "_keeper", None)
        if keeper is not None:
            self._admin.run(self._leave(keeper))
        self._admin.close()
        if self._server is not None:
            if self._reuse:
                self._server.keep()
            self._server.stop(wait=self._owner)

    async def _leave(self, keeper: Session) -> None:
        if self._session is not None:
            await self._session.close()
        if self._server is not None and not self._reuse:  # the whole server goes
            await keeper.close()
            return
        steps: list[Callable[[], Any]] = [lambda: workers.drop(keeper, self.name)]
        template = getattr(self, "_template", None)
        if template is not None:
            key = workers.lock_key(template + "/use")
            steps.append(lambda: keeper.fetch(f"SELECT pg_advisory_unlock_shared({key})"))
        steps.append(lambda: workers.drop_unused_templates(keeper, self._base, tag=self._tag))
        for step in [*steps, keeper.close]:
            await step()
