"""Which of an app's databases is which.

An app may have several databases of one kind. They are told apart by the name in their addresses: the database's, or
the path of SQLite's file. Host, port, user and driver do not count, so that a replica, or a second driver, comes to the
same database. `asyncapi_schema` may give each a schema of its own: by name, or by the engine that connects to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

from pytest_asyncapi.database.targets import Address
from pytest_asyncapi.errors import ConfigurationError
from pytest_asyncapi.values import NothingOfThatName, by_name

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[\w.]+")
_LINE = re.compile(r"\s*(\S+)\s*=\s*(\S.*?)\s*")


class Key(NamedTuple):
    """A database of the harness. The label of the main one of a dialect is empty."""

    dialect: str
    label: str = ""


@dataclass(frozen=True)
class Entry:
    """One line of a schema that is a mapping: a database, and where its tables come from."""

    label: str
    tables: Any
    dialect: str = ""  # of the engine that was named; unknown for a name
    name: str = ""

    def answers(self, dialect: str, name: str) -> bool:
        """Whether the database `name` of a dialect is meant."""
        if self.dialect:
            return (self.dialect, self.name) == (dialect, name)
        return called(self.label, dialect, name)


def called(label: str, dialect: str, name: str) -> bool:
    """Whether a user may say `label` for a database: a file's name will do, without its suffix too."""
    if label == name:
        return True
    path = PurePath(name)
    return dialect == "sqlite" and (label in (path.name, path.stem) or os.path.abspath(label) == name)


def name_of(address: Address) -> str:
    """What tells the database of an address from others of its dialect."""
    if address.dialect != "sqlite":
        return address.database or address.user
    path = address.database
    if path.startswith("file:"):
        path = path.removeprefix("file:").partition("?")[0]
        path = re.sub(r"^//[^/]*(?=/)", "", path)
    return os.path.abspath(path)


def address_of_url(url: Any) -> Address:
    """The address in a URL of SQLAlchemy's."""
    return Address(url.get_backend_name(), "", url.host or "", url.port, url.username or "", url.database or "")


def entries_of(given: Any) -> list[Entry]:
    """The lines of a schema that is a mapping, from a dictionary or from a setting; none if it is not one."""
    if isinstance(given, str) and "=" in given:
        matches = [_LINE.fullmatch(line) for line in given.splitlines() if line.strip()]
        if not all(matches):
            raise ConfigurationError(
                f"the schema of the test database cannot be {given!r}. For several databases it has a line each:\n"
                "  main = package.models:Base.metadata\n"
                "  package.database:analytics_engine = analytics.sql"
            )
        given = {match[1]: match[2] for match in matches if match is not None}
    if not isinstance(given, Mapping):
        return []
    return [_entry(key, tables) for key, tables in given.items()]


def _entry(key: Any, tables: Any) -> Entry:
    if isinstance(key, str) and "://" not in key and not _REFERENCE.fullmatch(key):
        return Entry(key, tables)
    from sqlalchemy import make_url

    label, found = (key if isinstance(key, str) else ""), key
    if isinstance(key, str) and "://" not in key:
        try:
            found = by_name(key, "shop.database:engine")
        except NothingOfThatName as error:
            raise ConfigurationError(f"the schema of the test database, {key!r}: {error}") from None
    try:
        address = address_of_url(make_url(getattr(found, "url", found)))
    except Exception:
        raise ConfigurationError(
            f"the schema of the test database: {key!r} is neither the name of a database, nor an engine, nor a URL"
        ) from None
    name = name_of(address)
    return Entry(label if label and "://" not in label else shown(name), tables, address.dialect, name)


def shown(name: str) -> str:
    """A name for people: of a file, its last part."""
    return PurePath(name).name if os.sep in name else name
