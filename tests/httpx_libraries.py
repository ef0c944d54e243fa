"""The libraries of the httpx kind that are installed. Tests run on what there is: httpx2, httpx, or both."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any

import pytest

HTTPX_NAMES = [name for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]
HTTPX: list[ModuleType] = [importlib.import_module(name) for name in HTTPX_NAMES]

newest: Any = HTTPX[-1]
"""For a test that is about something else than the client that it uses."""

LIBRARIES = pytest.mark.parametrize("library", HTTPX, ids=HTTPX_NAMES)
"""Runs a test with each as ``library``."""


def each(name: str) -> tuple[Any, ...]:
    """What has this name in each of them: the exceptions to expect, for one."""
    return tuple(getattr(library, name) for library in HTTPX)
