"""The table of the settings declared to pytest: ini keys, and flags of the command line."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_asyncapi.settings import OPTIONS, SHARED_FLAGS, Option, ini_key


def add_options(parser: pytest.Parser) -> None:
    """Declare every ini key of the table, and every flag that takes a value."""
    group = _group(parser)
    for name, opt in OPTIONS.items():
        parser.addini(ini_key(name), opt.help, type=_ini_type(opt), default=None)
        if opt.flag is None or opt.switch:
            continue
        more = {} if opt.flag_value is None else {"nargs": "?", "const": opt.flag_value}
        group.addoption(opt.flag, dest=ini_key(name), default=None, metavar=opt.metavar, help=opt.help, **more)


def add_switches(config: pytest.Config, parser: pytest.Parser) -> None:
    """Declare the flags that take no value, but those that another plugin or a conftest file has declared.

    Their names are common ones, and pytest does not start where a flag is declared twice. So this is called when all
    others have declared theirs. A `shared` flag of another's then counts for us too (see `settings.read`); another
    that is taken can still be written as `-o asyncapi_live=true`.
    """
    group = _group(parser)
    switches = {opt.flag: name for name, opt in OPTIONS.items() if opt.flag is not None and opt.switch}
    taken = () if _free(parser, *switches) else [flag for flag in switches if not _free(parser, flag)]
    for flag, name in switches.items():
        opt, dest = OPTIONS[name], ini_key(name)
        if flag not in taken:
            group.addoption(flag, dest=dest, action="store_const", const="true", default=None, help=opt.help)
        elif opt.shared:
            config.stash.setdefault(SHARED_FLAGS, {})[name] = flag


def _free(parser: pytest.Parser, *flags: str) -> bool:
    """Has nobody declared any of these? (Before pytest 9.2, `config.getoption` misses one without a default.)"""
    try:
        _, unknown = parser.parse_known_and_unknown_args(list(flags))
    except pytest.UsageError:  # one that takes a value
        return False
    return set(flags) <= set(unknown)


def _group(parser: pytest.Parser) -> pytest.OptionGroup:
    return parser.getgroup("asyncapi", "async APIs (pytest-asyncapi)")


def _ini_type(opt: Option) -> Any:
    if opt.ini_type != "number":
        return opt.ini_type
    # What the native [tool.pytest] table of TOML may hold. Before pytest 9.2 a key has one type: there, write "5".
    return str | int | float if pytest.version_tuple >= (9, 2) else "string"


def complete_bare_flags(args: list[str]) -> bool:
    """Give the bare `--detect-blocking` its value, in place, so that it does not swallow the path behind it.

    Returns whether anything was changed.
    """
    bare = {opt.flag: opt.flag_value for opt in OPTIONS.values() if opt.flag and opt.flag_value}
    found = [index for index, arg in enumerate(args) if arg in bare]
    for index in found:
        args[index] = f"{args[index]}={bare[args[index]]}"
    return bool(found)
