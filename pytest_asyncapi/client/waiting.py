"""Waiting for the app: cheap time-outs that keep still under a debugger, clean-up in a cancelled scope of anyio."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Generator
from typing import Any

_STOPPED = 1.0  # seconds by which a timer is late when the event loop stood still
_PROMPTS = {"ipdb", "pudb"}  # debuggers of which pytest does not hear
_prompt_left: float | None = None  # when pdb's prompt was left, by time.monotonic()
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
    handle = future.get_loop().call_later(timeout, expire, future)
    try:
        return (await future) is not EXPIRED or debugged(handle)
    finally:
        handle.cancel()


EXPIRED: Any = object()


def expire(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(EXPIRED)


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


def leave_prompt() -> None:
    """Remember that somebody has just let the process go on from pdb's prompt."""
    global _prompt_left
    _prompt_left = time.monotonic()


def debugged(timer: asyncio.Handle | None, overdue: float = 0.0) -> bool:
    """Whether a timer that has expired should not count: somebody steps through this process, or has just done so.

    pdb takes its trace function away when it goes on. What counts is whether its prompt was left after the time had
    run out, not how late the timer is: an app that blocks the event loop delays it too, and is to be told of.
    """
    if debugger_attached():
        return True
    when = getattr(timer, "when", None)  # uvloop's handle of a delay of nothing has none
    if when is None and not overdue:
        return False
    late = overdue + (asyncio.get_running_loop().time() - when() if when is not None else 0.0)
    if _prompt_left is not None and time.monotonic() - _prompt_left <= late:
        return True
    return late > _STOPPED and not _PROMPTS.isdisjoint(sys.modules)


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
