"""Waiting for the app: cheap time-outs that say at which line it waits, that keep still under a debugger, and that
clean up inside a cancelled scope of anyio.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import linecache
import os
import sys
from collections.abc import Generator, Iterable
from typing import Any

_OURS = os.path.dirname(__file__) + os.sep
_DEBUGGERS = {"bdb", "pdb", "pydevd", "debugpy", "_pydevd_bundle", "pydevd_frame_evaluator"}


class _NextStep:
    """Awaiting it lets every task that is ready run once. A tuple's iterator is the cheapest way to yield None."""

    def __await__(self) -> Generator[None, None, None]:
        return iter(_ONCE)  # type: ignore[return-value]


_ONCE = (None,)
next_step = _NextStep()


async def wait_for(future: asyncio.Future[Any], timeout: float | None) -> bool:
    """Wait for a future of ours; False when `timeout` seconds went by first. Cheaper than `asyncio.timeout`."""
    if future.done() or timeout is None:
        await future
        return True
    handle = future.get_loop().call_later(timeout, _expire, future)
    try:
        return (await future) is not _EXPIRED
    finally:
        handle.cancel()


_EXPIRED: Any = object()


def _expire(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(_EXPIRED)


def wake(future: asyncio.Future[None] | None) -> None:
    """Wake who waits for the future, if anybody does."""
    if future is not None and not future.done():
        future.set_result(None)


async def end_task(task: asyncio.Task[Any], timeout: float) -> bool:
    """Cancel a task and wait for its end; False when it is still running after `timeout` seconds."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=timeout)
    if not task.done():
        return False
    if not task.cancelled():
        task.exception()  # taken, so that asyncio does not log it as never retrieved
    return True


def shielded() -> contextlib.AbstractContextManager[Any]:
    """A scope for clean-up: anyio cancels every await again inside a scope that it has cancelled, unless shielded."""
    anyio = sys.modules.get("anyio")
    if anyio is None:
        return contextlib.nullcontext()
    scope: contextlib.AbstractContextManager[Any] = anyio.CancelScope(shield=True)
    return scope


def debugger_attached() -> bool:
    """Whether somebody steps through this process, so that no time-out should fire."""
    trace = sys.gettrace()
    if trace is not None:
        owner = getattr(trace, "__self__", None)
        module = getattr(trace, "__module__", None) or getattr(owner, "__module__", None) or ""
        if module.partition(".")[0] in _DEBUGGERS:
            return True
    monitoring = getattr(sys, "monitoring", None)
    return monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None


def tasks_with(variable: contextvars.ContextVar[Any], value: object, main: object) -> list[asyncio.Task[Any]]:
    """The tasks of the running loop, besides `main`, in whose context the variable is that very object."""
    found = []
    for task in asyncio.all_tasks():
        # Task.get_context() is there from 3.12 on
        context = next((each for each in gc.get_referents(task) if isinstance(each, contextvars.Context)), None)
        if task is not main and context is not None and context.get(variable) is value:
            found.append(task)
    return found


def where(*tasks: asyncio.Task[Any], limit: int = 4) -> str:
    """The lines at which a suspended task waits, the outermost first.

    Of several tasks it is the first that waits in the user's code; without one, it is the first at all.
    """
    chains = [list(_await_chain(task.get_coro())) for task in tasks]
    user = next(filter(None, ([frame for frame in chain if not _foreign(frame[0])] for chain in chains)), None)
    shown = user or [frame for frame in chains[0] if not frame[0].startswith(_OURS)] or chains[0]
    lines = [
        f"  {file}:{line} in {name}: {linecache.getline(file, line).strip()}" for file, line, name in shown[-limit:]
    ]
    return "\n".join(lines) or "  (it is not suspended in Python code)"


def _foreign(file: str) -> bool:
    return (
        file.startswith((_OURS, os.path.dirname(os.__file__) + os.sep))
        or f"{os.sep}site-packages{os.sep}" in file
        or f"{os.sep}dist-packages{os.sep}" in file
    )


def _await_chain(coroutine: Any) -> Iterable[tuple[str, int, str]]:
    seen: set[int] = set()
    while coroutine is not None and id(coroutine) not in seen:
        seen.add(id(coroutine))
        frame = _first(coroutine, "cr_frame", "ag_frame", "gi_frame")
        if frame is not None:
            yield frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        inner = _first(coroutine, "cr_await", "ag_await", "gi_yieldfrom")
        if inner is None and frame is None:
            # asend(), anext() and a coroutine's __await__ hide what they step
            inner = next((each for each in gc.get_referents(coroutine) if _steppable(each)), None)
        coroutine = inner


def _first(value: Any, *names: str) -> Any:
    for name in names:
        found = getattr(value, name, None)
        if found is not None:
            return found
    return None


def _steppable(value: Any) -> bool:
    return (
        hasattr(value, "ag_frame")
        or hasattr(value, "cr_frame")
        or type(value).__name__ in ("async_generator_asend", "coroutine_wrapper")
    )
