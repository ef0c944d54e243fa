"""Which request runs here: a context variable with the live ASGI scope, for rooms that want to name the request.

Who calls an ASGI app sets it (the client room around its exchange, the detector around the apps of other callers).
The scope is the app's own dict, never a copy: routers fill in the route later. Tasks that a request spawns inherit it.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

REQUEST: ContextVar[MutableMapping[str, Any] | None] = ContextVar("asyncapi_request", default=None)
