"""Async fixtures that run in the event loop of the test that asks for them.

pytest-asyncio (strict and auto) and anyio each run async tests in their own way; this module requires neither.
An async fixture made by `fixture` is handed to the plugin that runs *this* test, in the loop of *this* test, by a
wrapper around `pytest_fixture_setup` (see `pytest_asyncapi.plugin`). What is bound to a loop (a connection pool, a
lifespan) lives exactly as long as that loop: it is opened through a `LoopAnchor`, the value of a hidden fixture that
exists once per runner and loop scope.

Only public names of pytest-asyncio (`fixture(loop_scope=)`, `is_async_test`, its marker and ini keys) and of anyio
(`anyio_backend`) are used. Read from pytest-asyncio 1.2 to 1.5 and anyio 4.10 to 4.16.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import pytest

from pytest_asyncapi.settings import settings_of

if TYPE_CHECKING:
    import asyncio
    from contextlib import AsyncExitStack

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

SCOPES = ("function", "class", "module", "package", "session")


class Runner(NamedTuple):
    """Who runs a test: `kind` is "asyncio" (pytest-asyncio) or "anyio"; `loop_scope` is the scope of its event loop."""

    kind: str
    loop_scope: str


_RUNNER = pytest.StashKey[Runner]()


def runner_of(item: pytest.Item, wanted: str) -> Runner:
    """Find who runs `item`. Fails the test, with the cure, when nobody does; `wanted` is the fixture asked for."""
    found = item.stash.get(_RUNNER, None)
    if found is None:
        found = item.stash.setdefault(_RUNNER, _find_runner(item, wanted))
    return found


def _find_runner(item: pytest.Item, wanted: str) -> Runner:
    names = getattr(item, "fixturenames", ())
    if item.config.pluginmanager.hasplugin("asyncio"):
        import pytest_asyncio

        if pytest_asyncio.is_async_test(item):
            if "anyio_backend" in names:
                pytest.fail(
                    f"{item.name} is run by pytest-asyncio (asyncio_mode = auto), but its @pytest.mark.anyio or its"
                    " `anyio_backend` fixture makes anyio run its async fixtures in another event loop.\n"
                    "Remove the anyio marker, or set `asyncio_mode = strict`.",
                    pytrace=False,
                )
            mark = item.get_closest_marker("asyncio")
            scope = mark.kwargs.get("loop_scope") or mark.kwargs.get("scope") if mark is not None else None
            return Runner("asyncio", scope or item.config.getini("asyncio_default_test_loop_scope") or "function")
    if "anyio_backend" in names:
        return Runner("anyio", settings_of(item.config).anyio_loop_scope)
    pytest.fail(_nobody_runs(item, wanted), pytrace=False)


def _nobody_runs(item: pytest.Item, wanted: str) -> str:
    import unittest

    wanted = wanted.removeprefix("asyncapi_")
    cls = getattr(item, "cls", None)
    if cls is not None and issubclass(cls, unittest.TestCase):
        return (
            f"fixture {wanted!r} is asynchronous, and {item.name} is a unittest.TestCase method, which runs outside of"
            " pytest's async plugins (IsolatedAsyncioTestCase makes an event loop of its own).\n"
            "Make it a plain class or function, or open the client inside the test:"
            " `async with pytest_asyncapi.client.open_client(app) as client`."
        )
    if item.get_closest_marker("trio") is not None:
        return f"fixture {wanted!r} works on asyncio only, and {item.name} is run by pytest-trio."
    if not _is_async(getattr(item, "obj", None)):
        return f"fixture {wanted!r} is asynchronous, but {item.name} is a plain function: make it `async def`."
    cures = []
    if item.config.pluginmanager.hasplugin("asyncio"):
        cures.append("pytest-asyncio: set `asyncio_mode = auto`, or mark the test with @pytest.mark.asyncio")
    if item.config.pluginmanager.hasplugin("anyio"):
        cures.append("anyio: set `anyio_mode = auto`, or mark the test with @pytest.mark.anyio")
    cures = cures or ["install pytest-asyncio: pip install 'pytest-asyncapi[asyncio]'"]
    return "\n  - ".join([f"nothing runs the async test {item.name}, which needs fixture {wanted!r}.", *cures])


def _is_async(obj: Any) -> bool:
    obj = getattr(getattr(obj, "hypothesis", None), "inner_test", obj)
    return inspect.iscoroutinefunction(getattr(obj, "__func__", obj))


# ---- the decorators

_ASYNC = "__asyncapi_async__"
_ORIGINAL = "__asyncapi_original__"


@overload
def fixture(func: F, /) -> F: ...
@overload
def fixture(*, scope: str = ..., name: str | None = ..., **options: Any) -> Callable[[F], F]: ...
def fixture(func: Any = None, /, **options: Any) -> Any:
    """`pytest.fixture` for an async function or async generator: it runs in the loop of the test that asks for it.

    Takes what `pytest.fixture` takes. Works under pytest-asyncio (strict and auto) and anyio alike; a scope wider
    than the test's event loop is an error that says so.
    """
    if func is None:
        return functools.partial(fixture, **options)
    if inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func):
        setattr(func, _ASYNC, True)
    return pytest.fixture(func, **options)


class PublicFixture(NamedTuple):
    """A fixture of ours: registered as `asyncapi_<name>`, and as `<name>` where the project configured the plugin."""

    name: str
    scope: str
    doc: str


PUBLIC: dict[str, PublicFixture] = {}


@overload
def public_fixture(func: F, /) -> F: ...
@overload
def public_fixture(*, scope: str = ..., **options: Any) -> Callable[[F], F]: ...
def public_fixture(func: Any = None, /, *, scope: Any = "function", **options: Any) -> Any:
    """A fixture of the plugin: `asyncapi_<name>` always, `<name>` too where the project configured the plugin."""
    if func is None:
        return functools.partial(public_fixture, scope=scope, **options)
    PUBLIC[func.__name__] = PublicFixture(func.__name__, scope, inspect.getdoc(func) or "")
    return fixture(scope=scope, name=f"asyncapi_{func.__name__}", **options)(func)


def short_names() -> types.ModuleType:
    """A plugin that gives each public fixture its short name."""
    return _plugin("short_names", {each.name: _alias(each) for each in PUBLIC.values()})


def _plugin(name: str, fixtures: dict[str, Any]) -> types.ModuleType:
    """A module, since pytest looks for the fixtures of any other object on its class."""
    module = types.ModuleType(f"{__name__}.{name}")
    module.__dict__.update(fixtures)
    return module


def _alias(public: PublicFixture) -> Any:
    target = f"asyncapi_{public.name}"

    def alias(**values: Any) -> Any:
        return values[target]

    # pytest reads the arguments from the signature, so the alias is in the fixture closure that collection sees.
    parameter = inspect.Parameter(target, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    alias.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]
    alias.__name__ = public.name
    alias.__doc__ = public.doc
    return pytest.fixture(alias, scope=public.scope, name=public.name)  # type: ignore[call-overload]


# ---- the hand-over


def hand_over(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    """Before a fixture made by `fixture` is set up: give its function to the plugin that runs the test."""
    func = fixturedef.func
    if not getattr(func, _ASYNC, False):
        return
    original = getattr(func, _ORIGINAL, func)
    item = request.node if isinstance(request.node, pytest.Item) else request._pyfuncitem
    name = request.fixturename or original.__name__
    runner = runner_of(item, name)
    if SCOPES.index(fixturedef.scope) > SCOPES.index(runner.loop_scope):
        pytest.fail(
            f"fixture {name!r} has scope {fixturedef.scope!r}, but the event loop of {item.name} lives for its"
            f" {runner.loop_scope} only.\nNarrow the fixture to scope={runner.loop_scope!r}, or widen the loop:"
            f" {_widen(runner, fixturedef.scope)}",
            pytrace=False,
        )
    # Not restored afterwards: at the call of the test, pytest-asyncio's strict mode looks at this function's tag.
    fixturedef.func = _for_asyncio(original, runner.loop_scope) if runner.kind == "asyncio" else original  # type: ignore[misc]


def _widen(runner: Runner, scope: str) -> str:
    if runner.kind == "anyio":
        return f"`asyncapi_anyio_loop_scope = {scope}`"
    return f'@pytest.mark.asyncio(loop_scope="{scope}") or `asyncio_default_test_loop_scope = {scope}`'


_variants: dict[tuple[Any, str], Any] = {}


def _for_asyncio(func: Any, loop_scope: str) -> Any:
    """A copy of `func` that pytest-asyncio takes for its own fixture, in a loop of that scope.

    A copy, since pytest-asyncio's decorator tags the function that it is given, and would then also grab the original
    in the tests that anyio runs.
    """
    key = (func, loop_scope)
    if key not in _variants:
        import pytest_asyncio

        copy = _copy(func)
        pytest_asyncio.fixture(loop_scope=loop_scope)(copy)  # type: ignore[call-overload]
        copy.__dict__[_ORIGINAL] = func
        _variants[key] = copy
    return _variants[key]


def _copy(func: Any) -> Any:
    if isinstance(func, types.MethodType):
        return types.MethodType(_copy(func.__func__), func.__self__)
    copy = types.FunctionType(func.__code__, func.__globals__, func.__name__, func.__defaults__, func.__closure__)
    copy.__kwdefaults__ = func.__kwdefaults__
    functools.update_wrapper(copy, func)
    del copy.__wrapped__
    return copy


# ---- the anchors


class LoopAnchor:
    """What lives as long as one event loop: opened in it, and closed in it before it goes.

    `loop` is the loop, `runner` tells who runs it, `stack` takes further clean-up.
    """

    def __init__(self, runner: Runner) -> None:
        import asyncio
        from contextlib import AsyncExitStack

        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.runner = runner
        self.stack: AsyncExitStack = AsyncExitStack()
        self._opened: dict[Any, Any] = {}

    async def get(self, key: Any, opener: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """The value of `opener()`, an async context manager that is entered once per `key`, and left with the loop."""
        if key not in self._opened:
            self._opened[key] = await self.stack.enter_async_context(opener())
        value: T = self._opened[key]
        return value


async def _anchor(runner: Runner) -> AsyncIterator[LoopAnchor]:
    anchor = LoopAnchor(runner)
    try:
        yield anchor
    finally:
        await anchor.stack.aclose()


def anchors(pytest_asyncio_here: bool) -> types.ModuleType:
    """A plugin with the hidden anchor fixtures, one per runner and loop scope, and `_asyncapi_loop` that picks one."""
    fixtures: dict[str, Any] = {"_asyncapi_loop": _asyncapi_loop}
    for scope in SCOPES:
        name = f"_asyncapi_loop_anyio_{scope}"
        fixtures[name] = _anyio_anchor(scope, name)
        if pytest_asyncio_here:
            name = f"_asyncapi_loop_asyncio_{scope}"
            fixtures[name] = _asyncio_anchor(scope, name)
    return _plugin("anchors", fixtures)


def _asyncio_anchor(scope: Any, name: str) -> Any:
    import pytest_asyncio

    @pytest_asyncio.fixture(scope=scope, loop_scope=scope, name=name)
    async def anchor() -> AsyncIterator[LoopAnchor]:
        async for each in _anchor(Runner("asyncio", scope)):
            yield each

    return anchor


def _anyio_anchor(scope: Any, name: str) -> Any:
    @pytest.fixture(scope=scope, name=name)
    async def anchor(anyio_backend: Any) -> AsyncIterator[LoopAnchor]:
        async for each in _anchor(Runner("anyio", scope)):
            yield each

    return anchor


_TRIO = """\
the fixtures of pytest-asyncapi work on asyncio only, and {name} runs on {backend}. Write in conftest.py:

    @pytest.fixture(scope="session")
    def anyio_backend():
        return "asyncio"
"""


@pytest.fixture
def _asyncapi_loop(request: pytest.FixtureRequest) -> Any:
    """The anchor of the event loop that runs this test."""
    from asyncio import _get_running_loop

    if _get_running_loop() is not None:
        pytest.fail(
            "request.getfixturevalue() of an async fixture cannot work while an async test is running: take the fixture"
            " as an argument of the test, or use @pytest.mark.usefixtures.",
            pytrace=False,
        )
    runner = runner_of(request.node, _asked_for(request))
    if runner.kind == "anyio":
        chosen = request.getfixturevalue("anyio_backend")
        backend = chosen if isinstance(chosen, str) else chosen[0]
        if backend != "asyncio":
            pytest.fail(_TRIO.format(name=request.node.name, backend=backend), pytrace=False)
    return request.getfixturevalue(f"_asyncapi_loop_{runner.kind}_{runner.loop_scope}")


def _asked_for(request: pytest.FixtureRequest) -> str:
    """The fixture of ours that the test names, for the messages."""
    names = inspect.signature(request.function).parameters if request.function is not None else {}
    return next((name for name in names if name.removeprefix("asyncapi_") in PUBLIC), "client")
