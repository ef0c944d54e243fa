"""Puts a client together from the settings of a test: which library, in the process or live, whose lifespan."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.client.async_client import client_class
from pytest_asyncapi.client.lifespan import Lifespan
from pytest_asyncapi.client.transport import http_module

if TYPE_CHECKING:
    from pytest_asyncapi.client.async_client import AsyncClient
    from pytest_asyncapi.client.fixtures import Plan
    from pytest_asyncapi.client.live import LiveServer


async def open_client(plan: Plan, ending: contextlib.AsyncExitStack) -> AsyncClient:
    """The client of a test, with the app's lifespan: the test's own, or the one that its loop shares.

    `ending` closes the client in the end.
    """
    __tracebackhide__ = True
    settings = plan.settings
    lifespan: Lifespan | None = None
    if plan.shared and plan.anchor is not None:
        found = await plan.anchor.get(("lifespan", id(plan.app)), lambda: _shared_lifespan(plan))
        if isinstance(found, BaseException):
            raise found
        lifespan = found
    elif settings.lifespan != "off":
        lifespan = _lifespan(plan, shared=False)
    opened: AsyncClient = client_class(http_module(settings.http_library))(
        plan.app,
        base_url=settings.base_url,
        lifespan=lifespan if lifespan is not None else False,
        owned=not plan.shared,
        raise_app_exceptions=settings.raise_app_exceptions,
        background=settings.background,
        background_timeout=settings.read_timeout,
        strict=settings.strict_protocol,
        timeout=settings.read_timeout,
        recorder=plan.recorder,
        server=await _server(plan, ending) if settings.live else None,
    )
    return await ending.enter_async_context(opened)


async def _server(plan: Plan, ending: contextlib.AsyncExitStack) -> LiveServer:
    """The real server of `--live`: one for each event loop."""
    from pytest_asyncapi.client.live import LiveServer

    if plan.anchor is not None:
        return await plan.anchor.get("live server", LiveServer)
    return await ending.enter_async_context(LiveServer())


def _lifespan(plan: Plan, shared: bool) -> Lifespan:
    settings = plan.settings
    return Lifespan(
        plan.app,
        startup_timeout=settings.startup_timeout,
        shutdown_timeout=settings.shutdown_timeout,
        shared=shared,
    )


@contextlib.asynccontextmanager
async def _shared_lifespan(plan: Plan) -> AsyncIterator[Lifespan | Exception]:
    """A lifespan that many tests share: what it writes is no test's, and is really committed.

    A start-up that fails is not tried again by each test of the loop: they all get its exception.
    """
    lifespan = _lifespan(plan, shared=True)
    try:
        async with _outside(plan.database) as context:
            await lifespan.startup(context)
    except Exception as error:
        yield error
        return
    try:
        yield lifespan
    finally:
        async with _outside(plan.database):
            await lifespan.shutdown()


def _outside(database: Any) -> contextlib.AbstractAsyncContextManager[Any]:
    """It gives the context in which the app's start-up is outside of the test; None where any will do."""
    if database is None:
        return contextlib.nullcontext()
    outside: contextlib.AbstractAsyncContextManager[Any] = database.outside()
    return outside


class ClientFactory:
    """Makes clients beside the test's own, and closes them in the end.

    A client of the same app shares its lifespan; another `app=` has a lifespan of its own, which its first request
    starts. Every other argument is one of `AsyncClient`.
    """

    def __init__(self, first: AsyncClient) -> None:
        self._first = first
        self._opened: list[AsyncClient] = []
        self._lifespans: dict[int, Lifespan] = {}

    def __call__(self, app: Any = None, **options: Any) -> AsyncClient:
        first = self._first
        chosen = first.asgi.options
        options.setdefault("base_url", first.base_url)
        options.setdefault("timeout", first.timeout)
        options.setdefault("recorder", first.asgi.recorder)
        options.setdefault("server", getattr(first.asgi, "server", None))
        for name in ("raise_app_exceptions", "background", "background_timeout", "strict"):
            options.setdefault(name, getattr(chosen, name))
        if "lifespan" not in options:
            options["lifespan"] = self._lifespan_of(app) or False
        made: AsyncClient = type(first)(app if app is not None else first.app, **options)
        self._opened.append(made)
        return made

    def _lifespan_of(self, app: Any) -> Lifespan | None:
        lifespan = self._first.asgi.lifespan
        if app is None or app is self._first.app:
            return lifespan
        if id(app) not in self._lifespans:
            limits = (lifespan.startup_timeout, lifespan.shutdown_timeout) if lifespan is not None else (30.0, 30.0)
            self._lifespans[id(app)] = Lifespan(app, startup_timeout=limits[0], shutdown_timeout=limits[1])
        return self._lifespans[id(app)]

    async def __aenter__(self) -> ClientFactory:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for lifespan in self._lifespans.values():
                stack.push_async_callback(lifespan.shutdown)
            for client in self._opened:
                stack.push_async_callback(client.aclose)
