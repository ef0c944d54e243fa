"""The tasks that an app's start-up makes: each one, also one that has ended before the start-up did.

asyncio lists the tasks that run. One that has failed in the meantime is on no list, and its exception comes out when
the garbage collector finds it, if ever. So for as long as the app starts up the event loop's task factory is ours, over
the one that it has.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any


class Workers:
    """The tasks that are made in a context in which `variable` is `owner`, between `start()` and `stop()`."""

    def __init__(self, variable: contextvars.ContextVar[Any], owner: object) -> None:
        self._variable = variable
        self._owner = owner
        self.made: list[asyncio.Task[Any]] = []
        self._before: Any = None  # the loop's factory
        self._loop: asyncio.AbstractEventLoop | None = None  # None when it is not watched

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._before = loop.get_task_factory()
        loop.set_task_factory(self)

    def stop(self) -> None:
        """Give the loop its factory back. One that has been put over ours goes on to use ours, which does nothing."""
        loop, self._loop = self._loop, None
        if loop is None or loop.get_task_factory() is not self:
            return
        before = self._before
        while isinstance(before, Workers) and before._loop is None:  # of an app that started up at the same time
            before = before._before
        loop.set_task_factory(before)

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        make = self._before
        task = asyncio.Task(coroutine, loop=loop, **options) if make is None else make(loop, coroutine, **options)
        if self._loop is not None and self._variable.get() is self._owner:
            self.made.append(task)
        return task

    def death(self) -> BaseException | None:
        """What a task has failed with of which nobody has taken the exception. Those that have ended are forgotten."""
        found: BaseException | None = None
        for task in [each for each in self.made if each.done()]:
            self.made.remove(task)
            if not task.cancelled() and getattr(task, "_log_traceback", True):  # else the app has its exception
                found = found or task.exception()
        return found
