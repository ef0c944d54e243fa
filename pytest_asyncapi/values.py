"""From what the user wrote to the value of a setting.

Each parser takes the text of a command line or an ini file, or the object of a TOML file or a marker, and returns the
value, or raises ValueError(what was expected).
"""

from __future__ import annotations

import importlib
import math
import numbers
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

Parser = Callable[[Any], Any]


def text(raw: Any) -> str:
    return str(raw).strip()


def boolean(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    word = str(raw).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError("expected true or false")


def lines(raw: Any) -> tuple[str, ...]:
    values = raw.splitlines() if isinstance(raw, str) else raw
    if not isinstance(values, (list, tuple, set, frozenset)):
        raise ValueError("expected texts, one a line, or a list of them")  # noqa: TRY004 (the parsers' one error)
    return tuple(value for value in (str(each).strip() for each in values) if value)


def hosts(raw: Any) -> tuple[str, ...]:
    from pytest_asyncapi.errors import ConfigurationError
    from pytest_asyncapi.wire.hosts import Hosts

    names = lines(raw)
    try:
        Hosts(names)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return names


def one_of(*valid: str) -> Parser:
    def parse(raw: Any) -> str:
        word = str(raw).strip()
        if word not in valid:
            raise ValueError(f"expected one of {', '.join(valid)}")
        return word

    return parse


_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "min": 60.0}


def duration(raw: Any) -> float:
    """Seconds, from a number of seconds or a text such as `50ms`, `1.5s`, `2min`."""
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        seconds = float(raw)
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s|min|)", str(raw).strip())
        seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError("expected a duration such as 50ms, 1.5s or 2min")
    return seconds


def whole_number(raw: Any) -> int:
    if isinstance(raw, bool) or not re.fullmatch(r"\d+", str(raw).strip()):
        raise ValueError("expected a whole number, zero or more")
    return int(raw)


def web_url(raw: Any) -> str:
    word = str(raw).strip()
    if not re.match(r"https?://[^/\s]", word):
        raise ValueError("expected a URL such as http://testserver")
    return word


def wall_clock(raw: Any) -> Any:
    """False, True, or the moment at which the wall clock of a test starts: a date, or its text."""
    if not isinstance(raw, str):
        return raw
    word = raw.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("", "0", "false", "no", "off"):
        return False
    from datetime import datetime

    try:
        datetime.fromisoformat(raw.strip())
    except ValueError:
        raise ValueError("expected true, false, or a date such as 2030-01-31T12:00Z") from None
    return raw.strip()


def database_choice(raw: Any) -> str:
    word = str(raw).strip()
    if word in ("auto", "postgresql", "sqlite", "none") or re.match(r"(postgres(ql)?|sqlite)(\+\w+)?:/", word):
        return word
    raise ValueError(
        "expected one of auto, postgresql, sqlite, none (the app keeps its own), or a URL such as postgresql://localhost/"
    )


def server_url(raw: Any) -> str:
    word = str(raw).strip()
    if word and not re.match(r"postgres(ql)?(\+\w+)?://", word):
        raise ValueError("expected the URL of a PostgreSQL server, such as postgresql://postgres@localhost:5432/")
    return word


def number_of_seconds(what: str, value: object) -> float:
    """A finite number of seconds, zero or more, for the argument of `what`. Raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{what} takes a number of seconds, not {value!r}")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{what} takes a finite number of seconds, zero or more, not {value!r}")
    return float(value)


class NothingOfThatName(Exception):
    """What was written names nothing; why, in words."""


def by_name(name: str, example: str) -> Any:
    """What `package.module:attribute` names in the user's code; `example` is such a name, for the error.

    Raises NothingOfThatName, and lets through what the module itself raises.
    """
    __tracebackhide__ = True
    module_name, colon, path = name.partition(":")
    if not colon or not module_name or not path:
        raise NothingOfThatName(f"expected 'package.module:attribute', for instance {example!r}")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # a module that this one imports: its own error
        raise NothingOfThatName(
            f"there is no module {error.name!r}. Is it installed, or is its folder in pytest's `pythonpath` "
            '(for instance pythonpath = ["."] or ["src"])?'
        ) from None
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            kind = f"module {found.__name__!r}" if isinstance(found, ModuleType) else repr(found)
            raise NothingOfThatName(f"{kind} has no attribute {part!r}{_suggestion(found, part)}") from None
    return found


def _suggestion(value: Any, wanted: str) -> str:
    import difflib

    names = [name for name in vars(value) if not name.startswith("_")] if isinstance(value, ModuleType) else []
    close = difflib.get_close_matches(wanted, names, 1, 0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
