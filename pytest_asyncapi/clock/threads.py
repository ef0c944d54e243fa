"""Other threads, which may wake the loop: whether they work just now can only be seen in what they execute.

Threads whose calls are counted (`holds`) are left out, and so are those of debuggers, xdist and this plugin.
"""

from __future__ import annotations

import sys
import threading
from types import FrameType

_IGNORED_PACKAGES = ("pytest_asyncapi.", "execnet.", "pytest_timeout", "pydevd", "_pydevd", "debugpy.", "IPython.")

# Where a thread rests until it is given work, by the innermost Python function.
_RESTS = {
    ("concurrent.futures.thread", "_worker"),
    ("aiosqlite.core", "_connection_worker_thread"),
    ("aiosqlite.core", "run"),
    ("threading", "wait"),
    ("threading", "join"),
    ("threading", "_wait_for_tstate_lock"),
    ("queue", "get"),
    ("selectors", "select"),  # another loop, or a server
    ("asyncio.runners", "run"),  # another loop, of uvloop
    ("socket", "accept"),
}
# Servers in threads: reading, they wait for the next request of a client.
_SERVERS = ("socketserver", "werkzeug.", "wsgiref.")
_COUNTED = ("concurrent.futures.thread", "aiosqlite.core", "anyio._backends._asyncio")

Place = tuple[object, int]


class Threads:
    """The threads beside the loop's own."""

    def __init__(self) -> None:
        self._ours = threading.get_ident()
        # Where each rested when the clock started: there it waits for something that is not of this test.
        self._parked: dict[int, Place] = {
            ident: _place(frame) for ident, frame in sys._current_frames().items() if ident != self._ours
        }
        self._resting: list[int] = []  # those that could have been given work, as the system numbers them

    @property
    def may_wake(self) -> bool:
        """Whether, as `working()` saw it, a thread rests that could have been given work."""
        return bool(self._resting)

    def waking(self) -> bool:
        """Whether the system is about to run one of those: it was given work, and has not come to its first line.

        Only Linux tells.
        """
        return any(map(_is_runnable, self._resting))

    def working(self) -> str:
        """The name of a thread that works, or ""."""
        self._resting = []
        frames = sys._current_frames()
        if len(frames) == 1:
            return ""
        for ident, frame in frames.items():
            if ident == self._ours or _ignored(ident, frame):
                continue
            rests = _key(frame) in _RESTS or self._parked.get(ident) == _place(frame) or _serves(frame)
            thread = threading._active.get(ident)  # type: ignore[attr-defined]
            if not rests:
                return f"thread {thread.name if thread is not None else ident}"
            if not _counted(frame):
                self._resting.append(thread.native_id if thread is not None else 0)
        return ""

    def waiting_for_us(self) -> int:
        """How many threads wait for the result of something that was given to a loop (`run_coroutine_threadsafe`)."""
        count = 0
        for ident, frame in sys._current_frames().items():
            if ident != self._ours and _key(frame) == ("threading", "wait") and frame.f_back is not None:
                count += _key(frame.f_back) == ("concurrent.futures._base", "result")
        return count


def _is_runnable(native_id: int) -> bool:
    try:
        with open(f"/proc/self/task/{native_id}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split(maxsplit=1)[0] == b"R"
    except (OSError, IndexError):  # it has ended, or this is not Linux
        return False


def _key(frame: FrameType) -> tuple[str, str]:
    return frame.f_globals.get("__name__", ""), frame.f_code.co_name


def _place(frame: FrameType) -> Place:
    return frame.f_code, frame.f_lasti


def _ignored(ident: int, frame: FrameType) -> bool:
    if isinstance(threading._active.get(ident), threading.Timer):  # type: ignore[attr-defined]
        return True
    at: FrameType | None = frame
    while at is not None:
        module = at.f_globals.get("__name__", "")
        if module.startswith(_IGNORED_PACKAGES):
            return True
        if module == "anyio._backends._asyncio" and at.f_code.co_name == "run":  # counted, working or not
            return True
        at = at.f_back
    return False


def _serves(frame: FrameType) -> bool:
    return _key(frame) == ("socket", "readinto") and _comes_from(frame, _SERVERS)


def _counted(frame: FrameType) -> bool:
    """Whether what is given to this resting thread is counted when it is given."""
    return _comes_from(frame, _COUNTED)


def _comes_from(frame: FrameType, modules: tuple[str, ...]) -> bool:
    at: FrameType | None = frame
    while at is not None:
        if at.f_globals.get("__name__", "").startswith(modules):
            return True
        at = at.f_back
    return False
