"""Whether a task cannot go on before another one ends.

asyncio keeps both ends of that: what a task waits for, and whom the end of a task wakes. Between them may stand
gather(), wait(), wait_for(), shield() or a TaskGroup, each with a future of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def awaits(waiting: asyncio.Task[Any] | None, awaited: asyncio.Task[Any] | None) -> bool:
    """Whether the first task cannot go on before the second ends, as far as asyncio knows."""
    if waiting is None or awaited is None or waiting is awaited:
        return False
    below = {id(future) for future in _closure(waiting, _waits_for)}
    return any(id(future) in below for future in _closure(awaited, _wakes))


def stands_for(task: asyncio.Task[Any]) -> Iterator[asyncio.Task[Any]]:
    """A task, and all tasks that it awaits, directly or through others."""
    return (future for future in _closure(task, _waits_for) if isinstance(future, asyncio.Task))


def _closure(start: Any, step: Callable[[Any], Iterable[Any]]) -> Iterator[Any]:
    seen: set[int] = set()
    pending = [start]
    while pending:
        future = pending.pop()
        if future is None or id(future) in seen:
            continue
        seen.add(id(future))
        yield future
        pending.extend(step(future))


def _waits_for(future: Any) -> Iterable[Any]:
    yield getattr(future, "_fut_waiter", None)
    yield from getattr(future, "_children", ())  # of gather()


def _wakes(future: Any) -> Iterable[Any]:
    """The futures that are done when this one is, or may be then."""
    for entry in getattr(future, "_callbacks", None) or ():
        callback = entry[0]
        owner = getattr(callback, "__self__", None)
        if asyncio.isfuture(owner):
            yield owner  # a task that awaits this one itself
        elif owner is not None:
            yield getattr(owner, "_on_completed_fut", None)  # the TaskGroup's, for which its parent waits
        yield from filter(asyncio.isfuture, getattr(callback, "args", ()))  # wait_for() of Python 3.11
        for cell in getattr(callback, "__closure__", None) or ():  # wait(), shield()
            if asyncio.isfuture(content := _content(cell)):
                yield content


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None
