"""Patterns of respx in ``where=``: ``upstream.route(where=M(host="api.example.com") & M(json={"a": 1}))``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.request import Request


def respx_predicate(pattern: Any) -> Callable[[Request], bool]:
    """A predicate of ours for a ``respx.patterns.Pattern``, which looks at a request of httpx."""
    import httpx

    def predicate(request: Request) -> bool:
        theirs = httpx.Request(
            request.method, request.url, headers=list(request.raw_headers), content=request.content or None
        )
        return bool(pattern.match(theirs))

    predicate.__name__ = repr(pattern)
    return predicate
