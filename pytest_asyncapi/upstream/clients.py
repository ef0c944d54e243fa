"""Puts the hooks of all clients in while a router is open; a client that is imported later gets its hooks then."""

from __future__ import annotations

from types import ModuleType

from pytest_asyncapi.wire.patches import Patches

_patches: Patches | None = None
_hooked: set[str] = set()


def install() -> None:
    """Put the hooks in, when they are not."""
    global _patches
    if _patches is None:
        _patches = Patches()
        _patches.when_imported("aiohttp.connector", _aiohttp)
        _patches.when_imported("httpcore", _httpcore)
        _patches.when_imported("httpcore2", _httpcore)


def uninstall() -> None:
    """Take the hooks out."""
    global _patches
    if _patches is not None:
        _patches.undo()
        _hooked.clear()
        _patches = None


def _aiohttp(connector: ModuleType) -> None:
    from pytest_asyncapi.upstream import aiohttp_hooks

    assert _patches is not None
    aiohttp_hooks.install(_patches, connector)


def _httpcore(core: ModuleType) -> None:
    from pytest_asyncapi.upstream import httpcore_hooks

    assert _patches is not None
    if core.__name__ not in _hooked:  # after httpx2.alias_httpx(), the name httpcore leads to httpcore2
        _hooked.add(core.__name__)
        httpcore_hooks.install(_patches, core)
