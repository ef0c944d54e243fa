"""The ends of an app's asynchronous generators, when its client has left.

A framework that is cancelled while it sends leaves its `async for` where the generator stands at a `yield`. Nobody
closes the generator then: asyncio does, in a task of its own, when the garbage collector finds it, which is at some
later time, in some other test. Here it is looked for at once, so that the `finally` blocks of the app have run when the
response is closed. A generator that somebody still holds, to go on with it later, is left alone.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterable
from types import AsyncGeneratorType, CodeType
from typing import Any

from pytest_asyncapi.client.places import steps
from pytest_asyncapi.client.waiting import next_step

_LIMIT = 1.0  # seconds that the `finally` blocks may take
_DEPTH = 4  # generators over generators


class Generators:
    """The asynchronous generators that some tasks iterate over."""

    def __init__(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        self._found: dict[int, weakref.ref[Any]] = {}
        self._codes: set[CodeType] = set()
        for task in tasks:
            for each in steps(task.get_coro()):
                self._search(each, _DEPTH)

    def _search(self, value: Any, depth: int) -> None:
        """Take the generators that the frame of a coroutine holds, in a variable or in an `async for`."""
        if isinstance(value, AsyncGeneratorType):
            if id(value) in self._found:
                return
            self._found[id(value)] = weakref.ref(value)
            self._codes.add(value.ag_code)
        if depth:
            for each in gc.get_referents(value):
                if isinstance(each, AsyncGeneratorType):
                    self._search(each, depth - 1)
                elif hasattr(each, "__anext__") or hasattr(each, "__aiter__"):  # a framework's own iterator around it
                    for inner in _attributes(each):
                        if isinstance(inner, AsyncGeneratorType):
                            self._search(inner, depth - 1)

    async def ended(self) -> None:
        """Wait until those that nobody holds any more have ended."""
        if not self._found:
            return
        for generation in (None, 0, 2):
            if generation is not None:
                gc.collect(generation)  # the exception that has ended the app's task refers to itself, by its frames
            if not await self._closing():
                return

    async def _closing(self) -> bool:
        """Wait for the tasks in which asyncio closes them; whether one is left that is suspended."""
        await next_step  # in it asyncio makes them
        closing = {task for task in asyncio.all_tasks() if self._closes(task)}
        if closing:
            await asyncio.wait(closing, timeout=_LIMIT)
        return any(generator is not None and generator.ag_frame is not None for generator in self._alive())

    def _alive(self) -> Iterable[Any]:
        for reference in self._found.values():
            yield reference()

    def _closes(self, task: asyncio.Task[Any]) -> bool:
        coroutine = task.get_coro()
        return type(coroutine).__name__ == "async_generator_athrow" and any(
            isinstance(each, AsyncGeneratorType) and each.ag_code in self._codes for each in gc.get_referents(coroutine)
        )


def _attributes(value: Any) -> Iterable[Any]:
    attributes = getattr(value, "__dict__", None)
    return list(attributes.values()) if isinstance(attributes, dict) else ()
