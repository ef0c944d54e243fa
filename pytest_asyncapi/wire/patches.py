"""Methods of other libraries replaced for a while, also of libraries that are imported meanwhile.

A replacement is a function of ours that calls the original whenever it has nothing to say, so that it does no harm
where it cannot be taken out: when another tool (respx, a mock) has patched on top of it, it stays under that tool's
patch.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from pytest_asyncapi.wire.imports import AfterImport

_ABSENT: Any = object()
_left_behind: WeakKeyDictionary[Any, tuple[Any, Any]] = WeakKeyDictionary()


class Patches:
    """A set of replacements that is put in and taken out as one."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, str, Any, Any, Any]] = []
        self._imports: AfterImport | None = None

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put ``make(original)`` in the place of ``owner.name``."""
        own = vars(owner).get(name, _ABSENT)
        original = getattr(owner, name)
        while original in _left_behind:
            own, original = _left_behind[original]
        replacement = make(original)
        self._done.append((owner, name, own, original, replacement))
        setattr(owner, name, replacement)

    def when_imported(self, module: str, action: Callable[[ModuleType], None]) -> None:
        """Do `action` with a module: now, when it is imported already, else as soon as it is."""
        if self._imports is None:
            self._imports = AfterImport()
            self._imports.install()
        self._imports.watch(module, action)

    def undo(self) -> None:
        """Take everything out again, the last first."""
        if self._imports is not None:
            self._imports.uninstall()
            self._imports = None
        while self._done:
            owner, name, own, original, replacement = self._done.pop()
            if vars(owner).get(name) is not replacement:
                # Someone else's patch is on top, and will put ours back when it goes. It has nothing to say any more,
                # and makes room when we come again.
                _left_behind[replacement] = own, original
                continue
            if own is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, own)
