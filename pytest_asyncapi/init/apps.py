"""Finds the ASGI apps of a project in its source."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_asyncapi.init.sources import FunctionDef, Module, Project

FRAMEWORKS = {
    "fastapi.FastAPI": "FastAPI",
    "fastapi.applications.FastAPI": "FastAPI",
    "starlette.applications.Starlette": "Starlette",
    "litestar.Litestar": "Litestar",
    "litestar.app.Litestar": "Litestar",
    "quart.Quart": "Quart",
    "quart.app.Quart": "Quart",
    "django.core.asgi.get_asgi_application": "Django",
    "channels.routing.ProtocolTypeRouter": "Django Channels",
    "blacksheep.Application": "BlackSheep",
    "falcon.asgi.App": "Falcon",
}
RAW = "a plain ASGI app"
ASGI_PARAMETERS = ["scope", "receive", "send"]


@dataclass(frozen=True)
class App:
    """An app that was found. `target` is what `asyncapi_app` says; `needs` are what a factory must be given."""

    target: str
    framework: str
    module: Module
    node: ast.AST
    factory: bool = False
    needs: tuple[str, ...] = ()
    call: ast.Call | None = None  # where the framework's class is called

    @property
    def name(self) -> str:
        return self.target.partition(":")[2].removesuffix("()")


def find_apps(project: Project) -> list[App]:
    """Every app and every factory of an app, without those that another app mounts and those of tests and examples."""
    found: list[App] = []
    mounted = _mounted(project)
    for module in project.own:
        found += _instances(project, module, mounted)
    made = {_made_by(project, app) for app in found}
    for module in project.own:
        for name, function in module.functions.items():
            if f"{module.name}.{name}" in made or name.startswith("_"):
                continue
            if _is_raw(function):
                found.append(App(f"{module.name}:{name}", RAW, module, function))
            elif (maker := _made_in(project, module, function)) is not None:
                needs = required(function)
                target = f"{module.name}:{name}" if needs else f"{module.name}:{name}()"
                found.append(App(target, maker[0], module, function, True, needs, maker[1]))
    return found


def choose(project: Project, apps: list[App], named: str = "") -> list[App]:
    """The apps that are left when what the project says of itself is heard: one, if that is clear.

    `named` is what the user's `asyncapi_app` says.
    """
    if named:
        wanted = named.removesuffix("()")
        return [replace(app, target=named) for app in apps if app.target.removesuffix("()") == wanted]
    if len(apps) > 1:
        said = deployed(project)
        hinted = [app for app in apps if any(_is_said(app, each) for each in said)]
        if len(hinted) == 1:
            return hinted
    return apps


def _instances(project: Project, module: Module, mounted: set[str]) -> list[App]:
    found = []
    for name, values in module.values.items():
        if f"{module.name}.{name}" in mounted:
            continue
        for value in values:
            framework, call = framework_of(project, module, value)
            if framework:
                found.append(App(f"{module.name}:{name}", framework, module, value, call=call))
                break
    return found


def framework_of(project: Project, module: Module, value: ast.expr, depth: int = 0) -> tuple[str, ast.Call | None]:
    """The framework of the app that an expression makes, and the call that makes it; ("", None) for anything else."""
    if not isinstance(value, ast.Call) or depth > 5:
        return "", None
    dotted = project.resolve(module.dotted(value.func))
    if dotted in FRAMEWORKS:
        return FRAMEWORKS[dotted], value
    of_class = project.class_of(dotted)
    if of_class is not None:
        for base in project.bases(*of_class):
            if base in FRAMEWORKS:
                return FRAMEWORKS[base], value
        if any(isinstance(each, ast.AsyncFunctionDef) and _is_call(each) for each in of_class[1].body):
            arguments = [*value.args, *(each.value for each in value.keywords)]
            return ("", None) if arguments else (RAW, value)
    of_function = project.function_of(dotted)
    if of_function is not None:
        return _made_in(project, *of_function, depth + 1) or ("", None)
    for argument in [*value.args[:1], *(each.value for each in value.keywords if each.arg == "app")]:
        found = framework_of(project, module, argument, depth + 1)  # a middleware around the app
        if found[0]:
            return found
    return "", None


def _made_in(
    project: Project, module: Module, function: FunctionDef, depth: int = 0
) -> tuple[str, ast.Call | None] | None:
    """The framework of the app that a function returns, if it does."""
    if isinstance(function, ast.AsyncFunctionDef) or depth > 5:
        return None
    made: dict[str, tuple[str, ast.Call | None]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            found = framework_of(project, module, node.value, depth + 1)
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if found[0] and isinstance(target, ast.Name):
                    made.setdefault(target.id, found)
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            if isinstance(node.value, ast.Name) and node.value.id in made:
                return made[node.value.id]
            found = framework_of(project, module, node.value, depth + 1)
            if found[0]:
                return found
    if function.returns is not None:
        framework = FRAMEWORKS.get(project.resolve(module.dotted(function.returns)))
        if framework:
            return framework, None
    return None


def _made_by(project: Project, app: App) -> str:
    """The function of the project that makes an app, "shop.main.create_app"."""
    return project.resolve(app.module.dotted(app.node.func)) if isinstance(app.node, ast.Call) else ""


def _is_raw(function: FunctionDef) -> bool:
    names = [each.arg for each in function.args.args]
    return isinstance(function, ast.AsyncFunctionDef) and names == ASGI_PARAMETERS


def _is_call(function: ast.AsyncFunctionDef) -> bool:
    return function.name == "__call__" and [each.arg for each in function.args.args][1:] == ASGI_PARAMETERS


def required(function: FunctionDef) -> tuple[str, ...]:
    """The arguments of a function that have no default."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    found = [each.arg for each in plain[: len(plain) - len(arguments.defaults)]]
    found += [
        each.arg for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if not default
    ]
    return tuple(found)


def _mounted(project: Project) -> set[str]:
    """The dotted names of what is mounted in another app."""
    found: set[str] = set()
    for module in project.own:
        if "ount(" not in module.text:  # mount(), Mount()
            continue
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else module.dotted(node.func)
            if name == "mount" or name.rpartition(".")[2] == "Mount":
                for argument in [*node.args, *(each.value for each in node.keywords)]:
                    found.add(project.resolve(module.dotted(argument)))
    return found - {""}


# ---- what the project says of itself

_SAYING = (
    "Dockerfile*",
    "Procfile*",
    "docker-compose*.y*ml",
    "compose*.y*ml",
    "Makefile",
    "justfile",
    "*.sh",
    "*.toml",
)
_TARGET = re.compile(r"(?<![\w/.:@])([A-Za-z_][\w.]*:[A-Za-z_]\w*)")
_FILE = re.compile(r"fastapi\s+(?:run|dev)\b[^\n]*?([\w./-]+\.py)")


def deployed(project: Project) -> set[str]:
    """What a Dockerfile, a Procfile, `uvicorn.run()` and the like start: "shop.main:app", or the path of a file."""
    found: set[str] = set()
    for folder in (project.start, *(each for each in project.start.iterdir() if each.is_dir())):
        for pattern in _SAYING:
            for path in folder.glob(pattern):
                try:
                    text = path.read_text(encoding="utf-8", errors="replace")
                except OSError:
                    continue
                found.update(_TARGET.findall(text))
                found.update(_FILE.findall(re.sub(r"[\"',\[\]]+", " ", text)))
    for module in project.own:
        if "uvicorn" not in module.text:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and module.dotted(node.func) == "uvicorn.run" and node.args:
                argument = node.args[0]
                if isinstance(argument, ast.Constant):
                    found.add(str(argument.value))
                else:
                    module_name, _, name = project.resolve(module.dotted(argument)).rpartition(".")
                    found.add(f"{module_name}:{name}")
    return found


def _is_said(app: App, said: str) -> bool:
    if said.endswith(".py"):
        return app.module.path.as_posix().endswith("/" + Path(said).as_posix().lstrip("./"))
    module, _, name = said.partition(":")
    return name == app.name and (app.module.name == module or app.module.name.endswith(f".{module}"))
