"""The settings: ini keys, command line, environment and markers, made into one frozen and validated value.

`Settings` is the table: one field an option, each with its parser, its help and, where it has one, its flag. Its ini
key is `asyncapi_` and the field's name. `settings_of(config)` gives the values of the run, `settings_of(item)` those
of a test, with its markers applied (see `pytest_asyncapi.markers`).

Precedence, highest first: the test's markers, the command line, `-o`, the ini file, the environment, the default.

The module is imported at the start of every pytest run, also where nobody uses the plugin, so the table is a plain
class: a dataclass of forty fields takes longer to make than all else that the plugin does at start-up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

import pytest

from pytest_asyncapi.values import (
    Parser,
    boolean,
    database_choice,
    duration,
    hosts,
    lines,
    one_of,
    server_url,
    text,
    wall_clock,
    web_url,
    whole_number,
)

IniType = Literal["string", "number", "bool", "linelist"]


class Option:
    """How one field of `Settings` is written: its default, parser, help, flag, ini type and environment variable."""

    __slots__ = (
        "default", "environment", "flag", "flag_value", "help", "ini_type", "metavar", "parse", "shared", "switch"
    )  # fmt: skip

    def __init__(
        self,
        default: Any,
        parse: Parser,
        help: str,
        *,
        flag: str | None = None,
        flag_value: str | None = None,  # what the bare flag means; the flag then takes `=VALUE` as an option
        switch: bool = False,  # the flag takes no value
        shared: bool = False,  # another plugin's flag of this name means the same
        metavar: str | None = None,
        environment: str | None = None,
    ) -> None:
        self.default = default
        self.parse = parse
        self.help = help
        self.ini_type: IniType = _INI_TYPES.get(parse, "string")
        self.flag = flag
        self.flag_value = flag_value
        self.switch = switch
        self.shared = shared
        self.metavar = metavar
        self.environment = environment


_INI_TYPES: dict[Parser, IniType] = {
    boolean: "bool",
    lines: "linelist",
    hosts: "linelist",
    duration: "number",
    whole_number: "number",
}


def option(default: Any, parse: Parser, help: str, **more: Any) -> Any:
    """A line of the table. (Typed Any, so that each field can be annotated with the type of its value.)"""
    return Option(default, parse, help, **more)


class Settings:
    """The validated settings of a run or of a test: frozen, one attribute an option. Times are seconds.

    `sources` says where each value that is not the default was written.
    """

    app: str = option(
        "", text, "the ASGI app under test, 'package.module:attribute', or a factory, 'package.module:create()'"
    )
    names: bool = option(
        False, boolean, "register the short fixture names (client, db_session, ...) also without asyncapi_app"
    )

    http_library: str = option(
        "auto",
        one_of("auto", "httpx2", "httpx"),
        "what the client is built on: auto (httpx2 if installed), httpx2 or httpx",
    )
    base_url: str = option("http://testserver", web_url, "base URL of the client")
    lifespan: str = option(
        "auto",
        one_of("auto", "function", "off"),
        "the app's lifespan: auto (once per event loop when the app outlives it), function (once a test), off",
    )
    startup_timeout: float = option(30.0, duration, "how long the lifespan's start-up may take")
    shutdown_timeout: float = option(30.0, duration, "how long the lifespan's shut-down may take")
    read_timeout: float = option(30.0, duration, "how long the client waits for a response or its next chunk")
    raise_app_exceptions: bool = option(True, boolean, "raise the app's exceptions in the test")
    background: str = option(
        "wait",
        one_of("wait", "defer", "detach"),
        "work after the response: wait (for its end), defer (until client.drain()), detach (let it run)",
    )
    strict_protocol: bool = option(False, boolean, "check also what servers tolerate, such as upper-case header names")
    anyio_loop_scope: str = option(
        "function",
        one_of("function", "class", "module", "package", "session"),
        "scope of the event loop of tests that anyio's plugin runs",
    )
    live: bool = option(
        False, boolean, "use the real parts: uvicorn, real commits, a real Redis server", flag="--live", switch=True
    )

    database: str = option(
        "auto",
        database_choice,
        "auto (what the app's engine speaks), postgresql, sqlite, none or a URL",
    )
    database_server: str = option(
        "",
        server_url,
        "URL of a PostgreSQL server where databases for tests may be made",
        environment="DATABASE_URL",
    )
    schema: str = option(
        "", text, "where the tables come from: 'package.module:Base.metadata', an alembic.ini, or a .sql file"
    )
    isolation: str = option(
        "rollback",
        one_of("rollback", "commit", "database"),
        "how tests are kept apart: rollback (one transaction a test), commit (real commits, then a reset), "
        "database (a copy a test)",
    )
    max_queries: int | None = option(None, whole_number, "fail a test that makes more SQL queries than this")
    lock_timeout: float = option(5.0, duration, "how long a transaction waits for another of the same test")
    redirect: bool = option(True, boolean, "send the app's database connections to the test database")
    # pytest-django has these two flags, pytest-recording has --block-network
    reuse_db: bool = option(
        False, boolean, "keep the test databases for the next run", flag="--reuse-db", switch=True, shared=True
    )
    create_db: bool = option(
        False, boolean, "make the kept test databases anew", flag="--create-db", switch=True, shared=True
    )

    redis_engine: str = option(
        "memory", one_of("memory", "server"), "what answers Redis commands: memory, or server (a real one)"
    )
    redis_db: int = option(0, whole_number, "the number of the Redis database that `redis_cache` is a client of")

    clock: str = option(
        "jump",
        one_of("jump", "frozen", "running"),
        "how virtual_clock moves: jump (to the next timer when nothing is ready), frozen (by advance() only), running",
    )
    clock_wall: Any = option(
        False,
        wall_clock,
        "do time.time() and datetime follow virtual_clock: true, false, or the date that they start at",
    )

    block_network: bool | None = option(
        None,
        boolean,
        "refuse connections that leave this machine: true, in every test; false, only beside `upstream`; unset, "
        "beside `client` and `upstream`",
        flag="--block-network",
        switch=True,
        shared=True,
    )
    allow_hosts: tuple[str, ...] = option((), hosts, "hosts that tests may connect to, one a line")
    upstream_strict: bool = option(True, boolean, "fail a test that sends a request which no route answers")
    upstream_assert_all_called: bool = option(True, boolean, "fail a test that leaves a route unused")
    upstream_record: str = option(
        "none",
        one_of("none", "new", "all"),
        "recording of cassettes: none, new (what is not recorded yet), all (everything anew)",
        flag="--upstream-record",
        metavar="MODE",
    )

    report: str = option(
        "",
        text,
        "write a page of the run to this .html file: a timeline of every test, the failing ones first",
        flag="--asyncapi-report",
        metavar="FILE",
    )

    detect_blocking: str = option(
        "off",
        one_of("off", "fail", "warn", "report"),
        "find code that blocks the event loop, and fail (the default), warn or report",
        flag="--detect-blocking",
        flag_value="fail",
        metavar="MODE",
    )
    blocking_threshold: float = option(
        0.05,
        duration,
        "how long code may hold the event loop, for instance 50ms",
        flag="--blocking-threshold",
        metavar="DURATION",
    )
    blocking_report: str = option(
        "",
        text,
        "write the blocks to this file: .json, .sarif or .html",
        flag="--blocking-report",
        metavar="FILE",
    )
    blocking_scope: str = option(
        "app", one_of("app", "all"), "whose blocks fail a test: app (requests), all (tests and fixtures too)"
    )
    blocking_allow: tuple[str, ...] = option((), lines, "blocks to allow, a pattern a line")
    blocking_baseline: str = option(
        "", text, "file of the known blocks, which do not fail", flag="--blocking-baseline", metavar="FILE"
    )
    blocking_update_baseline: bool = option(
        False, boolean, "write the blocks of this run to the baseline", flag="--blocking-update-baseline", switch=True
    )

    sources: Mapping[str, str]

    def __init__(self, *, sources: Mapping[str, str] | None = None, **values: Any) -> None:
        unknown = values.keys() - OPTIONS.keys()
        if unknown:
            raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
        self.__dict__.update(values, sources=sources or {})

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"settings are frozen: make others by settings.replace({name}=...)")

    def replace(self, **changes: Any) -> Settings:
        """These settings with other values for some."""
        return Settings(**{**self.__dict__, **changes})

    @property
    def configured(self) -> bool:
        """Whether anybody set something for us; a variable of the environment has other readers too."""
        return any(place != OPTIONS[name].environment for name, place in self.sources.items())


OPTIONS: dict[str, Option] = {name: each for name, each in vars(Settings).items() if isinstance(each, Option)}
for _name, _option in OPTIONS.items():
    setattr(Settings, _name, _option.default)

SHARED_FLAGS = pytest.StashKey[dict[str, str]]()  # option -> the flag of another plugin that means the same
_RUN = pytest.StashKey[Settings]()
_TEST = pytest.StashKey[Settings]()


_PREFIX = "asyncapi_"


def ini_key(name: str) -> str:
    return f"{_PREFIX}{name}"


def validate(name: str, raw: Any, place: str) -> Any:
    """The value of one option; a wrong one is a pytest.UsageError that names option, place and valid values."""
    opt = OPTIONS[name]
    try:
        return opt.parse(raw)
    except ValueError as error:
        written = opt.flag if place == "command line" and opt.flag else ini_key(name)
        raise pytest.UsageError(f"{written} = {masked(repr(raw))} ({place}): {error}") from None


def read(config: pytest.Config) -> Settings:
    """The settings of the run, from command line, ini file and environment."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, opt in OPTIONS.items():
        found = _written(config, name, opt)
        if found is not None:
            raw, place = found
            # a variable of the environment has other readers too, who may mean another kind of database by it
            values[name] = raw if place == opt.environment else validate(name, raw, place)
            sources[name] = place
    run = Settings(**values, sources=sources)
    shared = [
        name for name, flag in config.stash.get(SHARED_FLAGS, {}).items() if config.getoption(flag, False) is True
    ]
    if not shared or not run.configured:  # what is said to another plugin alone makes nobody a user of ours
        return run
    return run.replace(**dict.fromkeys(shared, True), sources={**sources, **dict.fromkeys(shared, "command line")})


def check_overrides(config: pytest.Config) -> None:
    """Raise pytest.UsageError for a key of ours in `-o` that there is not. (Before pytest 9.2 nothing looks.)"""
    for each in config.getoption("override_ini", None) or ():
        key = each.partition("=")[0]
        if key.startswith(_PREFIX) and key.removeprefix(_PREFIX) not in OPTIONS:
            try:
                config.getini(key)
            except ValueError:
                check_key(key)


def check_key(unknown: str) -> None:
    """Raise pytest.UsageError for a key that nobody declared, if it has our prefix."""
    if not unknown.startswith(_PREFIX):
        return
    from difflib import get_close_matches

    near = get_close_matches(unknown.removeprefix(_PREFIX), OPTIONS, n=1)
    hint = f" (did you mean {ini_key(near[0])}?)" if near else ""
    raise pytest.UsageError(f"{unknown}: there is no such option of pytest-asyncapi{hint}")


def _written(config: pytest.Config, name: str, opt: Option) -> tuple[Any, str] | None:
    """What the user wrote for an option, and where; None when nobody wrote anything."""
    key = ini_key(name)
    given = config.getoption(key, None) if opt.flag else None
    if given is not None:
        return given, "command line"
    overridden = any(each.partition("=")[0] == key for each in config.getoption("override_ini", None) or ())
    place = "-o" if overridden or config.inipath is None else config.inipath.name
    try:
        raw = config.getini(key)
    except (TypeError, ValueError, pytest.UsageError) as error:  # pytest's own check of the ini type
        raise pytest.UsageError(f"{key} ({place}): expected {_EXPECTED[opt.ini_type]}; {error}") from None
    if raw is not None:  # the default of every key is None, so this was written somewhere
        return raw, place
    if opt.environment and os.environ.get(opt.environment):
        return os.environ[opt.environment], opt.environment
    return None


_EXPECTED = {
    "string": "a text",
    "number": 'a text, for instance "5"',
    "bool": "true or false",
    "linelist": "texts, one a line, or a list of them",
}


def settings_of(source: pytest.Config | pytest.Item | Any) -> Settings:
    """The settings of a run (given its config) or of a test (given its item), read once each.

    Raises pytest.UsageError for a wrong value of an option, and fails the test for a wrong marker.
    """
    if isinstance(source, pytest.Config):
        found = source.stash.get(_RUN, None)
        return found if found is not None else source.stash.setdefault(_RUN, read(source))
    if not isinstance(source, pytest.Item):
        return settings_of(source.config)
    found = source.stash.get(_TEST, None)
    if found is None:
        from pytest_asyncapi.markers import apply

        found = source.stash.setdefault(_TEST, apply(settings_of(source.config), source))
    return found


def header(settings: Settings) -> str | None:
    """The line of the report header: what is set, and where; None when nothing is."""
    if not settings.configured:
        return None
    shown = (f"{name}={_shown(name, getattr(settings, name))} ({place})" for name, place in settings.sources.items())
    return "asyncapi: " + ", ".join(shown)


def _shown(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    if OPTIONS[name].parse is duration:
        return f"{value:g}s" if value >= 1 else f"{value * 1000:g}ms"
    return masked(str(value))


def masked(written: str) -> str:
    """A text with the passwords of its URLs replaced."""
    from pytest_asyncapi.masking import masked

    return masked(written)
