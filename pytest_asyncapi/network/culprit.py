"""Who wanted out: the line of the app, the library that it used, and what to write in the test instead."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass
from types import FrameType

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# Not the prefix ("data"): a project may lie in the folder of its own virtual environment.
_LIBRARIES = tuple(
    {os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")}
)
_SERVED = ("aiohttp", "httpx", "httpx2", "httpcore", "httpcore2")
_OTHERS = {
    "urllib3": "requests and urllib3 are not served by upstream (aiohttp, httpx and httpx2 are): use one of these in"
    " the app, or mock the call with the library `responses`.",
    "http": "http.client and urllib.request are not served by upstream (aiohttp, httpx and httpx2 are).",
    "smtplib": "Mail is not served by upstream (aiohttp, httpx and httpx2 are).",
    "websockets": "the package websockets is not served by upstream: those of aiohttp, httpx-ws and httpx2 are"
    " (upstream.ws).",
    "asyncpg": "Ask for the fixture db or db_session: the app's connection then leads to the test database.",
    "psycopg": "Ask for the fixture db or db_session: the app's connection then leads to the test database.",
    "redis": "Ask for the fixture redis_cache: the app's Redis client then leads to the in-memory server.",
    "valkey": "Ask for the fixture redis_cache: the app's Redis client then leads to the in-memory server.",
}


@dataclass(frozen=True)
class Culprit:
    line: str
    library: str

    def cure(self, url: str) -> str:
        """What to write instead."""
        if self.library in _OTHERS:
            return _OTHERS[self.library]
        return f"Answer it in the test: upstream.get({url!r}).reply(...)"


def find() -> Culprit:
    """Look down the stack, from the refusal to whoever caused it."""
    library = ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if not library and (package in _OTHERS or package in _SERVED):
            library = package
        if not name.startswith((_OURS, "<")) and not name.startswith(_LIBRARIES):
            return Culprit(f"{_shown(name)}:{frame.f_lineno}, in {frame.f_code.co_qualname}", library)
        frame = frame.f_back
    return Culprit("", library)


def _shown(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
