"""What PostgreSQL takes back when a transaction commits, but not when a savepoint is released: so a sandbox does.

That is what `SET LOCAL` and `set_config(..., true)` have set, which row-level security is often built on, and
temporary tables that are made `ON COMMIT DROP`.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import Any

_SET_LOCAL = re.compile(r'\bSET\s+LOCAL\s+(TIME\s+ZONE|SESSION\s+AUTHORIZATION|"[^"]+"|[\w.]+)', re.I)
_SET_CONFIG = re.compile(
    r"\bset_config\s*\(\s*([^,]+?)\s*,\s*(.+?)\s*,\s*([^,()]*(?:\(\w+\)s)?[^,()]*?)\s*\)", re.I | re.S
)
_ON_COMMIT_DROP = re.compile(
    r'\bCREATE\s+(?:GLOBAL\s+|LOCAL\s+)?TEMP(?:ORARY)?\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:pg_temp\.)?("[^"]+"|\w+)'
    r".*\bON\s+COMMIT\s+DROP\b",
    re.I | re.S,
)
_PLACEHOLDER = re.compile(r"\$(\d+)|%\((\w+)\)s|(%s)")
_TRUE = {"true", "t", "yes", "on", "1"}
_OTHER_NAMES = {"time zone": "timezone", "session authorization": "session_authorization", "schema": "search_path"}
_numbers = itertools.count(1)


class AtCommit:
    """What is to be done when one transaction commits."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}  # a setting -> the one of ours that keeps its value
        self.statements: list[str] = []

    def before(self, sql: str, parameters: Any) -> list[str]:
        """What has to run before a statement, so that `statements` can take it back."""
        if not _may_matter(sql):
            return []
        for table in _ON_COMMIT_DROP.findall(sql):
            self.statements.append(f"DROP TABLE IF EXISTS pg_temp.{table}")
        return [self._keep(name) for name in local_settings(sql, parameters)]

    def _keep(self, name: str) -> str:
        """Keep a setting's value; a second time only if the app has rolled back to a savepoint before the first."""
        setting = "'" + name.replace("'", "''") + "'"
        if name not in self._kept:
            kept = self._kept[name] = f"asyncapi.kept_{next(_numbers)}"
            self.statements.append(
                f"SELECT set_config({setting}, substr(current_setting('{kept}', true), 2), true) "
                f"WHERE current_setting('{kept}', true) LIKE '=%'"
            )
        kept = self._kept[name]
        return (
            f"SELECT set_config('{kept}', '=' || coalesce(current_setting({setting}, true), ''), true) "
            f"WHERE coalesce(current_setting('{kept}', true), '') NOT LIKE '=%'"
        )


@lru_cache(maxsize=4096)
def _may_matter(sql: str) -> bool:
    return any(each.search(sql) is not None for each in (_SET_LOCAL, _SET_CONFIG, _ON_COMMIT_DROP))


def local_settings(sql: str, parameters: Any) -> list[str]:
    """The settings that a statement changes for its transaction alone."""
    found = []
    for match in _SET_LOCAL.finditer(sql):
        name = " ".join(match.group(1).strip('"').lower().split())
        found.append(_OTHER_NAMES.get(name, name))
    for match in _SET_CONFIG.finditer(sql):
        name, local = (_value(sql, match.start(group), match.group(group), parameters) for group in (1, 3))
        is_column = re.match(r"\w", match.group(1)) is not None
        if isinstance(name, str) and not is_column and (local is True or str(local).lower() in _TRUE):
            found.append(name)
    return [name for name in found if not name.startswith("transaction_")]


def _value(sql: str, start: int, text: str, parameters: Any) -> Any:
    """What an argument is: a literal, or one of the parameters; None for an expression."""
    text = re.sub(r"^is_local\s*=>\s*", "", text.strip(), flags=re.I)
    placeholder = _PLACEHOLDER.match(text)
    if placeholder is None:
        literal = re.match(r"'([^']*)'|(\w+)", text)
        return None if literal is None else literal.group(1) if literal.group(1) is not None else literal.group(2)
    number, name, _ = placeholder.groups()
    key: Any = int(number) - 1 if number else name or len(re.findall(r"%s", sql[:start]))
    try:
        return parameters[key]
    except (LookupError, TypeError):
        return None
