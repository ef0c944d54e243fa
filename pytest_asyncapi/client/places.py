"""Where an app waits: the lines of its task, of the tasks that it has started, and of the threads that it waits for."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import linecache
import os
import sys
from collections.abc import Iterable, Iterator
from types import BuiltinMethodType, FrameType
from typing import Any

_OURS = os.path.dirname(__file__) + os.sep
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_MOST = 3  # places that one message names

Place = tuple[str, int, str]  # file, line, function


def tasks_with(variable: contextvars.ContextVar[Any], value: object, main: object) -> list[asyncio.Task[Any]]:
    """The tasks of the running loop, besides `main`, in whose context the variable is that very object."""
    found = []
    for task in asyncio.all_tasks():
        # Task.get_context() is there from 3.12 on
        context = next((each for each in gc.get_referents(task) if isinstance(each, contextvars.Context)), None)
        if task is not main and context is not None and context.get(variable) is value:
            found.append(task)
    return found


def where(*tasks: asyncio.Task[Any], threads: Iterable[FrameType] = (), limit: int = 4) -> str:
    """The lines at which an app waits, the outermost first: those of its main task, then of its others and its threads.

    Of each it is the lines of the user's own code. Only when there are none at all, the main task's last lines, whose
    code they may be, are shown.
    """
    chains = [list(_await_chain(task.get_coro())) for task in tasks]
    chains += [list(_calls(frame)) for frame in threads]
    own = [user for user in ([place for place in chain if not _foreign(place[0])] for chain in chains) if user]
    if not own:
        own = [[place for place in chains[0] if not place[0].startswith(_OURS)] or chains[0]]
    shown: list[str] = []
    for chain in own:
        lines = "\n".join(_line(*place) for place in chain[-limit:])
        if lines and lines not in shown:
            shown.append(lines)
    return "\nand\n".join(shown[:_MOST]) or "  (it is not suspended in Python code)"


def threads_with(variable: contextvars.ContextVar[Any], value: object) -> list[FrameType]:
    """The innermost frames of the threads that run something in a context in which the variable is that object.

    Those of `asyncio.to_thread()`, of anyio (a `def` endpoint of FastAPI), of asgiref's `sync_to_async()`, of Quart.
    """
    return [frame for frame in sys._current_frames().values() if _runs_in_context(frame, variable, value)]


def _runs_in_context(frame: FrameType | None, variable: contextvars.ContextVar[Any], value: object) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.endswith(("_asyncio.py", "thread.py", "sync.py")):
            for each in list(frame.f_locals.values()):
                context = _context_of(getattr(each, "fn", each) if type(each).__name__ == "_WorkItem" else each)
                if context is not None and context.get(variable) is value:
                    return True
        frame = frame.f_back
    return False


def _context_of(value: object) -> contextvars.Context | None:
    if isinstance(value, functools.partial):  # asyncio.to_thread: partial(context.run, function, ...)
        value = value.func
    if isinstance(value, BuiltinMethodType):  # Quart: run_in_executor(None, context.run, function)
        value = value.__self__
    return value if isinstance(value, contextvars.Context) else None


def _line(file: str, line: int, name: str) -> str:
    return f"  {file}:{line} in {name}: {linecache.getline(file, line).strip()}"


def _foreign(file: str) -> bool:
    return (
        file.startswith((_OURS, _LIBRARY, "<")) or _PACKAGES[0] in file or _PACKAGES[1] in file
    )  # "<string>" and "<frozen ...>" have no lines to show


def _calls(frame: FrameType | None) -> Iterator[Place]:
    calls: list[Place] = []
    while frame is not None:
        calls.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return reversed(calls)


def _await_chain(coroutine: Any) -> Iterable[Place]:
    for each in steps(coroutine):
        frame = _first(each, "cr_frame", "ag_frame", "gi_frame")
        if frame is not None:
            yield frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name


def steps(coroutine: Any) -> Iterable[Any]:
    """A suspended coroutine, what it awaits, what that awaits, and so on: coroutines, generators, their wrappers."""
    seen: set[int] = set()
    while coroutine is not None and id(coroutine) not in seen:
        seen.add(id(coroutine))
        yield coroutine
        inner = _first(coroutine, "cr_await", "ag_await", "gi_yieldfrom")
        if inner is None and _first(coroutine, "cr_frame", "ag_frame", "gi_frame") is None:
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
