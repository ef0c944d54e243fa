"""One call of the app in a task of its own, in the context of who asks: what HTTP requests and websockets share."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.asgi import ASGIApp, Message, Scope, current_scope
from pytest_asyncapi.client.hints import add_hint
from pytest_asyncapi.client.options import Options
from pytest_asyncapi.client.places import tasks_with, threads_with, where
from pytest_asyncapi.client.tracebacks import unwrapped
from pytest_asyncapi.client.waiting import (
    EXPIRED,
    debugged,
    end_task,
    expire,
    next_step,
    shielded,
    wake,
)
from pytest_asyncapi.errors import AppCancelled, AppTimeout, ProtocolError, ProtocolWarning
from pytest_asyncapi.timeline import now

if TYPE_CHECKING:
    from pytest_asyncapi.client.generators import Generators

_TURNS = 100  # of the event loop: on a busy machine the grace may be over before a server has read that the client left
_GONE = ("ClientDisconnect", "WebSocketDisconnect")  # how frameworks say that the client has left


def describe(app: Any) -> str:
    """The app's name and, where it has one, its place."""
    if isinstance(app, type):
        return f"the class {app.__module__}.{app.__qualname__}"
    target = inspect.unwrap(app)
    if not inspect.isroutine(target):
        return f"{type(app).__module__}.{type(app).__qualname__} object"
    code = getattr(target, "__code__", None)
    name = f"{target.__module__}.{target.__qualname__}"
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name


class Exchange:
    """One call of the app, in its own task. The app's exception is kept in `exc` until somebody shows it."""

    # Defaults of what few exchanges set. The others are set by __init__: the interpreter finds the attributes of an
    # object sooner than those of its class, as long as there are at most thirty.
    exc_seen = False
    violation: ProtocolError | None = None
    ended_by_us = False

    def __init__(self, app: ASGIApp, scope: Scope, options: Options, read_timeout: float | None) -> None:
        self.app = app
        self.scope = scope
        self.options = options
        self.read_timeout = read_timeout
        self.loop = asyncio.get_running_loop()
        self.task: asyncio.Task[None] | None = None
        self.exc: BaseException | None = None
        self.done = False
        self.ended: float | None = None  # by `timeline.now()`, when the app had returned
        self._waiter: asyncio.Future[Any] | None = None
        self._generators: Generators | None = None  # that have to end with the app

    async def receive(self) -> Message:
        raise NotImplementedError

    async def send(self, message: Message) -> None:
        raise NotImplementedError

    def spawn(self, name: str) -> None:
        """Start the app's task."""
        self.task = self.loop.create_task(self._run(), name=name)

    async def _run(self) -> None:
        __tracebackhide__ = True
        current_scope.set(self.scope)
        try:
            try:
                answer = self.app(self.scope, self.receive, self.send)
            except TypeError as error:
                if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # not from inside of it
                    raise ProtocolError(
                        f"{describe(self.app)} is not an ASGI app, which takes scope, receive and send: {error}"
                    ) from None
                raise
            if not hasattr(answer, "__await__"):
                raise ProtocolError(
                    f"{describe(self.app)} is not an ASGI app: calling it with scope, receive and send returned "
                    f"{answer!r}, nothing to await (is it an `async def`?)"
                )
            await answer
        except asyncio.CancelledError as exc:
            if not self.ended_by_us:
                self.exc = exc
                raise
            # not raised again: the task would keep it, and with it the frames and the generators of the app
        except KeyboardInterrupt as exc:
            self.exc = exc
            raise
        except BaseException as exc:  # SystemExit, and pytest's Failed and Skipped too: they reach the test
            self.exc = unwrapped(exc) if isinstance(exc, BaseExceptionGroup) else exc
        finally:
            if self.exc is None:
                self.exc = self.violation  # the app has swallowed it
            self.done = True
            self.ended = now()
            wake(self._waiter)

    async def wait(self, timeout: float | None, what: str, kind: str = "read", rest: float | None = None) -> None:
        """Wait until the app does something; AppTimeout says `what` has not come, and where the app waits.

        `rest` is what is left of the time-out, where a part of it has gone by; below zero where more than all has.
        """
        waiter = self._waiter = self.loop.create_future()
        limit = timeout if rest is None else rest
        overdue = -limit if limit is not None and limit < 0 else 0.0
        timer = None if limit is None else self.loop.call_later(limit, expire, waiter)
        try:
            if (await waiter) is not EXPIRED or debugged(timer, overdue):
                return
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        raise AppTimeout(
            f"{self.label}: {what} for {limit if timeout is None else timeout:g} s; the app waits at\n{self.where()}",
            kind,
        )

    def where(self) -> str:
        """The lines where the app waits: its task, those that it has started, and its threads."""
        return where(*self._tasks(), threads=threads_with(current_scope, self.scope))

    def _tasks(self) -> list[asyncio.Task[Any]]:
        assert self.task is not None
        return [self.task, *tasks_with(current_scope, self.scope, self.task)]

    @property
    def label(self) -> str:
        """What the exchange is called in messages."""
        return f"{self.scope.get('method', 'websocket')} {self.scope['path']}"

    def show(self) -> None:
        """Raise the app's exception, once."""
        __tracebackhide__ = True
        exc = self.exc
        if exc is None or self.exc_seen:
            return
        self.exc_seen = True
        if isinstance(exc, asyncio.CancelledError):
            raise AppCancelled(f"{self.label}: the app's task was cancelled from inside") from exc
        add_hint(exc)
        raise exc

    def noticed_departure(self) -> bool:
        """Whether the app's exception only says that its client has gone."""
        return isinstance(self.exc, OSError) or type(self.exc).__name__ in _GONE

    def expect_end(self) -> None:
        """Remember what has to have ended with the app: to be called before it hears of its client's departure."""
        if self.task is not None and not self.done:
            from pytest_asyncapi.client.generators import Generators

            self._generators = Generators(self._tasks())

    async def _grace(self, task: asyncio.Task[None]) -> None:
        await asyncio.wait({task}, timeout=self.options.disconnect_grace)
        for _ in range(_TURNS):
            if task.done():
                return
            await next_step

    async def end(self) -> None:
        """Let the app react to the departure of its client, then cancel it; returns when it has ended."""
        task = self.task
        if task is None:
            return
        if self._generators is None:
            self.expect_end()
        if not self.done:
            with shielded():
                try:
                    await self._grace(task)
                except asyncio.CancelledError:  # the test is cancelled in the meantime: then so is the app, at once
                    self.ended_by_us = True
                    self.done = await end_task(task, timeout=1.0)
                    raise
                self.ended_by_us = self.ended_by_us or not task.done()
                if not await end_task(task, timeout=1.0):
                    warnings.warn(
                        f"{self.label}: the app ignores its cancellation; it waits at\n{self.where()}",
                        ProtocolWarning,
                        stacklevel=2,
                    )
                    return
            self.done = True  # a task that was cancelled before its first step has not said so itself
        if self._generators is not None:
            with shielded():
                await self._generators.ended()
            self._generators = None
