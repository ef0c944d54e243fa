"""Do something right after a module's import, or at once where it is imported already."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Then = Callable[[ModuleType], object]


class AfterImport(importlib.abc.MetaPathFinder):
    """Stands first in `sys.meta_path`, lets others find the module, and puts steps behind its loader."""

    def __init__(self) -> None:
        self._then: dict[str, list[Then]] = {}

    def watch(self, name: str, then: Then) -> None:
        """Call `then` with the module: now, when it is imported already, else as soon as it is."""
        loaded = sys.modules.get(name)
        if loaded is None or getattr(getattr(loaded, "__spec__", None), "_initializing", False):
            self._then.setdefault(name, []).append(then)
        else:
            then(loaded)

    def install(self) -> None:
        sys.meta_path.insert(0, self)

    def uninstall(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        self._then.clear()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        steps = self._then.get(name)
        if steps is None or self not in sys.meta_path:
            return None
        # those behind this one: the others have been asked, and two of our kind would ask each other for ever
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                break
        else:
            return None
        if spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, steps)
        return spec


class _Loader(importlib.abc.Loader):
    """The module's own loader, with steps behind it."""

    def __init__(self, loader: Any, steps: list[Then]) -> None:
        self._loader = loader
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        for step in self._steps:
            step(module)
