"""The entry point of pytest: options, markers, and the hand-over to the rooms.

Imports nothing but pytest and our own light modules: each room's `fixtures.py` and `hooks.py` import their core only
when a fixture or an option asks for it.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Generator
from typing import Any

import pytest

from pytest_asyncapi import markers, runner, settings

FIXTURES = ("client", "database", "cache", "clock", "upstream", "network", "blocking")
HOOKS = ("client", "database", "cache", "upstream", "network")

_SHORT_NAMES = "asyncapi-short-names"
_CONFIGURED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    settings.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    if settings.complete_bare_flags(args):
        # The path behind the bare flag was taken for its value: read the paths again, for the first conftest files.
        early_config.known_args_namespace = parser.parse_known_args(args, namespace=copy.copy(early_config.option))


def pytest_configure(config: pytest.Config) -> None:
    markers.register(config)
    run = settings.settings_of(config)
    manager = config.pluginmanager
    manager.register(runner.anchors(manager.hasplugin("asyncio")), "asyncapi-loops")
    for room in FIXTURES:
        _register(manager, room, "fixtures")
    for room in HOOKS:
        _register(manager, room, "hooks")
    if run.detect_blocking != "off":
        _register(manager, "blocking", "hooks")
    config.stash[_CONFIGURED] = True
    if run.app or run.names or any(_overrides_app(plugin) for plugin in manager.get_plugins()):
        _register_short_names(config)


def _register(manager: pytest.PytestPluginManager, room: str, part: str) -> None:
    import importlib.util
    import pathlib

    if not (pathlib.Path(__file__).parent / room / f"{part}.py").exists():
        return
    manager.register(importlib.import_module(f"pytest_asyncapi.{room}.{part}"), f"asyncapi-{room}-{part}")


def _overrides_app(plugin: object) -> bool:
    """Whether a plugin of the user, such as a conftest file, defines `asgi_app`."""
    ours = getattr(plugin, "__name__", "").startswith("pytest_asyncapi.")
    return not ours and "asgi_app" in getattr(plugin, "__dict__", ())


def _register_short_names(config: pytest.Config) -> None:
    manager = config.pluginmanager
    if not manager.has_plugin(_SHORT_NAMES):
        manager.register(runner.short_names(), _SHORT_NAMES)


def pytest_plugin_registered(plugin: object, manager: pytest.PytestPluginManager) -> None:
    """A conftest file that overrides `asgi_app` configures the plugin just as `asyncapi_app` does."""
    config = manager.get_plugin("pytestconfig")
    if config is not None and config.stash.get(_CONFIGURED, False) and _overrides_app(plugin):
        _register_short_names(config)


def pytest_report_header(config: pytest.Config) -> str | None:
    return settings.header(settings.settings_of(config))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of pytest-asyncio's and anyio's wrappers
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    runner.hand_over(fixturedef, request)
    return (yield)


_SHORT_NAME_MISSING = """\
fixture {name!r} of pytest-asyncapi has its short name only where the project configures the plugin. Either set, in
the [tool.pytest.ini_options] of pyproject.toml (or in pytest.ini),

    asyncapi_app = "package.module:app"

or define a fixture `asgi_app` in conftest.py that returns the app. (`asyncapi_names = true` gives the short names
without an app, and `asyncapi_{name}` is always there.)"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    settings.settings_of(item)  # a wrong marker fails the test, also when no fixture reads it
    try:
        return (yield)
    except pytest.FixtureLookupError as error:
        if error.argname in runner.PUBLIC and not item.config.pluginmanager.has_plugin(_SHORT_NAMES):
            message = _SHORT_NAME_MISSING.format(name=error.argname)
            raise pytest.fail.Exception(message, pytrace=False) from None
        raise
