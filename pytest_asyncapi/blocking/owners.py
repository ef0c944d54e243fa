"""Whose file it is: the user's, a library's, the standard library's, the harness's, or a debugger's."""

from __future__ import annotations

import os
import site
import sysconfig
from os.path import abspath  # by name: blockbuster replaces it
from typing import Literal

Owner = Literal["user", "library", "standard", "importing", "harness", "foreign", "ours", "generated"]

_PACKAGE = os.path.dirname(os.path.dirname(abspath(__file__))) + os.sep
_OURS = os.path.dirname(abspath(__file__)) + os.sep
# Tools that work inside of a test's callbacks: what they do is not the app's.
_FOREIGN_PACKAGES = (
    "_pytest", "pluggy", "pytest_asyncio", "pytest_timeout", "xdist", "execnet", "coverage", "pytest_cov",
    "pydevd", "_pydevd_bundle", "_pydev_bundle", "debugpy", "IPython", "pdbpp", "ipdb", "pudb", "blockbuster", "pyleak",
)  # fmt: skip
_FOREIGN_MODULES = (
    "bdb.py",
    "pdb.py",
    "cmd.py",
    "trace.py",
    "code.py",
    "codeop.py",
    "tracemalloc.py",
    "faulthandler.py",
)


def _roots() -> tuple[tuple[str, ...], tuple[str, ...]]:
    paths = sysconfig.get_paths()
    libraries = {paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()}
    standard = {paths["stdlib"], paths["platstdlib"], os.path.dirname(os.__file__)}

    def spellings(directories: set[str]) -> tuple[str, ...]:
        return tuple({path.rstrip(os.sep) + os.sep for each in directories for path in (each, os.path.realpath(each))})

    return spellings(libraries), spellings(standard)


_LIBRARIES, _STANDARD = _roots()
_owners: dict[str, Owner] = {}


def owner(filename: str) -> Owner:
    """Whose file it is."""
    found = _owners.get(filename)
    if found is None:
        found = _owners[filename] = _owner(filename)
    return found


def _owner(filename: str) -> Owner:
    if filename.startswith("<frozen importlib"):
        return "importing"
    if filename.startswith("<frozen"):
        return "standard"
    if filename.startswith(("<ipython-input", "<stdin>", "<python-input", "<console>")):
        return "user"
    if filename.startswith("<"):
        return "generated"
    path = abspath(filename)
    if path.startswith(_OURS):
        return "ours"
    if path.startswith(_PACKAGE):
        return "harness"
    parts = path.split(os.sep)
    installed = path.startswith(_LIBRARIES) or "site-packages" in parts or "dist-packages" in parts
    if installed:
        return "foreign" if any(part.removesuffix(".py") in _FOREIGN_PACKAGES for part in parts) else "library"
    if path.startswith(_STANDARD):
        return "foreign" if parts[-1] in _FOREIGN_MODULES else "standard"
    return "user"


def package(filename: str) -> str:
    """The name of the package that a file of a library belongs to: `starlette`, `asyncio`."""
    path = abspath(filename)
    for root in sorted((*_LIBRARIES, *_STANDARD, os.path.dirname(_PACKAGE[:-1]) + os.sep), key=len, reverse=True):
        if path.startswith(root):
            return path[len(root) :].split(os.sep)[0].removesuffix(".py")
    return os.path.basename(filename).removesuffix(".py")
