"""Finds the app under test by its name, and says what is wrong with what it finds."""

from __future__ import annotations

import inspect
from typing import Any

from pytest_asyncapi.asgi import ASGIApp
from pytest_asyncapi.errors import ConfigurationError
from pytest_asyncapi.values import NothingOfThatName, by_name

HOW = """\
Either set it in the configuration file (pyproject.toml, [tool.pytest.ini_options]):

    asyncapi_app = "package.module:app"          # or "package.module:create_app()" for a factory

or define the fixture in conftest.py:

    @pytest.fixture(scope="session")
    def asgi_app():
        return app
"""
NO_APP = f"there is no app to test.\n{HOW}"


def load_app(name: str) -> ASGIApp:
    """The app that `package.module:attribute` names; a factory, `package.module:create()`, is called.

    Raises ConfigurationError when there is no such thing or it is not an ASGI app, and the app's own exception when
    its module raises one.
    """
    __tracebackhide__ = True
    target = name.removesuffix("()")
    try:
        found = by_name(target, "shop.main:app")
    except NothingOfThatName as error:
        raise ConfigurationError(f"asyncapi_app = {name!r}: {error}") from None
    if target != name or _is_factory(found):
        found = _called(found, f"asyncapi_app = {name!r}")
    return checked(found, f"asyncapi_app = {name!r}")


def _called(factory: Any, origin: str) -> Any:
    __tracebackhide__ = True
    if not callable(factory):
        raise ConfigurationError(f"{origin}: {_short(factory)} is no factory, it cannot be called. Leave out the ()")
    if _takes(factory, 0) is False:
        raise ConfigurationError(
            f"{origin}: the factory is called without arguments, but it is {factory.__name__}"
            f"{inspect.signature(factory)}. Give them defaults, or call it in a fixture `asgi_app` of conftest.py"
        )
    return factory()


def _takes(value: Any, count: int) -> bool | None:
    try:
        inspect.signature(value).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return None
    return True


def _is_factory(value: Any) -> bool:
    return inspect.isfunction(value) and _takes(value, 0) is True and _takes(value, 3) is False


def checked(app: Any, origin: str) -> ASGIApp:
    """The app, if it can be one; ConfigurationError says what it is instead."""
    __tracebackhide__ = True
    if inspect.iscoroutine(app) or inspect.isasyncgen(app):
        app.close() if inspect.iscoroutine(app) else None
        raise ConfigurationError(
            f"{origin} gave a {type(app).__name__}, not an app: an app is made by a plain function, or by an async "
            "fixture that is decorated with @pytest_asyncapi.fixture"
        )
    if inspect.isclass(app):
        raise ConfigurationError(f"{origin} is the class {app.__qualname__}, not an app: make an instance of it")
    if not callable(app):
        raise ConfigurationError(f"{origin} is {_short(app)}, which is not an ASGI app: it cannot be called.\n{HOW}")
    if _takes(app, 3) is not False:
        return app  # type: ignore[no-any-return]
    if _takes(app, 2):
        raise ConfigurationError(
            f"{origin} is {_short(app)}, which takes two arguments as a WSGI app does, not scope, receive and send. "
            "Wrap it: a2wsgi.WSGIMiddleware(app), or asgiref.wsgi.WsgiToAsgi(app)"
        )
    if _takes(app, 1):
        raise ConfigurationError(
            f"{origin} is {_short(app)}, which takes one argument as an ASGI 2 app does. Wrap it: "
            "asgiref.compatibility.guarantee_single_callable(app)"
        )
    raise ConfigurationError(f"{origin} is {_short(app)}, which cannot be called with scope, receive and send")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
