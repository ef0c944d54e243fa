"""Public names that are imported when first used (PEP 562), so that importing a package of ours costs nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable


def exports(package: str, names: dict[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Make the three module attributes of a package whose public names live in its submodules.

    `package` is the package's `__name__`; `names` maps a public name to the relative module that defines it, for
    instance `{"Upstream": ".router"}`. Returns `(__getattr__, __dir__, __all__)`. The returned `__getattr__` raises
    AttributeError for any other name, and lets an ImportError of the submodule through.
    """

    def module_getattr(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(importlib.import_module(names[name], package), name)
        return value

    def module_dir() -> list[str]:
        return sorted(names)

    return module_getattr, module_dir, sorted(names)
