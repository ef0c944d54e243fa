"""One HTTP request to the app and its response.

The app's side is `receive` and `send`, the client's is `start`, `next_chunk`, `finish` and `abort`. Nothing here knows
httpx. The response is there as soon as the app has begun it; of its body at most one chunk waits to be taken.
"""

from __future__ import annotations

import asyncio
import collections
import sys
from collections.abc import AsyncIterator
from typing import Any

from pytest_asyncapi.asgi import ASGIApp, Message, Scope
from pytest_asyncapi.client.checks import (
    Headers,
    checked_body,
    checked_headers,
    checked_start,
    kind_of,
    misplaced,
    too_long,
    too_short,
)
from pytest_asyncapi.client.exchange import Exchange, describe
from pytest_asyncapi.client.options import Options
from pytest_asyncapi.client.waiting import next_step, wake
from pytest_asyncapi.errors import AppTimeout, ProtocolError, TruncatedResponse

BODY_CHUNK = 65536  # a body of bytes is handed to the app in pieces of this size, as a server does
_STEPS = 4  # of the event loop, in which most apps are done: until then no future and no timer is made
PREVIEW = 2000  # bytes of a body that are kept for the report of a failing test


class HTTPExchange(Exchange):
    """One HTTP request and its response."""

    trailers_due = False
    trailers: Headers
    early_hints: list[bytes] | None = None
    debug: Any = None
    late = False  # a `drain()` has told that the work after the response goes on
    _told = False  # the app knows that its client has gone
    _body_at = 0
    _body_wanted = False  # the app waits for a chunk of a streamed request
    _upload: collections.deque[tuple[bytes, bool]] | None = None  # parts of a streamed request, for the app
    _drained: asyncio.Future[None] | None = None

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        body: bytes | AsyncIterator[bytes],
        options: Options,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        collect: bool = False,
    ) -> None:
        super().__init__(app, scope, options, read_timeout)
        self.write_timeout = write_timeout
        self.disconnected = False
        self._body = body
        self._body_taken = False  # the app has received the end of the request
        if type(body) is not bytes:
            self._upload = collections.deque()
        self._receivers: list[asyncio.Future[None]] = []
        self.started = False  # http.response.start was sent
        self.complete = False  # the last http.response.body (or trailers) was sent
        self.status = 0
        self.headers: Headers = []
        self.preview = b""
        self._chunks: collections.deque[bytes] = collections.deque()
        self._bodies_done = False
        self._bodiless: bool = scope["method"] == "HEAD"  # what is sent as a body is dropped, as a server does
        self._declared: int | None = None
        self._sent = 0
        self._moved = 0.0  # when the app has sent something that the client was not woken for
        self._collecting = collect  # the client takes all that comes
        self._hold: asyncio.Future[None] | None = self.loop.create_future() if options.background == "defer" else None

    # ---- the app's side

    async def receive(self) -> Message:
        while True:
            if self.disconnected or self.complete:
                return await self.departure()
            if not self._body_taken:
                message = self._next_part()
                if message is not None:
                    return message
                self._body_wanted = True  # it is pulled in the client's task: the test's generator runs there
                wake(self._waiter)
            future = self.loop.create_future()
            self._receivers.append(future)
            try:
                await future
            finally:
                if future in self._receivers:
                    self._receivers.remove(future)

    async def departure(self) -> Message:
        """Tell the app that its client has gone. One that asks again and again is not to hold the event loop."""
        if self._told:
            await next_step
        self._told = True
        return {"type": "http.disconnect"}

    def _next_part(self) -> Message | None:
        if self._upload is None:
            body = self._body
            assert isinstance(body, bytes)
            if len(body) <= BODY_CHUNK:
                self._body_taken = True
                return {"type": "http.request", "body": body, "more_body": False}
            part = body[self._body_at : self._body_at + BODY_CHUNK]
            self._body_at += BODY_CHUNK
            self._body_taken = self._body_at >= len(body)
            return {"type": "http.request", "body": part, "more_body": not self._body_taken}
        if not self._upload:
            return None
        part, self._body_taken = self._upload.popleft()
        return {"type": "http.request", "body": part, "more_body": not self._body_taken}

    async def send(self, message: Message) -> None:
        """What the app sends. A part of the body is taken here and not in a function: most messages are one."""
        __tracebackhide__ = True
        try:
            kind = message["type"] if type(message) is dict and "type" in message else kind_of(message)
            if kind == "http.response.body":
                if not self.started or self._bodies_done:
                    raise misplaced(self.started)
                chunk = message.get("body", b"")
                if type(chunk) is not bytes:
                    chunk = checked_body(message)
                if self.disconnected:
                    await next_step
                    return
                chunks = self._chunks
                if chunk and not self._bodiless:
                    before = self._sent
                    self._sent = sent = before + len(chunk)
                    if self._declared is not None and sent > self._declared:
                        raise too_long(sent, self._declared, self.status)
                    if before < PREVIEW:
                        self.preview += chunk[:PREVIEW]
                    chunks.append(chunk)
                if not message.get("more_body", False):
                    await self._end_body()
                elif not self._collecting:
                    await self._back_pressure()
                else:
                    self._moved = self.loop.time()
                    if not len(chunks) & 63:
                        await next_step  # so that an endless `while True: await send(...)` does not hold the loop
            elif kind == "http.response.start":
                self._take_start(message)
            else:
                await self._send_other(kind, message)
        except ProtocolError as error:
            self.violation = self.violation or error
            raise

    def _take_start(self, message: Message) -> None:
        __tracebackhide__ = True
        if self.started:
            raise ProtocolError("http.response.start was sent twice")
        self.status, self.headers, self._declared = checked_start(message, self.options.strict)
        if message.get("trailers", False):
            self.trailers_due, self.trailers = True, []
        self.started = True
        if self._collecting:  # the client waits for the end
            self._moved = self.loop.time()
        else:
            wake(self._waiter)

    async def _end_body(self) -> None:
        __tracebackhide__ = True
        if self._declared is not None and self._sent < self._declared and not self._bodiless:
            raise too_short(self._sent, self._declared)
        self._bodies_done = True
        if self.trailers_due:
            wake(self._waiter)
        else:
            await self._complete()

    async def _back_pressure(self) -> None:
        """Wait until the client has taken what was sent."""
        wake(self._waiter)
        await next_step
        while self._chunks and not self.disconnected and not self._collecting:
            self._drained = self.loop.create_future()
            await self._drained

    async def _complete(self) -> None:
        self.complete = True
        if self._receivers:
            self._wake_receivers()
        if not (self._collecting and self.options.background == "wait"):  # else the client waits for the app's end
            wake(self._waiter)
        if self._hold is not None:
            await self._hold  # background="defer": what the app does next waits for its release

    async def _send_other(self, kind: str, message: Message) -> None:
        __tracebackhide__ = True
        offered = self.scope.get("extensions") or {}
        if kind == "http.response.trailers":
            if not self.trailers_due:
                raise ProtocolError("http.response.trailers was sent, but http.response.start had no trailers=True")
            if not self._bodies_done or self.complete:
                raise ProtocolError("http.response.trailers was sent before the end of the body, or twice")
            trailers, _ = checked_headers(message.get("headers", ()), kind, self.options.strict)
            self.trailers.extend(trailers)
            if not message.get("more_trailers", False):
                await self._complete()
        elif kind == "http.response.debug":
            self.debug = message.get("info")
        elif kind == "http.response.early_hint" and kind in offered:
            self.early_hints = [*(self.early_hints or ()), *message.get("links", ())]
        elif kind == "http.response.pathsend" and kind in offered:
            with open(message["path"], "rb") as file:  # noqa: ASYNC230 - as a server's own sendfile, of a local file
                while part := file.read(BODY_CHUNK):
                    await self.send({"type": "http.response.body", "body": part, "more_body": True})
            await self.send({"type": "http.response.body", "body": b""})
        elif kind in ("http.response.early_hint", "http.response.pathsend", "http.response.zerocopysend"):
            raise ProtocolError(f"{kind} was sent, but scope['extensions'] does not offer it")
        else:
            raise ProtocolError(f"send() of an http app got a message of the unknown type {kind!r}")

    # ---- the client's side

    async def start(self) -> None:
        """Run the app until its response begins. Raises what the app raises, AppTimeout, or ProtocolError."""
        __tracebackhide__ = True
        self.spawn(f"asgi {self.scope['method']} {self.scope['path']}")
        self._moved = self.loop.time()
        try:
            if self._collecting:
                await self._until_over()
            else:
                await next_step  # most apps answer in their first step: no future, no timer
                rest = self._rest()
                while not self.started and not self.done:
                    await self._wait_or_pump("no response began", rest)
                    rest = None
            if self.done:
                self.judge_start()
        except BaseException:
            await self.abort()
            raise

    def judge_start(self) -> None:
        __tracebackhide__ = True
        if self.complete and self.options.background != "wait":
            return  # what fails after the response shows in drain() or at the end, never by chance here
        if self.exc is None:
            if not self.started:
                raise ProtocolError(f"{self.label}: {describe(self.app)} returned without sending http.response.start")
            return
        if self.options.raise_app_exceptions or not isinstance(self.exc, Exception):
            self.show()
        if not self.started:  # what a server does
            self.exc_seen = self.started = self.complete = self._bodies_done = True
            self.status, self.headers, self.preview = 500, [(b"content-type", b"text/plain")], b"Internal Server Error"
            self._chunks.append(self.preview)

    async def _wait_or_pump(self, what: str, rest: float | None = None) -> None:
        if self._body_wanted:
            await self._pump()
        elif self._upload is not None and not self._body_taken and not self.started:
            timeouts = [each for each in (self.write_timeout, self.read_timeout) if each is not None]
            await self.wait(min(timeouts, default=None), "the request's body was not read", "write")
        else:
            await self.wait(self.read_timeout, what, rest=rest)

    async def _pump(self) -> None:
        assert self._upload is not None
        assert not isinstance(self._body, bytes)
        self._body_wanted = False
        try:
            self._upload.append((await anext(self._body), False))
        except StopAsyncIteration:
            self._upload.append((b"", True))
        self._wake_receivers()

    async def next_chunk(self) -> bytes | None:
        """The next piece of the body, None at its end."""
        chunks = self._chunks
        if not chunks and not self._bodies_done:
            await next_step  # an app that was waiting to send has the next part at once: no future, no timer
        while not chunks:
            if self._bodies_done or self.done:
                return None
            await self._wait_or_pump("no further part of the body came")
        chunk = chunks.popleft()
        wake(self._drained)
        return chunk

    async def collect(self) -> bytes:
        """The rest of the body at once, without back-pressure."""
        if not self._collecting:
            self._collecting = True
            wake(self._drained)
            self._moved = self.loop.time()
            await self._until_over()
        chunks = self._chunks
        content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()  # the report of a failing test keeps the exchange, and needs its `preview` only
        return content

    async def _until_over(self) -> None:
        """Wait for the end of the body; in the mode `wait` for the app's end, which saves a change of tasks."""
        waits = self.options.background == "wait"
        for _ in range(_STEPS):
            if self.done or (self._bodies_done and not waits):
                return
            await next_step
        read, limit = self.read_timeout, self.options.background_timeout
        # One timer serves for the next part and for the work after the last one: the sooner of both.
        sooner = limit if waits and limit is not None and (read is None or limit < read) else None
        rest = self._rest(sooner)
        while not self.done and (waits or not self._bodies_done):
            begun = self.started
            try:
                await self._wait_or_pump("no further part of the body came" if begun else "no response began", rest)
            except AppTimeout as late:
                if self._bodies_done:
                    break  # the body is there; `finish` has its own limit for what comes after it
                if late.kind == "write":
                    raise
                if read is None:
                    rest = sooner
                    continue
                rest = self._rest(sooner)  # it was not woken for what came since
                if rest is not None and rest <= 0 and begun == self.started:
                    raise
            else:
                rest = sooner
                if sooner is not None:
                    self._moved = self.loop.time()

    def _rest(self, sooner: float | None = None) -> float | None:
        """What is left of the read time-out since the app has last sent something; at most `sooner`.

        Below zero where the app has blocked the event loop for longer.
        """
        if self.read_timeout is None:
            return sooner
        rest = self._moved + self.read_timeout - self.loop.time()
        return rest if sooner is None else min(rest, sooner)

    async def finish(self) -> None:
        """The body is read: wait for the app's end (trailers, background work, dependencies' exits) and judge it."""
        __tracebackhide__ = True
        while not self.complete and not self.done:
            await self.wait(self.read_timeout, "the trailers did not come")
        if self.complete and self.options.background != "wait":
            return
        while not self.done:
            await self.wait(
                self.options.background_timeout, "the response is complete, and the app's work after it has gone on"
            )
        if self.options.raise_app_exceptions:
            self.show()
        if self.exc is not None:
            self.exc_seen = True
            if not self.complete:
                raise TruncatedResponse(f"{self.label}: the app failed before the end of its response") from self.exc
        elif not self.complete:
            raise ProtocolError(
                f"{self.label}: {describe(self.app)} returned without the end of its response "
                "(no http.response.body without more_body=True)"
            )

    def _wake_receivers(self) -> None:
        for future in self._receivers:
            wake(future)
        self._receivers.clear()

    def release(self) -> None:
        """Let deferred work go on."""
        wake(self._hold)

    async def close(self) -> None:
        """The client closes the response. When nothing else is being raised, raise what the app raised at that."""
        if self.done or (self.complete and self.options.background != "wait"):
            return
        await self.abort()
        self.judge_departure()

    def judge_departure(self) -> None:
        """Raise what the app raised at its client's departure, unless something else is being raised."""
        if self.noticed_departure() or not self.options.raise_app_exceptions:
            self.exc_seen = True
        elif sys.exc_info()[1] is None:
            self.show()

    async def abort(self) -> None:
        """The client has gone: tell the app, give it `disconnect_grace` seconds, cancel it, and wait for its end."""
        if self.task is None or self.done:
            return
        self.disconnected = True
        self._chunks.clear()
        self._wake_receivers()
        wake(self._drained)
        self.release()
        await self.end()
