"""Finds the engines of a project, what they speak, and where its tables are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pytest_asyncapi.init.sources import Module, Project, shown

ENGINES = {
    "sqlalchemy.create_engine": False,
    "sqlalchemy.engine.create_engine": False,
    "sqlalchemy.engine_from_config": False,
    "sqlmodel.create_engine": False,
    "sqlalchemy.ext.asyncio.create_async_engine": True,
    "sqlalchemy.ext.asyncio.async_engine_from_config": True,
    "sqlalchemy.ext.asyncio.engine.create_async_engine": True,
    "asyncpg.connect": True,
    "asyncpg.create_pool": True,
    "psycopg.connect": False,
    "psycopg.AsyncConnection.connect": True,
    "psycopg_pool.AsyncConnectionPool": True,
    "aiosqlite.connect": True,
}
DECLARATIVE = {
    "sqlalchemy.orm.DeclarativeBase",
    "sqlalchemy.orm.DeclarativeBaseNoMeta",
    "sqlalchemy.orm.declarative_base",
    "sqlalchemy.ext.declarative.declarative_base",
    "advanced_alchemy.base.UUIDBase",
    "advanced_alchemy.base.BigIntBase",
}
_DRIVERS = {"asyncpg": "postgresql", "psycopg": "postgresql", "psycopg_pool": "postgresql", "aiosqlite": "sqlite"}
TABLE = ("sqlalchemy.Table", "sqlalchemy.schema.Table")
_SCHEME = re.compile(r"^(postgres(?:ql)?|sqlite|mysql|mariadb|oracle|mssql)(\+\w+)?(?=:|$)")


@dataclass(frozen=True)
class Engine:
    """An engine that was found. `dialect` is the first part of its URL, "" where the source does not tell."""

    dialect: str
    asynchronous: bool
    call: str
    module: Module
    node: ast.AST
    at_import: bool


@dataclass(frozen=True)
class Tables:
    """Where the tables come from, as `asyncapi_schema` says it, and one class of a table to select from."""

    target: str
    count: int
    example: str = ""  # "shop.models:User"


def find_engines(project: Project, modules: list[Module]) -> list[Engine]:
    """The engines that some modules make, and bare connections of asyncpg."""
    addresses = _Addresses(project)
    found = []
    for module in modules:
        if module.path.name == "env.py" and (module.path.parent / "versions").is_dir():
            continue  # Alembic's
        for node, at_import in _calls(module.tree, True):
            dotted = module.dotted(node.func)
            if dotted in ENGINES:
                driver = _DRIVERS.get(dotted.partition(".")[0], "")
                call = dotted if driver else dotted.rpartition(".")[2]
                dialect = addresses.dialect(module, node) or driver
                found.append(Engine(dialect, ENGINES[dotted], call, module, node, at_import))
    return found


def _calls(node: ast.AST, at_import: bool) -> Iterator[tuple[ast.Call, bool]]:
    for child in ast.iter_child_nodes(node):
        inside = at_import and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.Call):
            yield child, inside
        yield from _calls(child, inside)


class _Addresses:
    """What the names of a project that stand for database addresses begin with."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def dialect(self, module: Module, call: ast.Call) -> str:
        for argument in [*call.args[:1], *(each.value for each in call.keywords if each.arg in ("url", "dsn"))]:
            found = self._in(argument, set(), 0)
            if found:
                return found
        return ""

    def _in(self, node: ast.AST, seen: set[str], depth: int) -> str:
        for each in ast.walk(node):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                match = _SCHEME.match(each.value)
                if match:
                    return match[0]
        if depth > 3:
            return ""
        for each in ast.walk(node):
            name = each.id if isinstance(each, ast.Name) else each.attr if isinstance(each, ast.Attribute) else ""
            if not name or name in seen or name in ("settings", "config", "self", "str", "os", "environ"):
                continue
            seen.add(name)
            for value in self._definitions(name):
                found = self._in(value, seen, depth + 1)
                if found:
                    return found
        for each in ast.walk(node):
            if isinstance(each, ast.Constant) and each.value in self.environment:
                match = _SCHEME.match(self.environment[str(each.value)])
                if match:
                    return match[0]
        return ""

    def _definitions(self, name: str) -> list[ast.AST]:
        found = self.project.definitions.get(name, [])
        return [*found, ast.Constant(self.environment[name])] if name in self.environment else found

    @cached_property
    def environment(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for folder in (self.project.start, *(each for each in self.project.start.iterdir() if each.is_dir())):
            for path in sorted(folder.glob(".env*")):
                found.update(read_env(path))
        return found


def read_env(path: Path) -> dict[str, str]:
    """The variables of a .env file; {} when it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and name.strip().isidentifier():
            found[name.strip()] = value.strip().strip("\"'")
    return found


# ---- tables


def find_tables(project: Project, app: Module | None) -> Tables | None:
    """The metadata of the project: of the module that knows all tables and brings the least else with it.

    `app` is the app's module, which is taken only when nothing smaller knows all.
    """
    groups = _tables_by_base(project)
    if not groups:
        return None
    base, tables = max(groups.items(), key=lambda each: len(each[1]))
    defining = {module.name for module, _ in tables}
    known = {base.removeprefix("metadata:"), *(f"{module.name}.{name}" for module, name in tables)}
    fitting = [module for module in project.own if module.path.name != "env.py" and defining <= project.reached(module)]
    for module in sorted(fitting, key=lambda each: (each is app, len(project.reached(each)), each.name)):
        names = [*module.classes, *module.values, *module.imports]
        found = [each for each in names if project.resolve(module.dotted(ast.Name(each))) in known]
        if found:
            first = min(found, key=lambda each: each != base.rpartition(".")[2])
            metadata = "" if base.startswith("metadata:") else ".metadata"  # any table's class has it too
            return Tables(f"{module.name}:{first}{metadata}", len(tables), _example(tables))
    return None


def _tables_by_base(project: Project) -> dict[str, list[tuple[Module, str]]]:
    found: dict[str, list[tuple[Module, str]]] = {}
    roots = _declarative_bases(project)
    for module in project.own:
        for name, node in module.classes.items():
            bases = list(project.bases(module, node))
            if "sqlmodel.SQLModel" in bases or "sqlmodel.main.SQLModel" in bases:
                if any(each.arg == "table" and _is_true(each.value) for each in node.keywords):
                    found.setdefault("sqlmodel.SQLModel", []).append((module, name))
                continue
            root = next((each for each in bases if each in roots), "")
            if root and not _is_abstract(node):
                found.setdefault(root, []).append((module, name))
        for values in module.values.values():
            for value in values:
                if not isinstance(value, ast.Call) or project.resolve(module.dotted(value.func)) not in TABLE:
                    continue
                if len(value.args) > 1 and isinstance(value.args[1], ast.Name):
                    metadata = project.resolve(module.dotted(value.args[1]))
                    found.setdefault(f"metadata:{metadata}", []).append((module, ""))
    return found


def _declarative_bases(project: Project) -> set[str]:
    found = set()
    for module in project.own:
        for name, node in module.classes.items():
            if any(project.resolve(module.dotted(base)) in DECLARATIVE for base in node.bases):
                found.add(f"{module.name}.{name}")
        for name, values in module.values.items():
            for value in values:
                if isinstance(value, ast.Call) and project.resolve(module.dotted(value.func)) in DECLARATIVE:
                    found.add(f"{module.name}.{name}")
    return found


def _is_abstract(node: ast.ClassDef) -> bool:
    return any(
        isinstance(each, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "__abstract__" for target in each.targets)
        and _is_true(each.value)
        for each in node.body
    )


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _example(tables: list[tuple[Module, str]]) -> str:
    return next((f"{module.name}:{name}" for module, name in tables if name), "")


def find_alembic(project: Project, near: Path) -> str:
    """The path of the alembic.ini from the folder where pytest runs; "" when there is none."""
    for folder in (near, project.start):
        if (folder / "alembic.ini").exists():
            return shown(folder / "alembic.ini", near)
    return ""
