"""Methods of other libraries replaced for a while, also of libraries that are imported meanwhile.

A replacement is a function of ours that calls the original whenever it has nothing to say, so that it does no harm
where it cannot be taken out: when another tool (respx, a mock) has patched on top of it, it stays under that tool's
patch.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

_ABSENT: Any = object()
_left_behind: WeakKeyDictionary[Any, tuple[Any, Any]] = WeakKeyDictionary()


class Patches:
    """A set of replacements that is put in and taken out as one."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, str, Any, Any, Any]] = []
        self._finder: _Finder | None = None

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
        loaded = sys.modules.get(module)
        if loaded is not None and not getattr(getattr(loaded, "__spec__", None), "_initializing", False):
            action(loaded)
            return
        if self._finder is None:
            self._finder = _Finder()
            sys.meta_path.insert(0, self._finder)
        self._finder.wanted[module] = action

    def undo(self) -> None:
        """Take everything out again, the last first."""
        if self._finder is not None:
            self._finder.wanted.clear()
            if self._finder in sys.meta_path:
                sys.meta_path.remove(self._finder)
            self._finder = None
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


class _Finder(importlib.abc.MetaPathFinder):
    """Lets others find the module, and acts when it has been executed."""

    def __init__(self) -> None:
        self.wanted: dict[str, Callable[[ModuleType], None]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        action = self.wanted.pop(fullname, None)
        if action is None:
            return None
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        spec.loader = _Loader(spec.loader, action)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any, action: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._action = action

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._action(module)
