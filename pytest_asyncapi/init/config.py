"""The configuration file of pytest in a folder: which one it is, what it says already, and how a key is added."""

from __future__ import annotations

import configparser
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

Value = str | list[str]


@dataclass(frozen=True)
class ConfigFile:
    """`table` is the heading below which the keys stand, without its brackets."""

    path: Path
    table: str
    has_table: bool
    keys: dict[str, object]

    @property
    def is_toml(self) -> bool:
        return self.path.suffix == ".toml"

    def block(self, values: dict[str, Value], notes: dict[str, str]) -> str:
        """The keys as they are to be written in this file, below their heading. `notes` are comments of some."""
        return f"[{self.table}]\n{self.lines(values, notes)}"

    def lines(self, values: dict[str, Value], notes: dict[str, str]) -> str:
        text = ""
        for key, value in values.items():
            note = notes.get(key, "")
            if self.is_toml:
                shown = f"[{', '.join(_toml(each) for each in value)}]" if isinstance(value, list) else _toml(value)
                text += f"{key} = {shown}" + (f"  # {note}\n" if note else "\n")
            else:
                shown = " ".join(value) if isinstance(value, list) else value
                text += (f"# {note}\n" if note else "") + f"{key} = {shown}\n"
        return text

    def with_keys(self, values: dict[str, Value], notes: dict[str, str]) -> str:
        """The whole text of the file with the keys added; nothing else of it is changed.

        Raises ValueError where that cannot be done safely: the table is written in a way of its own.
        """
        text = self.path.read_bytes().decode("utf-8") if self.path.exists() else ""
        newline = "\r\n" if "\r\n" in text else "\n"
        if not self.has_table:
            gap = "" if not text else newline if text.endswith("\n") else newline * 2
            changed = text + gap + self.block(values, notes).replace("\n", newline)
        else:
            heading = re.search(
                rf"^\[\s*{re.escape(self.table)}\s*\][^\S\n]*(?:[#;][^\n]*)?(?:\n|\Z)", text, re.MULTILINE
            )
            if heading is None:
                raise ValueError(f"there is no line [{self.table}] in it to write them below")
            head = text[: heading.end()]
            if not head.endswith("\n"):
                head += newline
            changed = head + self.lines(values, notes).replace("\n", newline) + text[heading.end() :]
        before, after = _read(self.path, text)[self.table], _read(self.path, changed)[self.table]
        if {**(before or {}), **values} != {key: _same(value, values.get(key)) for key, value in (after or {}).items()}:
            raise ValueError("its text cannot be added to without changing what it says")
        return changed


def _same(found: object, wanted: Value | None) -> object:
    """The value of an ini file, which knows texts only, as the list that it stands for."""
    return found.split() if isinstance(wanted, list) and isinstance(found, str) else found


def _toml(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


TABLES = {
    "pytest.toml": ("pytest",),
    ".pytest.toml": ("pytest",),
    "pytest.ini": ("pytest",),
    ".pytest.ini": ("pytest",),
    "pyproject.toml": ("tool.pytest", "tool.pytest.ini_options"),
    "tox.ini": ("pytest",),
    "setup.cfg": ("tool:pytest",),
}


def config_file(folder: Path) -> ConfigFile:
    """The file that pytest reads in a folder, by its own order; else the pyproject.toml, else a new pytest.ini.

    Raises ValueError when a file cannot be parsed.
    """
    for name, tables in TABLES.items():
        path = folder / name
        if not path.exists():
            continue
        found = _read(path, path.read_bytes().decode("utf-8"))
        for table in tables:
            keys = found.get(table)
            if keys is None or (table == "tool.pytest" and keys.keys() <= {"ini_options"}):
                continue
            return ConfigFile(path, table, True, keys)
        if name in ("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"):
            return ConfigFile(path, tables[0], False, {})
    if (folder / "pyproject.toml").exists():
        return ConfigFile(folder / "pyproject.toml", "tool.pytest.ini_options", False, {})
    return ConfigFile(folder / "pytest.ini", "pytest", False, {})


def _read(path: Path, text: str) -> dict[str, dict[str, object] | None]:
    """What stands under each of the headings that pytest reads."""
    tables = TABLES[path.name]
    if path.suffix == ".toml":
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path.name} is not valid: {error}") from None
        found: dict[str, dict[str, object] | None] = {}
        for table in tables:
            part: object = document
            for name in table.split("."):
                part = part.get(name) if isinstance(part, dict) else None
            found[table] = part if isinstance(part, dict) else None
        return found
    parser = configparser.RawConfigParser(strict=False, delimiters=("=", ":"), allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ValueError(f"{path.name} is not valid: {error}") from None
    return {table: dict(parser.items(table)) if parser.has_section(table) else None for table in tables}
