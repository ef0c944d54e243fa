"""The one error for libraries that are missing, too old or too new to hook."""

from __future__ import annotations

from importlib import metadata

WORKS = "redis 5.0 to 8.1, fakeredis 2.40 (below 3), valkey 6"


def explain(error: Exception | str) -> str:
    """What is installed, what works, and what to write."""
    found = ", ".join(f"{name} {_version(name)}" for name in ("redis", "fakeredis", "valkey"))
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in ("redis", "fakeredis"):
        return (
            f"redis_cache needs the package {package}, which is not installed: pip install 'pytest-asyncapi[redis]'"
            f" (installed: {found})"
        )
    return (
        f"the in-memory Redis cannot be put under the clients installed here ({found}): {error}.\n"
        f"Versions that work: {WORKS}. Write: pip install 'pytest-asyncapi[redis]'"
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
