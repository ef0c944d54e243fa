"""What the rooms know of ASGI: the types of its interface, and the request that the running code belongs to.

The names are those of the specification (https://asgi.readthedocs.io/en/latest/specs/main.html).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

current_scope: ContextVar[Scope | None] = ContextVar("asyncapi_current_scope", default=None)
"""The live scope of the request that the running code belongs to, also in the tasks that the request spawned.

Set by what calls the app: the client's exchange, and hooks that see other servers. It is the app's own scope, never a
copy, since a framework adds the matched route to it later (Starlette: `scope["route"]`).
"""


def label(scope: Scope) -> str:
    """A request in a few words, such as `GET /users/{id}` or `WEBSOCKET /echo`, by its route where that is known."""
    kind = scope.get("type", "http")
    method = scope.get("method", "GET") if kind == "http" else str(kind).upper()
    template = getattr(scope.get("route"), "path", None)
    # Inside of a mounted app the route's path is relative to `root_path` (Starlette keeps the mount's prefix there).
    path = f"{scope.get('root_path', '')}{template}" if template else scope.get("path", "")
    return f"{method} {path}"
