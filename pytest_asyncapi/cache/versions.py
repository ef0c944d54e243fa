"""The one error for libraries of the in-memory Redis that are missing, or that have moved what it imports."""

from __future__ import annotations

from importlib import metadata

from pytest_asyncapi.compatibility import versions

_LIBRARIES = ("redis", "fakeredis", "valkey")


def explain(error: Exception | str) -> str:
    """What is installed, what works, and what to write."""
    found = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in ("redis", "fakeredis"):
        return f"redis_cache needs the package {package}, which is not installed: pip install 'pytest-asyncapi[redis]'"
    works = ", ".join(map(versions, _LIBRARIES))
    return (
        f"the in-memory Redis cannot be put under the clients installed here ({found}): {error}.\n"
        f"Versions that work: {works}. Write: pip install 'pytest-asyncapi[redis]'"
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
