"""What a project uses besides: Redis, HTTP clients, settings that it reads from the environment, runners of tests."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_asyncapi.init.databases import read_env
from pytest_asyncapi.init.sources import Module, Project

REDIS = ("redis", "valkey", "aiocache", "cashews", "fastapi_cache")
HTTP = ("aiohttp", "httpx", "httpx2", "requests", "urllib3")
SETTINGS = ("pydantic_settings.BaseSettings", "pydantic.BaseSettings", "pydantic_settings.main.BaseSettings")


@dataclass(frozen=True)
class Required:
    """A variable of the environment that the app needs at import, and a value for it that does no harm."""

    name: str
    value: str


def installed(name: str) -> bool:
    """Whether a library could be imported; it is not."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def used(modules: list[Module], libraries: Iterable[str]) -> list[str]:
    """Those of the libraries that some modules import."""
    tops = {name.partition(".")[0] for module in modules for name in module.imported}
    return [name for name in libraries if name in tops]


def fixtures(project: Project) -> dict[str, bool]:
    """The names of the fixtures that the project's conftest files define, and whether each is used by all tests."""
    found: dict[str, bool] = {}
    for module in project.modules:
        if module.path.name != "conftest.py":
            continue
        for name, function in module.functions.items():
            for decorator in function.decorator_list:
                call = decorator if isinstance(decorator, ast.Call) else None
                if not module.dotted(call.func if call else decorator).rpartition(".")[2].endswith("fixture"):
                    continue
                given = {each.arg: each.value for each in call.keywords} if call else {}
                named, autouse = given.get("name"), given.get("autouse")
                shown = str(named.value) if isinstance(named, ast.Constant) else name
                found[shown] = isinstance(autouse, ast.Constant) and autouse.value is True
    return found


def required(project: Project, modules: list[Module], folder: Path, dialect: str) -> list[Required]:
    """What the app's settings need and no .env file gives, for a run of pytest in `folder`."""
    found: dict[str, Required] = {}
    for module in modules:
        for node in module.classes.values():
            if not any(base in SETTINGS for base in project.bases(module, node)):
                continue
            prefix, files = _configured(node)
            given: dict[str, str] = {}
            for file in files:
                given.update(read_env(folder / file))
            known = {name.upper() for name in given}
            for name, annotation in _fields_without_default(node):
                variable = f"{prefix}{name}".upper()
                if variable not in known:
                    found.setdefault(variable, Required(variable, _value(variable, ast.unparse(annotation), dialect)))
        for variable in _subscripts_of_environ(module):
            found.setdefault(variable, Required(variable, _value(variable, "str", dialect)))
    return list(found.values())


def _configured(node: ast.ClassDef) -> tuple[str, list[str]]:
    """The prefix of the variables, and the .env files, of a class of settings."""
    prefix, files = "", []
    for each in node.body:
        values: list[tuple[str | None, ast.expr]] = []
        if isinstance(each, ast.Assign | ast.AnnAssign) and isinstance(each.value, ast.Call):
            values = [(keyword.arg, keyword.value) for keyword in each.value.keywords]
        elif isinstance(each, ast.Assign) and isinstance(each.value, ast.Dict):
            pairs = zip(each.value.keys, each.value.values, strict=True)
            values = [(str(key.value), value) for key, value in pairs if isinstance(key, ast.Constant)]
        for name, value in values:
            texts = [part.value for part in ast.walk(value) if isinstance(part, ast.Constant)]
            if name == "env_prefix" and texts:
                prefix = str(texts[0])
            elif name == "env_file":
                files += [str(text) for text in texts if text]
    return prefix, files


def _fields_without_default(node: ast.ClassDef) -> list[tuple[str, ast.expr]]:
    found = []
    for each in node.body:
        if not isinstance(each, ast.AnnAssign) or not isinstance(each.target, ast.Name):
            continue
        if each.target.id == "model_config" or "ClassVar" in ast.unparse(each.annotation):
            continue
        value = each.value
        if value is None or (isinstance(value, ast.Constant) and value.value is ...):
            found.append((each.target.id, each.annotation))
        elif isinstance(value, ast.Call) and ast.unparse(value.func).endswith("Field"):
            names = {keyword.arg for keyword in value.keywords}
            first = value.args[0] if value.args else None
            unset = first is None or (isinstance(first, ast.Constant) and first.value is ...)
            if unset and names.isdisjoint({"default", "default_factory", "alias", "validation_alias"}):
                found.append((each.target.id, each.annotation))
    return found


def _subscripts_of_environ(module: Module) -> list[str]:
    """`os.environ["NAME"]` outside of functions."""
    found: list[str] = []
    waiting: list[ast.AST] = [module.tree]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and isinstance(node.slice, ast.Constant):
            found += [str(node.slice.value)] if module.dotted(node.value) == "os.environ" else []
        waiting += ast.iter_child_nodes(node)
    return found


def _value(variable: str, annotation: str, dialect: str) -> str:
    database = f"{dialect or 'postgresql+asyncpg'}://user:password@localhost/test"
    if dialect.startswith("sqlite"):
        database = f"{dialect}:///test.db"
    if "Postgres" in annotation or any(word in variable for word in ("DATABASE_UR", "DB_UR", "SQLALCHEMY", "_DSN")):
        return database
    if "Redis" in annotation or ("REDIS" in variable and variable.endswith(("_URL", "_URI", "_DSN"))):
        return "redis://localhost:6379/0"
    if "Email" in annotation:
        return "test@example.com"
    if "Url" in annotation or variable.endswith(("_URL", "_URI", "_HOST_URL")):
        return "https://example.com"
    if "Literal[" in annotation:
        first = annotation.partition("Literal[")[2].partition("]")[0].partition(",")[0]
        return first.strip("'\"")
    if annotation.startswith(("int", "float")):
        return "1"
    if annotation.startswith("bool"):
        return "false"
    if annotation.startswith(("list", "set", "tuple")):
        return "[]"
    if annotation.startswith("dict"):
        return "{}"
    return "test"
