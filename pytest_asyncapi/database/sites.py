"""Which line of the user's code is at work: the caller's, and that of a suspended task.

Frames of the standard library, of installed packages and of this package are left out. Under SQLAlchemy the awaiting
lines stand on the parent of the current greenlet, which is why the walk goes on there.
"""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

_OURS = str(Path(__file__).resolve().parent.parent)
_PLACES = (*map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")), _OURS)
_LIBRARIES = tuple({os.path.join(place, "") for place in _PLACES})
_LIMIT = 6


class Site(NamedTuple):
    """A line of Python code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


@lru_cache(maxsize=4096)
def normal(file: str) -> str:
    """The absolute path of a file, without `.` and `..`: the same however its directory came into `sys.path`."""
    return file if file.startswith("<") else os.path.abspath(file)


@lru_cache(maxsize=4096)
def is_user_code(file: str) -> bool:
    """Whether a file is the user's, and neither an installed library's nor ours."""
    if file.startswith("<"):
        return False
    file = normal(file)
    return not file.startswith(_LIBRARIES) and "site-packages" not in file


def callers(limit: int = _LIMIT) -> tuple[Site, ...]:
    """The user's lines that led here, the innermost first."""
    sites = _user_lines(sys._getframe(1), limit)
    if len(sites) < limit:
        sites += _parent_greenlets(limit - len(sites))
    return tuple(sites)


def task_sites(task: asyncio.Task[Any] | None, limit: int = _LIMIT) -> tuple[Site, ...]:
    """The user's lines at which a suspended task waits, the innermost first; all lines when none is the user's."""
    awaited: Any = task.get_coro() if task is not None else None
    lines: list[Site] = []
    for _ in range(200):
        if awaited is None:
            break
        frame = (
            getattr(awaited, "cr_frame", None)
            or getattr(awaited, "ag_frame", None)
            or getattr(awaited, "gi_frame", None)
        )
        if frame is not None:
            lines.append(_site(frame))
        awaited = (
            getattr(awaited, "cr_await", None)
            or getattr(awaited, "ag_await", None)
            or getattr(awaited, "gi_yieldfrom", None)
        )
    lines.reverse()
    users = [site for site in lines if is_user_code(site.file)]
    return tuple((users or lines)[:limit])


def _user_lines(frame: FrameType | None, limit: int) -> list[Site]:
    found: list[Site] = []
    while frame is not None and len(found) < limit:
        if is_user_code(frame.f_code.co_filename):
            found.append(_site(frame))
        frame = frame.f_back
    return found


def _parent_greenlets(limit: int) -> list[Site]:
    greenlet = sys.modules.get("greenlet")
    found: list[Site] = []
    if greenlet is None:
        return found
    parent = greenlet.getcurrent().parent
    while parent is not None and len(found) < limit:
        found += _user_lines(parent.gr_frame, limit - len(found))
        parent = parent.parent
    return found


def _site(frame: FrameType) -> Site:
    return Site(normal(frame.f_code.co_filename), frame.f_lineno, frame.f_code.co_name)
