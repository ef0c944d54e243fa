"""The entry point of pytest: options, markers, and the hand-over to the rooms.

Imports nothing but pytest and our own light modules: each room's `fixtures.py` and `hooks.py` import their core only
when a fixture or an option asks for it.
"""

from __future__ import annotations

import copy
import importlib
import re
import warnings
from collections.abc import Generator
from types import ModuleType
from typing import Any

import pytest

from pytest_asyncapi import flags, loops, markers, runner, settings

FIXTURES = ("client", "database", "cache", "clock", "upstream", "network", "blocking")
HOOKS = ("client", "database", "cache", "upstream", "network")

INIT = "--asyncapi-init"

_UNKNOWN_KEY = "Unknown config option: "
_LOADED = "asyncapi-loops"
_SHORT_NAMES = "asyncapi-short-names"
_SHORT_NAMES_BY_CONFTEST = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    flags.add_options(parser)
    parser.getgroup("asyncapi").addoption(
        INIT,
        dest="asyncapi_init",
        nargs="?",
        const="show",
        default=None,
        metavar="MODE",
        help="look at the project, print its configuration and a first test, and stop; with --write, put them in place",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    asked = _complete_init(args)
    if flags.complete_bare_flags(args) or asked:
        # The path behind the bare flag was taken for its value: read the paths again, for the first conftest files.
        early_config.known_args_namespace = parser.parse_known_args(args, namespace=copy.copy(early_config.option))
    _guard_databases(early_config)
    if asked:
        early_config.known_args_namespace.noconftest = True  # they may not be importable before there are settings


@pytest.hookimpl(wrapper=True, specname="pytest_load_initial_conftests")
def pytest_after_initial_conftests(early_config: pytest.Config, parser: pytest.Parser) -> Generator[None, None, None]:
    yield
    flags.add_switches(early_config, parser)


def pytest_warning_recorded(warning_message: warnings.WarningMessage) -> None:
    """A misspelt key is an error, as a wrong value is: what pytest says of it at the end of a run is overlooked."""
    text = str(warning_message.message)
    if isinstance(warning_message.message, pytest.PytestConfigWarning) and text.startswith(_UNKNOWN_KEY):
        settings.check_key(text.removeprefix(_UNKNOWN_KEY).strip())


def _guard_databases(config: pytest.Config) -> None:
    """Keep also the import of conftest files from the app's own databases, in a project that configures us."""
    try:
        run = settings.read(config)
    except pytest.UsageError:
        return  # told later
    if run.configured and run.database != "none" and not config.getoption("asyncapi_init", None):
        importlib.import_module("pytest_asyncapi.database.hooks").guard_of(config)


def _complete_init(args: list[str]) -> bool:
    """Give `--asyncapi-init` its value, in place. `--write` is a word of ours only beside it."""
    if INIT not in args:
        return any(arg.startswith(f"{INIT}=") for arg in args)
    mode = "write" if "--write" in args else "show"
    args[:] = [f"{INIT}={mode}" if arg == INIT else arg for arg in args if arg != "--write"]
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> pytest.ExitCode | None:
    if config.getoption("asyncapi_init", None) is None:
        return None
    from pytest_asyncapi.init import hooks

    return hooks.run(config)


def pytest_configure(config: pytest.Config) -> None:
    markers.register(config)
    settings.check_overrides(config)
    run = settings.settings_of(config)
    if run.configured or config.option.showfixtures or config.option.show_fixtures_per_test:
        _load_rooms(config)
    if run.detect_blocking != "off":
        _register(config.pluginmanager, "blocking", "hooks")
    if run.report:
        _register(config.pluginmanager, "report", "hooks")
    _give_short_names(config, run)


# ---- the rooms


def _load_rooms(config: pytest.Config) -> None:
    """Register the fixtures and hooks of every room, once. A run that uses none of them never pays for the imports."""
    manager = config.pluginmanager
    if manager.has_plugin(_LOADED):
        return
    manager.register(runner.anchors(loops.has_pytest_asyncio(config)), _LOADED)
    for room in FIXTURES:
        _register(manager, room, "fixtures")
    for room in HOOKS:
        _register(manager, room, "hooks")


def _register(manager: pytest.PytestPluginManager, room: str, part: str) -> None:
    name = f"asyncapi-{room}-{part}"
    manager.register(importlib.import_module(f"pytest_asyncapi.{room}.{part}"), name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a project that configures nothing, a test may still ask for a fixture of ours by its long name."""
    if not config.pluginmanager.has_plugin(_LOADED) and any(
        name.startswith(("asyncapi_", "_asyncapi_")) or name in ("asgi_app", "db_schema")
        for item in items
        for name in getattr(item, "fixturenames", ())
    ):
        _load_rooms(config)


# ---- the short names of the fixtures


def _give_short_names(config: pytest.Config, run: settings.Settings) -> None:
    """`client`, `db_session`, ...: to all tests of a configured project, else where `asgi_app` is overridden."""
    if "names" in run.sources and not run.names:
        return
    if run.app or run.names:
        config.pluginmanager.register(runner.short_names(), _SHORT_NAMES)
        return
    config.stash[_SHORT_NAMES_BY_CONFTEST] = True
    for plugin in list(config.pluginmanager.get_plugins()):
        _give_short_names_beside(plugin, config)


@pytest.hookimpl(tryfirst=True)  # before pytest reads the fixtures of the plugin
def pytest_plugin_registered(plugin: object, manager: pytest.PytestPluginManager) -> None:
    config = manager.get_plugin("pytestconfig")
    if config is not None and config.stash.get(_SHORT_NAMES_BY_CONFTEST, False):
        _give_short_names_beside(plugin, config)


_FIXTURE_TYPE = type(runner._asyncapi_loop)


def _give_short_names_beside(plugin: object, config: pytest.Config) -> None:
    """Where a conftest file (or a plugin of the user) overrides `asgi_app`, its tests get the short names."""
    if not isinstance(plugin, ModuleType) or plugin.__name__.startswith(("pytest_asyncapi.", "_pytest.")):
        return
    names = (getattr(each, "name", "") for each in list(vars(plugin).values()) if type(each) is _FIXTURE_TYPE)
    if "asgi_app" in names:
        _load_rooms(config)
        runner.add_short_names(plugin)


_MISSING = """\
fixture {name!r} not found: pytest-asyncapi {why}.
Set `asyncapi_app = "package.module:app"` in [tool.pytest.ini_options] of pyproject.toml, or in pytest.ini,
or define a fixture `asgi_app` that returns the app, in the conftest.py of these tests,
or set `asyncapi_names = true`.{more}
Use 'pytest --fixtures [testpath]' to see the fixtures of other plugins."""


_HIDDEN = re.compile(r"\b_asyncapi_\w+, ")


def _explain_missing(error: pytest.FixtureLookupError) -> None:
    """Where the fixture that was not found is one of ours: say how to get it, in place of the list of all others.

    Else take those out of the list that nobody asks for by name.
    """
    text = _missing(error.argname or "")

    def formatrepr() -> Any:
        shown = type(error).formatrepr(error)
        shown.errorstring = text or _HIDDEN.sub("", shown.errorstring)
        return shown

    error.formatrepr = formatrepr  # type: ignore[method-assign]


def _missing(name: str) -> str | None:
    """What to say of a fixture that was not found; None when it is none of ours."""
    for room in FIXTURES:
        importlib.import_module(f"pytest_asyncapi.{room}.fixtures")
    if name in runner.PUBLIC:
        why = "gives its fixtures their short names only where a project configures it"
        return _MISSING.format(name=name, why=why, more=f" The long name works everywhere: 'asyncapi_{name}'.")
    if name.removeprefix("asyncapi_") in runner.PUBLIC:
        why = "loads its fixtures only where a project configures it, or a test names one as an argument"
        return _MISSING.format(name=name, why=why, more="")
    return None


_MISMATCH = re.compile(r"ScopeMismatch: You tried to access the function scoped fixture (?:asyncapi_)?(\w+) ")

_SHARED = """\
{mismatch}
pytest-asyncapi makes {name!r} anew for each test, so no fixture that several tests share can ask for it.
Narrow that fixture to scope="function", or let it use the app itself: its engine, whose rows are then there in each
test, or `async with pytest_asyncapi.client.AsyncClient(app) as client`."""


def _explain_mismatch(error: BaseException) -> None:
    """Where a fixture asked for one of ours that lives shorter: say what it can do instead."""
    found = _MISMATCH.match(str(error))
    if found is not None and found[1] in runner.PUBLIC:
        raise pytest.fail.Exception(_SHARED.format(mismatch=error, name=found[1]), pytrace=False) from None


# ---- the run


def pytest_report_header(config: pytest.Config) -> str | None:
    return settings.header(settings.settings_of(config))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of pytest-asyncio's and anyio's wrappers
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    __tracebackhide__ = True
    runner.hand_over(fixturedef, request)
    try:
        return (yield)
    except BaseException as error:
        runner.explain(fixturedef, request, error)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    __tracebackhide__ = True
    if item.config.pluginmanager.has_plugin(_LOADED):
        settings.settings_of(item)  # a wrong marker fails the test, also when no fixture reads it
    try:
        yield
    except pytest.FixtureLookupError as error:
        _explain_missing(error)
        raise
    except pytest.fail.Exception as error:
        _explain_mismatch(error)
        raise
    runner.check_shared(item)
