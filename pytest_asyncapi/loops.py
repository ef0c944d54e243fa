"""Who runs a test, and in which event loop? Or, when nobody does: what is to be written for somebody to run it.

Of pytest-asyncio only `is_async_test`, its marker and its ini keys are used, of anyio its fixture `anyio_backend`.
Read from pytest-asyncio 1.2 to 1.5 and anyio 4.10 to 4.16.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from pytest_asyncapi.settings import settings_of

SCOPES = ("function", "class", "module", "package", "session")


class Runner:
    """Who runs a test: `kind` is "asyncio" (pytest-asyncio) or "anyio"; `loop_scope` is the scope of its event loop."""

    __slots__ = ("kind", "loop_scope")

    def __init__(self, kind: str, loop_scope: str) -> None:
        self.kind = kind
        self.loop_scope = loop_scope

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runner) and (self.kind, self.loop_scope) == (other.kind, other.loop_scope)

    def __hash__(self) -> int:
        return hash((self.kind, self.loop_scope))

    def __repr__(self) -> str:
        return f"Runner({self.kind!r}, {self.loop_scope!r})"

    def __str__(self) -> str:
        return f"{'pytest-asyncio' if self.kind == 'asyncio' else 'anyio'}, in an event loop for each {self.loop_scope}"


_RUNNER = pytest.StashKey[Runner]()


def has_pytest_asyncio(config: pytest.Config) -> bool:
    manager = config.pluginmanager
    return bool(manager.hasplugin("asyncio") or manager.hasplugin("pytest_asyncio.plugin"))


def _has_anyio(config: pytest.Config) -> bool:
    manager = config.pluginmanager
    return bool(manager.hasplugin("anyio") or manager.hasplugin("anyio.pytest_plugin"))


def runner_of(item: pytest.Item, wanted: str) -> Runner:
    """Find who runs `item`. Fails the test, with the cure, when nobody does; `wanted` is the fixture asked for."""
    found = item.stash.get(_RUNNER, None)
    if found is None:
        found = item.stash.setdefault(_RUNNER, _find_runner(item, wanted))
    return found


def known_runner(item: pytest.Item) -> Runner | None:
    """Who runs `item`, when a fixture of ours has asked before."""
    return item.stash.get(_RUNNER, None)


def _find_runner(item: pytest.Item, wanted: str) -> Runner:
    names = getattr(item, "fixturenames", ())
    if has_pytest_asyncio(item.config):
        import pytest_asyncio

        if pytest_asyncio.is_async_test(item):
            if "anyio_backend" in names:
                pytest.fail(_TWO_RUNNERS.format(test=item.name), pytrace=False)
            mark = item.get_closest_marker("asyncio")
            scope = mark.kwargs.get("loop_scope") or mark.kwargs.get("scope") if mark is not None else None
            return Runner("asyncio", scope or item.config.getini("asyncio_default_test_loop_scope") or "function")
    if "anyio_backend" in names:
        return Runner("anyio", settings_of(item.config).anyio_loop_scope)
    pytest.fail(_nobody_runs(item, wanted), pytrace=False)


# ---- the messages


def _nobody_runs(item: pytest.Item, wanted: str) -> str:
    import unittest

    wanted = wanted.removeprefix("asyncapi_")
    cls = getattr(item, "cls", None)
    if cls is not None and issubclass(cls, unittest.TestCase):
        return (
            f"fixture {wanted!r} is asynchronous, and {item.name} is a unittest.TestCase method, which runs outside of"
            " pytest's async plugins (IsolatedAsyncioTestCase makes an event loop of its own).\n"
            "Make it a plain class or function, or open the client inside the test:"
            " `async with pytest_asyncapi.client.AsyncClient(app) as client`."
        )
    if item.get_closest_marker("trio") is not None:
        return f"fixture {wanted!r} works on asyncio only, and {item.name} is run by pytest-trio."
    if not _is_async_test(getattr(item, "obj", None)):
        return f"fixture {wanted!r} is asynchronous, but {item.name} is a plain function: make it `async def`."
    cures = []
    if has_pytest_asyncio(item.config):
        cures.append("pytest-asyncio: set `asyncio_mode = auto`, or mark the test with @pytest.mark.asyncio")
    if _has_anyio(item.config):
        cures.append("anyio: set `anyio_mode = auto`, or mark the test with @pytest.mark.anyio")
    cures = cures or ["install pytest-asyncio: pip install 'pytest-asyncapi[asyncio]'"]
    return "\n  - ".join([f"nothing runs the async test {item.name}, which needs fixture {wanted!r}.", *cures])


def _is_async_test(obj: Any) -> bool:
    obj = getattr(getattr(obj, "hypothesis", None), "inner_test", obj)
    return inspect.iscoroutinefunction(getattr(obj, "__func__", obj))


_TWO_RUNNERS = """\
{test} is run by pytest-asyncio, but its anyio marker or `anyio_backend` fixture (or `anyio_mode = auto`) makes anyio \
run its async fixtures, in another event loop.
Let one of the two run it: remove the anyio marker and `anyio_mode`, or set `asyncio_mode = strict`."""
