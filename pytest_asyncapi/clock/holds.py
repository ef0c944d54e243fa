"""Real work that a loop waits for and that can be counted exactly: calls in threads, and queries of asyncpg.

For each, the function that starts the work and returns when it is done is wrapped while a clock runs, also in a
library that is imported meanwhile.

"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from pytest_asyncapi.compatibility import check
from pytest_asyncapi.wire.patches import Patches

IN_A_THREAD = "a call in a thread"
IN_ANYIO = "a call in a thread of anyio"

# module: (class, its coroutine functions, what to call the work)
_CALLS = {
    "anyio._backends._asyncio": ("AsyncIOBackend", ("run_sync_in_worker_thread",), IN_ANYIO),
    "aiosqlite.core": ("Connection", ("_execute", "_connect", "close"), "a call of aiosqlite"),
    "asyncpg.protocol.protocol": (
        "Protocol",
        (
            *("bind", "bind_execute", "bind_execute_many", "close", "close_portal", "close_statement"),
            *("copy_in", "copy_out", "execute", "prepare", "query"),
        ),
        "a query of asyncpg",
    ),
}


class Holds:
    """Counts, per reason, the calls under way in one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.reasons: Counter[str] = Counter()
        self._patches = Patches()

    @property
    def only_threads(self) -> int:
        """How many calls are under way in threads; 0 when there is other work too."""
        calls = self.reasons[IN_A_THREAD] + self.reasons[IN_ANYIO]
        return calls if calls == self.reasons.total() else 0

    @contextmanager
    def hold(self, reason: str) -> Iterator[None]:
        self.reasons[reason] += 1
        try:
            yield
        finally:
            self._release(reason)

    def _release(self, reason: str) -> None:
        self.reasons[reason] -= 1
        if not self.reasons[reason]:
            del self.reasons[reason]

    def install(self) -> None:
        # Every executor's future reaches the loop through wrap_future: run_in_executor, to_thread, getaddrinfo, ...
        self._patches.replace(asyncio, "wrap_future", self._counting_futures)
        self._patches.replace(asyncio.futures, "wrap_future", self._counting_futures)
        for module in _CALLS:
            self._patches.when_imported(module, self._wrap_calls)

    def uninstall(self) -> None:
        self._patches.undo()

    def _wrap_calls(self, module: ModuleType) -> None:
        check(module.__name__.partition(".")[0], module)
        owner_name, methods, reason = _CALLS[module.__name__]
        owner = getattr(module, owner_name, None)
        for method in methods:
            if hasattr(owner, method):
                self._patches.replace(owner, method, functools.partial(self._counting_calls, reason))

    def _counting_futures(self, original: Any) -> Any:
        @functools.wraps(original)
        def wrap_future(future: Any, *, loop: Any = None) -> Any:
            wrapped = original(future, loop=loop)
            if wrapped is not future and wrapped.get_loop() is self._loop and not wrapped.done():
                self.reasons[IN_A_THREAD] += 1
                wrapped.add_done_callback(lambda _: self._release(IN_A_THREAD))
            return wrapped

        return wrap_future

    def _counting_calls(self, reason: str, original: Any) -> Any:
        @functools.wraps(original)
        async def call(*args: Any, **kwargs: Any) -> Any:
            if asyncio.get_running_loop() is not self._loop:
                return await original(*args, **kwargs)
            with self.hold(reason):
                return await original(*args, **kwargs)

        return staticmethod(call) if hasattr(original, "__self__") else call
