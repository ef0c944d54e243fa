"""Async fixtures that run in the event loop of the test that asks for them.

pytest-asyncio (strict and auto) and anyio each run async tests in their own way; this module requires neither.
An async fixture made by `fixture` is handed to the plugin that runs *this* test, in the loop of *this* test, by a
wrapper around `pytest_fixture_setup` (see `pytest_asyncapi.plugin`). What is bound to a loop (a connection pool, a
lifespan) lives exactly as long as that loop: it is opened through a `LoopAnchor`, the value of a hidden fixture that
exists once per runner and loop scope.

Of pytest-asyncio only `fixture(loop_scope=)` is used, of anyio its fixture `anyio_backend`; who runs a test is found
in `pytest_asyncapi.loops`.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, overload

import pytest

from pytest_asyncapi.loops import SCOPES, Runner, known_runner, runner_of

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_WIDE = pytest.StashKey[dict[Any, tuple[Runner, str]]]()


# ---- the decorators

_ASYNC = "__asyncapi_async__"
_ORIGINAL = "__asyncapi_original__"
_VARIANTS = "__asyncapi_variants__"
_REFUSES = "__asyncapi_refuses__"


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
    if _is_async(func):
        setattr(func, _ASYNC, True)
    return pytest.fixture(func, **options)


class PublicFixture:
    """A fixture of ours: registered as `asyncapi_<name>`, and as `<name>` where the project configured the plugin."""

    __slots__ = ("func", "is_async", "name", "scope")

    def __init__(self, func: Callable[..., Any], scope: str) -> None:
        self.func = func
        self.name: str = func.__name__
        self.scope = scope
        self.is_async = _is_async(func)


PUBLIC: dict[str, PublicFixture] = {}


@overload
def public_fixture(func: F, /) -> F: ...
@overload
def public_fixture(*, scope: str = ..., **options: Any) -> Callable[[F], F]: ...
def public_fixture(func: Any = None, /, *, scope: Any = "function", **options: Any) -> Any:
    """A fixture of the plugin: `asyncapi_<name>` always, `<name>` too where the project configured the plugin."""
    if func is None:
        return functools.partial(public_fixture, scope=scope, **options)
    PUBLIC[func.__name__] = PublicFixture(func, scope)
    return fixture(scope=scope, name=f"asyncapi_{func.__name__}", **options)(func)


def _is_async(func: Any) -> bool:
    return inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func)


def short_names() -> types.ModuleType:
    """A plugin that gives each public fixture its short name."""
    return _plugin("short_names", {name: _alias(each) for name, each in PUBLIC.items()})


def add_short_names(module: types.ModuleType) -> None:
    """Give each public fixture its short name where the fixtures of `module` are visible, and below those.

    pytest reads the fixtures of a module in the order of their sorted attribute names, and the last of a name wins;
    so ours come first, and the module's own `client` wins, and may even ask for ours.
    """
    for name, each in PUBLIC.items():
        vars(module).setdefault(f"__asyncapi_{name}", _alias(each))


def _plugin(name: str, fixtures: dict[str, Any]) -> types.ModuleType:
    """A module, since pytest looks for the fixtures of any other object on its class."""
    module = types.ModuleType(f"{__name__}.{name}")
    module.__dict__.update(fixtures)
    return module


def _alias(public: PublicFixture) -> Any:
    target = f"asyncapi_{public.name}"

    def alias(**values: Any) -> Any:
        return values[target]

    functools.update_wrapper(alias, public.func)  # so that `pytest --fixtures` shows its text and its place
    vars(alias).pop(_ASYNC, None)
    # pytest reads the arguments from the signature, so the alias is in the fixture closure that collection sees.
    parameter = inspect.Parameter(target, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    alias.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]
    return pytest.fixture(alias, scope=public.scope, name=public.name)  # type: ignore[call-overload]


# ---- the hand-over


def hand_over(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    """Before a fixture made by `fixture` is set up: give its function to the plugin that runs the test."""
    func = fixturedef.func
    if not getattr(func, _ASYNC, False):
        return
    original = _original(func)
    try:
        handed = _handed_over(original, fixturedef, request)
    except (pytest.fail.Exception, Exception) as refusal:
        handed = _refusing(original, refusal)
    # Not restored afterwards: at the call of the test, pytest-asyncio's strict mode looks at this function's tag.
    fixturedef.func = handed  # type: ignore[misc]


def _refusing(original: Any, refusal: BaseException) -> Any:
    """Raises the refusal where pytest expects it: one out of a hook leaves the fixture unfinished for later tests."""

    def refuse(*args: Any, **values: Any) -> None:
        __tracebackhide__ = True
        raise refusal

    vars(refuse).update({_ASYNC: True, _ORIGINAL: original, _REFUSES: True})
    return refuse


def _handed_over(original: Any, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Any:
    from pytest_asyncapi.compatibility import check

    check("pytest")
    item = request._pyfuncitem
    name = (request.fixturename or original.__name__).removeprefix("asyncapi_")
    _refuse_in_a_running_test(name)
    runner = runner_of(item, name)
    if SCOPES.index(fixturedef.scope) > SCOPES.index(runner.loop_scope):
        pytest.fail(
            _TOO_WIDE.format(
                name=name,
                scope=fixturedef.scope,
                test=item.name,
                loop_scope=runner.loop_scope,
                cure=_widen(runner, fixturedef.scope),
            ),
            pytrace=False,
        )
    if fixturedef.scope != "function":
        item.config.stash.setdefault(_WIDE, {})[fixturedef] = runner, item.name
        if runner.kind == "anyio":
            _with_backend(request, "anyio_backend", name, runner)
    return _for_asyncio(original, runner.loop_scope) if runner.kind == "asyncio" else original


def check_shared(item: pytest.Item) -> None:
    """After the set-up of a test: does each wide fixture that it got from the cache live in the test's own loop?"""
    wide = item.config.stash.get(_WIDE, None)
    runner: Runner | None = None
    if not wide or not isinstance(item, pytest.Function):
        return
    for name, definitions in item._fixtureinfo.name2fixturedefs.items():
        made = wide.get(definitions[-1])
        if made is None or made[0] == (runner := runner or runner_of(item, name)):
            continue
        message = _OTHER_LOOP.format(
            name=name, scope=definitions[-1].scope, first=made[1], made=made[0], test=item.name, runner=runner
        )
        pytest.fail(message, pytrace=False)


def explain(fixturedef: pytest.FixtureDef[Any], request: Any, error: BaseException) -> None:
    """After the set-up of a user's async fixture has failed: did it run in another loop than our fixtures?"""
    func = fixturedef.func
    if getattr(func, _REFUSES, False):
        fixturedef.finish(request)  # a refusal is this test's, not that of all that share the fixture
        return
    if not isinstance(error, Exception):
        return
    item = request._pyfuncitem
    runner = known_runner(item)
    if runner is None or runner.kind != "asyncio" or not _is_async(func) or getattr(func, _ASYNC, False):
        return
    default = item.config.getini("asyncio_default_fixture_loop_scope")
    scope = getattr(func, "_loop_scope", None) or (default if default in SCOPES else fixturedef.scope)
    if scope != runner.loop_scope:
        error.add_note(
            _FIXTURE_ELSEWHERE.format(
                name=request.fixturename, scope=scope, test=item.name, loop_scope=runner.loop_scope
            )
        )


def _for_asyncio(func: Any, loop_scope: str) -> Any:
    """A copy of `func` that pytest-asyncio takes for its own fixture, in a loop of that scope.

    A copy, since pytest-asyncio's decorator tags the function that it is given, and would then also grab the original
    in the tests that anyio runs.
    """
    if isinstance(func, types.MethodType):
        return types.MethodType(_for_asyncio(func.__func__, loop_scope), func.__self__)
    variants = vars(func).setdefault(_VARIANTS, {})
    if loop_scope not in variants:
        import pytest_asyncio

        copy = _copy(func)
        pytest_asyncio.fixture(loop_scope=loop_scope)(copy)  # type: ignore[call-overload]
        variants[loop_scope] = copy
    return variants[loop_scope]


def _original(func: Any) -> Any:
    if isinstance(func, types.MethodType):
        return types.MethodType(_original(func.__func__), func.__self__)
    return getattr(func, _ORIGINAL, func)


def _copy(func: Any) -> Any:
    copy: Any = types.FunctionType(func.__code__, func.__globals__, func.__name__, func.__defaults__, func.__closure__)
    copy.__kwdefaults__ = func.__kwdefaults__
    functools.update_wrapper(copy, func)
    del copy.__wrapped__, copy.__dict__[_VARIANTS]
    copy.__dict__[_ORIGINAL] = func
    return copy


# ---- the anchors


class LoopAnchor:
    """What lives as long as one event loop: opened in it, and closed in it before it goes.

    `loop` is the loop, `runner` tells who runs it, `stack` takes further clean-up.
    """

    def __init__(self, runner: Runner) -> None:
        import asyncio
        from contextlib import AsyncExitStack

        self.loop = asyncio.get_running_loop()
        self.runner = runner
        self.stack = AsyncExitStack()
        self._opened: dict[Any, Any] = {}

    async def get(self, key: Any, opener: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """The value of `opener()`, an async context manager that is entered once per `key`, and left with the loop."""
        if key not in self._opened:
            self._opened[key] = await self.stack.enter_async_context(opener())
        value: T = self._opened[key]
        return value


def anchors(pytest_asyncio_here: bool) -> types.ModuleType:
    """A plugin with the hidden anchor fixtures, one per runner and loop scope, and `_asyncapi_loop` that picks one.

    One per runner, because a value cached under one name would hand the loop of pytest-asyncio to an anyio test.
    """
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
        value = LoopAnchor(Runner("asyncio", scope))
        async with value.stack:
            yield value

    return anchor


def _anyio_anchor(scope: Any, name: str) -> Any:
    @pytest.fixture(scope=scope, name=name)
    async def anchor(anyio_backend: Any) -> AsyncIterator[LoopAnchor]:
        value = LoopAnchor(Runner("anyio", scope))
        async with value.stack:
            yield value

    return anchor


@pytest.fixture
def _asyncapi_loop(request: pytest.FixtureRequest) -> Any:
    """The anchor of the event loop that runs this test."""
    return loop_anchor(request, _wanted(request))


def loop_anchor(request: pytest.FixtureRequest, wanted: str) -> Any:
    """The value of `_asyncapi_loop`, for a fixture that is set up outside of the loop; `wanted` is its name."""
    _refuse_in_a_running_test(wanted)
    runner = runner_of(request.node, wanted)
    if runner.kind == "anyio":
        chosen = request.getfixturevalue("anyio_backend")  # None under --setup-plan, where fixtures have no value
        backend = chosen if isinstance(chosen, str) or chosen is None else chosen[0]
        if backend not in ("asyncio", None):
            pytest.fail(_TRIO.format(name=wanted, test=request.node.name, backend=backend), pytrace=False)
    return _with_backend(request, f"_asyncapi_loop_{runner.kind}_{runner.loop_scope}", wanted, runner)


def _wanted(request: pytest.FixtureRequest) -> str:
    """The fixture that asks for the loop, for the messages: one of ours by its short name, or a user's own."""
    chain = [each.fixturename for each in request._iter_chain() if each.fixturename]
    by_hook = all(name.startswith("_asyncapi") for name in chain)  # one of ours, before the test's own fixtures
    names = (name.removeprefix("asyncapi_") for name in (request.fixturenames if by_hook else chain))
    return next((name for name in names if name in PUBLIC), chain[1] if chain[1:] else "_asyncapi_loop")


def _with_backend(request: pytest.FixtureRequest, needed: str, wanted: str, runner: Runner) -> Any:
    """The value of the fixture `needed`, which asks for `anyio_backend`: is that one wide enough?"""
    try:
        return request.getfixturevalue(needed)
    except pytest.fail.Exception as error:
        if "ScopeMismatch" not in str(error) or "anyio_backend" not in str(error):
            raise
    pytest.fail(_NARROW_BACKEND.format(name=wanted, scope=runner.loop_scope), pytrace=False)


def _refuse_in_a_running_test(name: str) -> None:
    from asyncio import _get_running_loop

    if _get_running_loop() is not None:
        pytest.fail(_TOO_LATE.format(name=name), pytrace=False)


# ---- the messages


def _widen(runner: Runner, scope: str) -> str:
    if runner.kind == "anyio":
        return f"`asyncapi_anyio_loop_scope = {scope}`"
    return f'@pytest.mark.asyncio(loop_scope="{scope}") or `asyncio_default_test_loop_scope = {scope}`'


_TOO_WIDE = """\
fixture {name!r} has scope {scope!r}, but the event loop of {test} lives for its {loop_scope} only.
Narrow the fixture to scope={loop_scope!r}, or widen the loop: {cure}."""

_OTHER_LOOP = """\
fixture {name!r} (scope {scope!r}) was made for {first}, which is run by {made}. It belongs to that loop, and {test} \
is run by {runner}.
Let one plugin run both, with one loop scope, or make the fixture function-scoped."""

_FIXTURE_ELSEWHERE = """\
fixture {name!r} runs in an event loop for each {scope}, but {test} and the fixtures of pytest-asyncapi that it uses \
live in one for each {loop_scope}.
Write it with @pytest_asyncapi.fixture, which follows the test, or set `asyncio_default_fixture_loop_scope = \
{loop_scope}`."""

_TOO_LATE = """\
fixture {name!r} is asynchronous, and request.getfixturevalue() cannot set it up while an async test is running.
Take it as an argument of the test (or of a fixture of the test), or name it in @pytest.mark.usefixtures."""

_TRIO = """\
fixture {name!r} works on asyncio only, and anyio runs {test} on {backend}. Write in conftest.py:

    @pytest.fixture(scope="session")
    def anyio_backend():
        return "asyncio"
"""

_NARROW_BACKEND = """\
fixture {name!r} shall live in an event loop for each {scope} (`asyncapi_anyio_loop_scope = {scope}`), but anyio makes \
a loop for each module at most while its fixture `anyio_backend` has scope 'module'. Write in conftest.py:

    @pytest.fixture(scope="session")
    def anyio_backend():
        return "asyncio"
"""
