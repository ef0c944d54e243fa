"""Every private name that we lean on is listed where it is used, and is there in the libraries that are installed."""

import importlib
import importlib.util
import inspect
import pathlib
import re
from functools import reduce

import pytest

import pytest_asyncapi

PACKAGE = pathlib.Path(pytest_asyncapi.__file__).parent
LISTS = sorted(
    ".".join(("pytest_asyncapi", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in PACKAGE.rglob("*.py")
    if re.search(r"^PRIVATE_NAMES\b", path.read_text(), re.MULTILINE)
)


def test_there_are_lists():
    assert "pytest_asyncapi.upstream.aiohttp_hooks" in LISTS
    assert "pytest_asyncapi.blocking.slices" in LISTS


@pytest.mark.parametrize("listing", LISTS)
def test_a_private_name_is_still_there(listing):
    missing = []
    for name, versions in importlib.import_module(listing).PRIVATE_NAMES.items():
        module, _, path = name.partition(":")
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            continue  # the library is not installed in this environment
        try:
            _resolve(_import(module, path), path)
        except ModuleNotFoundError as error:
            if error.name and module.startswith(error.name):
                missing.append(
                    f"{name}, read from {versions}: {error}"
                )  # else: what the module itself needs is not here
        except AttributeError as error:
            missing.append(f"{name}, read from {versions}: {error}")

    assert not missing, f"{listing} leans on what is gone:\n" + "\n".join(missing)


def _resolve(found, path):
    *parents, name = path.split(".")
    owner = reduce(getattr, parents, found)
    if not hasattr(owner, name) and not (isinstance(owner, type) and f"self.{name}" in _source(owner)):
        raise AttributeError(f"{owner!r} has no attribute {name!r}")


def _source(owner):
    """The file of a class: an attribute of its instances is set somewhere in it."""
    return pathlib.Path(inspect.getsourcefile(owner.__init__)).read_text()


def _import(module, path):
    """The module, with the submodules that the path goes through imported too."""
    found = importlib.import_module(module)
    parts = path.split(".")
    for depth in range(1, len(parts)):
        try:
            importlib.import_module(".".join([module, *parts[:depth]]))
        except ImportError:
            break
    return found
