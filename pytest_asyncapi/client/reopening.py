"""The app's HTTP clients that its shut-down has closed, made ready for its next start-up.

A lifespan for each test starts the app anew, but not its modules: the `httpx.AsyncClient` made at import time that the
shut-down closes, as it should, would stay closed for all further tests. In production the next start-up has a new
process, with a client that nobody has closed. So what one shut-down closed is unopened again when the next begins.

httpx gives no way to open a client again (`RuntimeError: Cannot reopen a client instance, once it has been closed.`).
Its transports can be used again after they have been closed: their pools drop connections and keep settings.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from pytest_asyncapi.wire.patches import Patches

_closed: WeakSet[Any] = WeakSet()
_changing: set[int] = set()  # the watches whose app starts up or shuts down now
_patches: list[
    Patches
] = []  # made once, and left in: to replace the methods for each test costs a tenth of a small one


class ClosingWatch:
    """Remembers the clients of httpx and httpx2 that one app closes while it starts up and shuts down.

    Each start-up unopens what the watches have remembered. The methods of the clients are replaced from the first
    start-up on, since `async with client:` around the lifespan's `yield` looks its `__aexit__` up when it is entered.
    Unless an app starts up or shuts down, the replacements only call the originals.
    """

    def start(self) -> None:
        """Before the app starts up: what an earlier shut-down closed is unopened again, as in a new process."""
        while _closed:
            client = _closed.pop()
            if client.is_closed:
                client._state = type(client._state).UNOPENED
        if not _patches:
            _patches.append(Patches())
            for name in ("httpx", "httpx2"):
                _patches[0].when_imported(name, _replace_methods)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """While the app starts up or shuts down."""
        _changing.add(id(self))
        try:
            yield
        finally:
            _changing.discard(id(self))


def _replace_methods(library: Any) -> None:
    for owner, names in ((library.AsyncClient, ("aclose", "__aexit__")), (library.Client, ("close", "__exit__"))):
        for name in names:
            _patches[0].replace(owner, name, _remembering)


def _remembering(original: Any) -> Any:
    @functools.wraps(original)
    def close(client: Any, *args: Any) -> Any:
        if _changing and not client.is_closed:
            _closed.add(client)
        return original(client, *args)

    return close
