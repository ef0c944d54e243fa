"""The hook under asyncpg: what `asyncpg.connect()` and `create_pool()` give while a test runs.

They give a real `asyncpg.Connection` over a `VirtualProtocol`. Each operation goes to the sandbox that is active at
that moment, and with none to a connection of its own; so a pool that was opened before the first test is in the sandbox
of every test.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg import connect_utils

from pytest_asyncapi.database.asyncpg_link import AsyncpgLink
from pytest_asyncapi.database.asyncpg_virtual import VirtualProtocol
from pytest_asyncapi.database.frames import Member
from pytest_asyncapi.database.sites import callers
from pytest_asyncapi.database.targets import MARK_QUERY, Address, Redirect, Target

if TYPE_CHECKING:
    from pytest_asyncapi.database.interception import Hooks


class Opener:
    """How one `asyncpg.connect()` was called, so that it can be done again, in a sandbox or without."""

    def __init__(self, hooks: Hooks, original: Any, arguments: dict[str, Any], *, recorded_elsewhere: bool) -> None:
        self.hooks = hooks
        self.original = original
        self.arguments = arguments
        self.recorded_elsewhere = recorded_elsewhere
        self.record_class: type = arguments["record_class"]
        options = {k: v for k, v in arguments.items() if k not in {"loop", "connection_class", "record_class"}}
        self.addresses, self.parameters, self.config = connect_utils._parse_connect_arguments(**options)
        sites = callers(1)
        self.where = str(sites[0]) if sites else ""

    @property
    def address(self) -> Address:
        first = self.addresses[0]
        if isinstance(first, tuple):
            host, port = first[0], first[1]
        else:  # <directory>/.s.PGSQL.<port>
            host, _, tail = first.rpartition("/")
            port = int(tail.rpartition(".")[2])
        return Address("postgresql", "asyncpg", host, port, self.parameters.user, self.parameters.database)

    async def sandboxed(self, member: Member | None) -> tuple[AsyncpgLink, Member] | None:
        """The link of the active sandbox, and our place in it."""
        sandbox = self.hooks.sandbox()
        if sandbox is None:
            return None
        if member is not None and sandbox.owns(member.scheduler):
            return member.scheduler.link, member  # type: ignore[return-value]
        rule = self.hooks.rule()
        target = rule.target_for(self.address, self.where)
        key = target or self.address.place
        link = await sandbox.link(key, "asyncpg", lambda: self._open_link(rule, target))
        scheduler = sandbox.scheduler(link)
        if member is None:
            member = Member(scheduler, f"asyncpg connection to {self.parameters.database!r}")
        member.scheduler = scheduler
        return link, member

    async def open(self) -> AsyncpgLink:
        """A connection of its own: no sandbox is active."""
        rule = self.hooks.rule()
        return await self._connect(rule, rule.target_for(self.address, self.where), self.arguments)

    async def _open_link(self, rule: Redirect, target: Target | None) -> AsyncpgLink:
        arguments = {**self.arguments, "connection_class": asyncpg.Connection, "record_class": asyncpg.Record}
        arguments.update(command_timeout=None, loop=None)
        link = await self._connect(rule, target, arguments)
        await link.prepare()
        return link

    async def _connect(self, rule: Redirect, target: Target | None, arguments: dict[str, Any]) -> AsyncpgLink:
        if target is not None:
            arguments = {**arguments, **_to(target)}
        connection = await self.original(**arguments)
        if target is None and rule.must_verify(self.address):
            try:
                rule.verify(self.address, await connection.fetchval(MARK_QUERY), self.where)
            except BaseException:
                await connection.close()
                raise
        return AsyncpgLink(connection, target.database if target is not None else str(self.parameters.database))


def _to(target: Target) -> dict[str, Any]:
    return {
        "dsn": None,
        "host": target.host,
        "port": target.port,
        "user": target.user,
        "password": target.password,
        "database": target.database,
        "passfile": None,
        "ssl": False,
        "direct_tls": False,
    }


def attach(hooks: Hooks) -> Callable[[], None]:
    """Put the hook in place; the returned function takes it away."""
    original = connect_utils._connect

    @functools.wraps(original)
    async def _connect(**arguments: Any) -> Any:
        opener = Opener(hooks, original, arguments, recorded_elsewhere=hooks.in_sqlalchemy.get())
        chosen = await opener.sandboxed(None)
        if chosen is None and opener.recorded_elsewhere:
            return (await opener.open()).connection  # SQLAlchemy asks for another one when a sandbox begins
        link, member = chosen if chosen is not None else (await opener.open(), None)
        protocol = VirtualProtocol(opener, link, member)
        real = link.connection
        connection = arguments["connection_class"](
            protocol, real._transport, asyncio.get_running_loop(), real._addr, opener.config, opener.parameters
        )
        protocol.set_connection(connection)
        protocol.own_link()
        hooks.remember(protocol)
        return connection

    connect_utils._connect = _connect

    def detach() -> None:
        connect_utils._connect = original

    return detach
