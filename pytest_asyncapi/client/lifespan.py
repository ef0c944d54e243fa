"""The app's lifespan, in one task from start-up to shut-down, whoever asks for either."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

from pytest_asyncapi.asgi import ASGIApp, Message
from pytest_asyncapi.client.checks import kind_of
from pytest_asyncapi.client.exchange import describe
from pytest_asyncapi.client.options import checked_seconds
from pytest_asyncapi.client.places import tasks_with, threads_with, where
from pytest_asyncapi.client.reopening import ClosingWatch
from pytest_asyncapi.client.waiting import end_task, shielded, wait_for, wake
from pytest_asyncapi.client.workers import Workers
from pytest_asyncapi.errors import AppCancelled, LifespanError, ProtocolError, WrongLoopError

LIFESPAN_SPEC = "2.0"
_EXPECTED = {
    "starting": ("lifespan.startup.complete", "lifespan.startup.failed"),
    "running": ("lifespan.shutdown.failed",),  # Starlette's word for a lifespan whose body has died
    "stopping": ("lifespan.shutdown.complete", "lifespan.shutdown.failed"),
}
_NEXT = {
    "lifespan.startup.complete": "running",
    "lifespan.startup.failed": "failed",
    "lifespan.shutdown.complete": "stopped",
    "lifespan.shutdown.failed": "failed",
}


_current: contextvars.ContextVar[Any] = contextvars.ContextVar("_current", default=None)  # whose task this is


class Lifespan:
    """`async with Lifespan(app)`: the app's start-up has run; its `state` reaches the requests.

    An app without lifespan support is taken as it is (`supported` is then False, `unsupported` says why), unless
    `required`. `shared=True` starts it in an empty context (or the one that `startup` is given), so that the tasks
    which it starts do not keep the context variables of the test that happened to come first.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        startup_timeout: float | None = 30.0,
        shutdown_timeout: float | None = 30.0,
        required: bool = False,
        shared: bool = False,
    ) -> None:
        checked_seconds("startup_timeout", startup_timeout)
        checked_seconds("shutdown_timeout", shutdown_timeout)
        self.app = app
        self.startup_timeout = startup_timeout
        self.shutdown_timeout = shutdown_timeout
        self.required = required
        self.shared = shared
        self.state: dict[str, Any] = {}
        self.supported: bool | None = None  # None until start-up has run
        self.unsupported: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[None] | None = None
        self._watch = ClosingWatch()
        self._events: asyncio.Queue[Message]
        self._received = False
        self._phase = "new"
        self._message = ""
        self._exit: SystemExit | None = None
        self._workers = Workers(_current, self)
        self._death: BaseException | None = None  # of one of them
        self._death_seen = False
        self._waiter: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Lifespan:
        return await self.startup()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.shutdown()

    # ---- the app's side

    async def _run(self) -> None:
        __tracebackhide__ = True
        _current.set(self)
        scope: dict[str, Any] = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": LIFESPAN_SPEC},
            "state": self.state,
        }
        try:
            answer = self.app(scope, self._receive, self._send)
            if hasattr(answer, "__await__"):
                await answer
        except SystemExit as exit:  # out of a task it would end the event loop
            self._exit = exit

    async def _receive(self) -> Message:
        self._received = True
        return await self._events.get()

    async def _send(self, message: Message) -> None:
        __tracebackhide__ = True
        kind = kind_of(message)
        if kind not in _EXPECTED.get(self._phase, ()):
            raise ProtocolError(f"{kind!r} was sent while the lifespan is {self._phase}")
        self._phase = _NEXT[kind]
        self._message = str(message.get("message") or "")
        wake(self._waiter)

    # ---- the client's side

    async def startup(self, context: contextvars.Context | None = None) -> Lifespan:
        """Run the app's start-up. Raises the app's own exception, or LifespanError."""
        __tracebackhide__ = True
        self._watch.start()
        self.loop = asyncio.get_running_loop()
        self._events = asyncio.Queue()
        self._events.put_nowait({"type": "lifespan.startup"})
        self._phase = "starting"
        if context is None:
            context = contextvars.Context() if self.shared else contextvars.copy_context()
        self.task = self.loop.create_task(self._run(), name="asgi lifespan", context=context)
        self.task.add_done_callback(self._ended)
        self._workers.start(self.loop)
        try:
            with self._watch.changing():
                await self._wait("start-up", self.startup_timeout)
        except asyncio.CancelledError:
            await self._end()
            raise
        finally:
            self._workers.stop()
        if self._phase == "running":
            self.supported = True
        elif self._phase == "failed":
            await self._raise_failure("start-up")
        else:
            self._take_as_unsupported()
        return self

    def _ended(self, task: asyncio.Task[None]) -> None:
        wake(self._waiter)

    def _take_as_unsupported(self) -> None:
        __tracebackhide__ = True
        exc = self._exception()
        if exc is not None and (self._received or not isinstance(exc, Exception)):
            exc.add_note("raised in the lifespan's start-up")
            raise exc
        self.supported = False
        self.unsupported = exc
        if self.required:
            how = f"raised {exc!r}" if exc is not None else "returned"
            raise LifespanError(f"{describe(self.app)} has no lifespan: it {how} when it was started") from exc

    def check(self) -> None:
        """Before each request: is the lifespan alive, and does it live in the loop that runs now?"""
        running = asyncio.get_running_loop()
        if self.loop is not running:
            raise WrongLoopError(
                "this client was made in another event loop than the one that runs now. Give the test and the fixture "
                "that made the client one loop scope (loop_scope=, asyncio_default_fixture_loop_scope), or write the "
                "fixture with @pytest_asyncapi.fixture, which follows the test."
            )
        if self.supported and (self._phase == "failed" or (self.task is not None and self.task.done())):
            raise self._died()
        if self._workers.made:
            self._look_after_workers()
        if self._death is not None:
            raise self._worker_died(self._death)

    def _look_after_workers(self) -> None:
        """Find the tasks that the start-up has made and that have failed without the app's notice."""
        self._death = self._death or self._workers.death()

    def _worker_died(self, death: BaseException) -> LifespanError:
        self._death_seen = True
        error = LifespanError(f"a background task of the app's lifespan has died of {type(death).__name__}: {death}")
        error.__cause__ = death
        return error

    def _died(self) -> LifespanError:
        cause = self._exception()
        error = LifespanError(
            "the app's lifespan has ended while the app was in use"
            + (f": {self._message}" if self._message and cause is None else "")
            + (
                " (it has returned, and does not wait for lifespan.shutdown)"
                if cause is None and self._phase == "running"
                else " (a background task of it died?)"
            )
        )
        error.__cause__ = cause
        return error

    async def shutdown(self) -> None:
        """Run the app's shut-down. Raises the app's own exception, or LifespanError."""
        __tracebackhide__ = True
        if not self.supported:
            return
        self.supported = False
        assert self.task is not None
        if self.task.done() or self._phase == "failed":
            await self._end()
            raise self._died()
        self._look_after_workers()  # now: the app's `task.cancel()` takes the exception of a dead one
        self._phase = "stopping"
        self._events.put_nowait({"type": "lifespan.shutdown"})
        with self._watch.changing():
            await self._wait("shut-down", self.shutdown_timeout)
            if self._phase == "failed":
                await self._raise_failure("shut-down")
            if not self.task.done():
                await asyncio.wait({self.task}, timeout=self.shutdown_timeout)
        exc = self._exception()
        await self._end()
        if exc is not None:
            exc.add_note("raised in the lifespan's shut-down")
            raise exc
        if self._death is not None and not self._death_seen:
            raise self._worker_died(self._death)

    async def _wait(self, what: str, timeout: float | None) -> None:
        phase = self._phase
        assert self.loop is not None
        assert self.task is not None
        while self._phase == phase and not self.task.done():
            self._waiter = self.loop.create_future()
            if await wait_for(self._waiter, timeout):
                continue
            place = where(self.task, *tasks_with(_current, self, self.task), threads=threads_with(_current, self))
            await self._end()
            raise LifespanError(f"the app's {what} did not end in {timeout:g} s; it waits at\n{place}")

    async def _raise_failure(self, what: str) -> None:
        __tracebackhide__ = True
        assert self.task is not None
        await asyncio.wait({self.task}, timeout=1.0)  # Starlette raises the original after it has sent .failed
        exc = self._exception()
        await self._end()
        if exc is None:
            raise LifespanError(f"the app's {what} failed: {self._message or '(it gave no message)'}")
        exc.add_note(f"raised in the lifespan's {what}")
        raise exc

    def _exception(self) -> BaseException | None:
        task = self.task
        if task is None or not task.done():
            return None
        if task.cancelled():
            return AppCancelled("the app's lifespan was cancelled from inside")
        return self._exit or task.exception()

    async def _end(self) -> None:
        if self.task is not None and not self.task.done():
            with shielded():
                await end_task(self.task, timeout=5.0)
