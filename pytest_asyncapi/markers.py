"""The markers. Each is a function whose signature is its documentation and checks its arguments.

A function returns the settings that its marker changes. Where a test has a marker more than once (its own, its
class's, its module's), each argument is taken from the nearest that gives it.
"""

import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, get_args, get_origin

import pytest

from pytest_asyncapi.settings import OPTIONS, Settings, ini_key


def client(
    *,
    raise_app_exceptions: bool | None = None,
    background: Literal["wait", "defer", "detach"] | None = None,
    base_url: str | None = None,
    lifespan: Literal["auto", "function", "off"] | None = None,
    read_timeout: str | float | None = None,
    strict: bool | None = None,
) -> dict[str, Any]:
    """settings of the test's client: background="wait"|"defer"|"detach", lifespan="auto"|"function"|"off"."""
    return {
        "raise_app_exceptions": raise_app_exceptions,
        "background": background,
        "base_url": base_url,
        "lifespan": lifespan,
        "read_timeout": read_timeout,
        "strict_protocol": strict,
    }


def db(
    *, isolation: Literal["rollback", "commit", "database"] | None = None, max_queries: int | None = None
) -> dict[str, Any]:
    """the test's database: isolation="rollback"|"commit"|"database", and how many queries it may make."""
    return {"isolation": isolation, "max_queries": max_queries}


def redis_cache(*, engine: Literal["memory", "server"] | None = None, db: int | None = None) -> dict[str, Any]:
    """what answers the test's Redis commands: engine="memory"|"server"; db=3 is the database of `redis_cache`."""
    return {"redis_engine": engine, "redis_db": db}


def virtual_clock(
    *, mode: Literal["jump", "frozen", "running"] | None = None, wall: bool | str | datetime | None = None
) -> dict[str, Any]:
    """how the test's virtual clock moves: mode="jump"|"frozen"|"running"; wall=True or a date moves time.time() too."""
    return {"clock": mode, "clock_wall": wall}


def upstream(
    *, strict: bool | None = None, allow: str | list[str] | None = None, assert_all_called: bool | None = None
) -> dict[str, Any]:
    """the test's upstreams: do unanswered requests and unused routes fail it, and which hosts may it reach."""
    return {
        "upstream_strict": strict,
        "allow_hosts": (allow,) if isinstance(allow, str) else allow,
        "upstream_assert_all_called": assert_all_called,
    }


def detect_blocking(*, threshold: str | float | None = None) -> dict[str, Any]:
    """how long this test's code may hold the event loop, for instance threshold="250ms"."""
    return {"blocking_threshold": threshold}


def allow_blocking(*patterns: str, reason: str) -> dict[str, Any]:
    """blocks that this test accepts, by module, function or file, and why."""
    return {"blocking_allow": patterns or ("*",)}


MARKERS: tuple[Callable[..., dict[str, Any]], ...] = (
    client,
    db,
    redis_cache,
    virtual_clock,
    upstream,
    detect_blocking,
    allow_blocking,
)
_ACCUMULATE = {"blocking_allow", "allow_hosts"}


def register(config: pytest.Config) -> None:
    """Tell pytest the markers, for `--markers` and `--strict-markers`."""
    for marker in MARKERS:
        signature = inspect.signature(marker).replace(return_annotation=inspect.Signature.empty)
        parameters = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
        signature = signature.replace(parameters=parameters)
        config.addinivalue_line("markers", f"{marker.__name__}{signature}: {marker.__doc__}")


def apply(settings: Settings, item: pytest.Item) -> Settings:
    """The settings of a test: those of the run, changed by its markers. Fails the test for a wrong argument."""
    changes: dict[str, Any] = {}
    present = {mark.name for mark in item.iter_markers()}  # most tests have none of ours
    for marker in MARKERS:
        if marker.__name__ not in present:
            continue
        for mark in item.iter_markers(marker.__name__):  # the nearest first
            for name, raw in _arguments(marker, mark).items():
                if raw is None:
                    continue
                value = _parsed(marker, name, raw)
                if name in _ACCUMULATE:
                    changes[name] = (*changes.get(name, getattr(settings, name)), *value)
                else:
                    changes.setdefault(name, value)
    return settings.replace(**changes) if changes else settings


def _arguments(marker: Callable[..., dict[str, Any]], mark: pytest.Mark) -> dict[str, Any]:
    try:
        return marker(*mark.args, **mark.kwargs)
    except TypeError as error:
        wrong = str(error).partition(" ")[2]
        message = f"@pytest.mark.{marker.__name__} {wrong}\nWrite it as {_usage(marker)}"
        raise pytest.fail.Exception(message, pytrace=False) from None


def _usage(marker: Callable[..., dict[str, Any]]) -> str:
    """How a marker is written, with the values that each argument takes."""
    signature = inspect.signature(marker)
    written = [
        f"*{name}" if each.kind is inspect.Parameter.VAR_POSITIONAL else f"{name}={_values(each.annotation)}"
        for name, each in signature.parameters.items()
    ]
    optional = all(each.default is None for each in signature.parameters.values())
    return f"@pytest.mark.{marker.__name__}({', '.join(written)})" + (
        ", every argument by name, and only those that you need" if optional else ""
    )


def _values(annotation: Any) -> str:
    """A type as a user would write its values: `"memory"|"server"`, `bool`, `str|float`."""
    if get_origin(annotation) is Literal:
        return "|".join(f'"{each}"' for each in get_args(annotation))
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    if get_origin(annotation) is list:
        return f"[{_values(get_args(annotation)[0])}, ...]"
    return "|".join(_values(each) for each in get_args(annotation) if each is not type(None))


def _parsed(marker: Callable[..., dict[str, Any]], name: str, raw: Any) -> Any:
    try:
        return OPTIONS[name].parse(raw)
    except ValueError as error:
        message = f"@pytest.mark.{marker.__name__}: {raw!r} is no value for {ini_key(name)}: {error}"
        raise pytest.fail.Exception(message, pytrace=False) from None
