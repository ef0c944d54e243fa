"""Every exception that pytest_asyncapi raises, a room at a time.

All of them derive from `AsyncAPIError`, so that one `except` clause (or one `pytest.raises`) covers the harness.
"""

from __future__ import annotations

from typing import Any


class AsyncAPIError(Exception):
    """The base of every exception of this package."""


def ours(excinfo: Any) -> bool:
    """As a module's `__tracebackhide__`: pytest leaves out its frames when the error is one of ours, which speaks for
    itself, and keeps them for every other error."""
    return isinstance(excinfo.value, AsyncAPIError)


class ConfigurationError(AsyncAPIError):
    """A setting, an option or an argument of ours has a value that it cannot have. The message lists the valid ones."""


class IncompatibleLibrary(AsyncAPIError):
    """A library lacks a private name that our hooks lean on. The message names the versions that have it."""


# ---- client
class ClientError(AsyncAPIError):
    """The base of what the ASGI client raises."""


class ProtocolError(ClientError):
    """The app broke the ASGI specification. The traceback ends at the app's own `send()`, where there is one."""


class ProtocolWarning(UserWarning):
    """The app did what a server bears, but should not: it ignores its cancellation, for instance."""


class AppTimeout(ClientError, TimeoutError):
    """The app did not do what the client waits for in time. `kind` is "read" or "write", as in httpx's time-outs."""

    def __init__(self, message: str, kind: str = "read") -> None:
        super().__init__(message)
        self.kind = kind


class TruncatedResponse(ClientError):
    """The app failed in the middle of its body, and `raise_app_exceptions=False` keeps its exception from the test."""


class AppCancelled(ClientError):
    """The app's task was cancelled from inside: the app let a CancelledError of its own out."""


class LifespanError(ClientError):
    """The app's start-up or shut-down failed, hung or ended before its time."""


class WrongLoopError(ClientError):
    """A client is used in another event loop than the one that it was made in."""


class WebSocketDisconnect(ClientError):
    """The app closed the websocket; `code` and `reason` are what it said."""

    def __init__(self, code: int = 1000, reason: str = "") -> None:
        super().__init__(f"the app closed the websocket: code {code}" + (f", {reason!r}" if reason else ""))
        self.code = code
        self.reason = reason


class WebSocketRejected(ClientError):
    """The app refused the websocket: it closed before it accepted (403 to the client), or sent a denial response."""

    def __init__(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, code: int | None = None, reason: str = ""
    ) -> None:
        if code is None:
            how = f"with a response of its own: {body[:200]!r}"
        else:
            how = f"by websocket.close before websocket.accept (code {code}{f', {reason!r}' if reason else ''})"
        super().__init__(f"the app refused the websocket with HTTP {status}, {how}")
        self.status_code = status
        self.headers = headers
        self.body = body
        self.code = code
        self.reason = reason


# ---- database
class DatabaseError(AsyncAPIError):
    """The base of what the test database raises."""


class MissingDependency(DatabaseError):
    """A fixture needs a library that is not installed. The message names the extra that brings it."""


class ServerError(DatabaseError):
    """No database server can be had, or it does not start, or it does not let the harness make databases."""


class SchemaError(DatabaseError):
    """The schema of the test database could not be built. The message holds the statement or the source's error."""


class ForeignDatabase(DatabaseError):
    """A connection goes to a database that the harness did not make."""


class SandboxError(DatabaseError):
    """The rollback sandbox cannot do what the app or the test asks of its one connection."""


class SandboxDeadlock(SandboxError):
    """Transactions of a test wait for one another in a circle: none of them can ever end."""


class SandboxTimeout(SandboxError, TimeoutError):
    """A transaction waited for another one, and nothing moved for `lock_timeout` seconds."""


class SandboxEntangled(SandboxError):
    """One task ends its transactions in an order that one connection cannot follow."""


class SandboxClosed(SandboxError):
    """A connection of a test is used after the test has ended."""


class SandboxWarning(UserWarning):
    """What a test sees in the sandbox is not what separate connections would show."""


# ---- cache
class CacheError(AsyncAPIError):
    """The in-memory Redis, or the real one of the tests, cannot be had. The message says what to install or write."""


# ---- clock
class ClockError(AsyncAPIError):
    """The virtual clock cannot drive this event loop, or a frozen clock waits for an `advance()` that never comes."""


# ---- upstream
class UpstreamError(AsyncAPIError):
    """A route, a reply or a cassette that cannot be what it is given as."""


class UnmatchedRequest(UpstreamError, AssertionError):
    """The app sent a request that no route answers. The message names the nearest routes and why they did not match."""


class UnusedRoute(UpstreamError, AssertionError):
    """The test set up a route that the app never called."""


class ContractError(UpstreamError, AssertionError):
    """The app sent a request that breaks the OpenAPI document of the service that it talks to."""


class CassetteError(UpstreamError):
    """A cassette file cannot be read, or has no answer to a request."""


# ---- network
class BlockedConnection(AsyncAPIError, RuntimeError):
    """Something in the test wanted to leave this machine. (No OSError, which clients retry or translate.)"""


# ---- blocking
class BlockingError(AsyncAPIError):
    """A baseline or a report of the detector that cannot be read or written."""


class BlockingWarning(UserWarning):
    """Code held the event loop (`--detect-blocking=warn`)."""
