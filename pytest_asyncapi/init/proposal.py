"""What to write for a project: its configuration, a conftest file where it needs one, and a first test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pytest_asyncapi.init import apps, config, databases, libraries
from pytest_asyncapi.init.sources import FunctionDef, Project, shown

Runner = Literal["asyncio", "anyio"]


@dataclass
class Findings:
    """What was found in a project. `app` is None where there is no app, or several, which `candidates` then lists."""

    project: Project
    candidates: list[apps.App]
    app: apps.App | None
    home: Path  # where pytest runs
    config: config.ConfigFile
    engines: list[databases.Engine] = field(default_factory=list)
    tables: databases.Tables | None = None
    alembic: str = ""
    redis: list[str] = field(default_factory=list)
    http: list[str] = field(default_factory=list)
    required: list[libraries.Required] = field(default_factory=list)
    fixtures: dict[str, bool] = field(default_factory=dict)  # their names: are they used by all tests?


@dataclass
class Proposal:
    """`keys` are those that the configuration lacks; `conftest` is "" where none is needed."""

    keys: dict[str, config.Value]
    comments: dict[str, str]
    test_path: Path
    test: str
    conftest_path: Path
    conftest: str
    notes: list[str]


def look(start: Path, named: str = "") -> Findings:
    """Read the project below a folder. `named` is what the user's `asyncapi_app` says.

    Raises ValueError when its configuration file is not valid.
    """
    project = Project(start)
    found = apps.find_apps(project)
    home = _home(found[0].module.path, start) if found else start
    file = config.config_file(home)
    named = named or str(file.keys.get("asyncapi_app") or "")
    chosen = apps.choose(project, found, named)
    app = chosen[0] if len(chosen) == 1 else None
    if app is not None:
        home = _home(app.module.path, start)
        file = config.config_file(home)
    findings = Findings(project, chosen or found, app, home, file)
    if app is not None:
        reached = project.reached(app.module)
        parts = [module for module in project.own if module.name in reached]
        findings.engines = databases.find_engines(project, parts)
        findings.tables = databases.find_tables(project, app.module)
        findings.alembic = databases.find_alembic(project, home)
        findings.redis = libraries.used(parts, libraries.REDIS)
        findings.http = libraries.used(parts, libraries.HTTP)
        dialect = next((engine.dialect for engine in findings.engines if engine.dialect), "")
        findings.required = libraries.required(project, parts, home, dialect)
        findings.fixtures = libraries.fixtures(project)
    return findings


def _home(path: Path, start: Path) -> Path:
    """The nearest folder above a file that has a configuration file of its own, up to where the search began."""
    folder = path.parent
    while folder != start and not any((folder / name).exists() for name in (*config.TABLES, "setup.py")):
        folder = folder.parent
    return folder


def propose(findings: Findings, runner: Runner, *, trio: bool, neighbours: bool) -> Proposal:
    """What to write. `findings.app` must be there.

    `trio`: it is installed, so anyio would run each test on it as well. `neighbours`: another plugin (pytest-django)
    has a fixture `client` too.
    """
    app = findings.app
    assert app is not None
    present = findings.config.keys
    values: dict[str, config.Value] = {}
    comments: dict[str, str] = {}
    notes: list[str] = []
    root = shown(app.module.root, findings.home)
    values["pythonpath"] = [root]
    if runner == "asyncio":
        values["asyncio_mode"] = "auto"
        values["asyncio_default_fixture_loop_scope"] = "function"
    else:
        values["anyio_mode"] = "auto"
    values["asyncapi_app"] = app.target
    if app.needs:
        del values["asyncapi_app"]
        notes.append(
            f"The factory {app.target} needs arguments ({', '.join(app.needs)}): call it in the fixture asgi_app of "
            "the conftest.py above."
        )
        values["asyncapi_names"] = "true"
    tables = findings.tables
    if tables is not None and (findings.engines or findings.alembic):
        values["asyncapi_schema"] = tables.target
        if findings.alembic:
            comments["asyncapi_schema"] = f'or "{findings.alembic}", to build the tables by the migrations'
    elif findings.alembic:
        values["asyncapi_schema"] = findings.alembic
    synchronous = [each for each in findings.engines if not each.asynchronous]
    if synchronous:
        values["asyncapi_isolation"] = "commit"
        comments["asyncapi_isolation"] = "for the engine that is not async; without it leave this line out"
    if findings.engines and "asyncapi_schema" not in values:
        notes.append(
            "No module was found that knows all tables: define the fixture db_schema in conftest.py, or set "
            "asyncapi_schema to a .sql file."
        )
    missing = {key: value for key, value in values.items() if key not in present}
    notes += _notes(findings, values)
    folder = _test_folder(findings)
    test = _test(findings, runner, trio=trio, neighbours=neighbours)
    conftest = _conftest(findings)
    conftest_path = folder / "conftest.py"
    if conftest and conftest_path.exists():
        notes.append(f"{shown(conftest_path, findings.project.start)} is there already: add these lines to it by hand.")
    return Proposal(missing, comments, folder / "test_first_steps.py", test, conftest_path, conftest, notes)


# ---- notes

_EXTRAS = {  # what an app uses: the library that the harness needs for it, and the extra that brings it
    "sqlalchemy": ("sqlalchemy", "sqlalchemy"),
    "postgresql": ("asyncpg", "postgres"),
    "sqlite": ("aiosqlite", "sqlalchemy"),
    "redis": ("fakeredis", "redis"),
}


def _notes(findings: Findings, values: dict[str, config.Value]) -> list[str]:
    notes = []
    present = findings.config.keys
    for key, value in values.items():
        if key in ("asyncapi_app", "asyncapi_schema", "asyncio_mode") and key in present and present[key] != value:
            notes.append(f"{key} = {present[key]!r} is set already, and is left as it is.")
    paths = present.get("pythonpath")
    if paths is not None and str(values["pythonpath"][0]) not in (
        paths if isinstance(paths, list) else str(paths).split()
    ):
        notes.append(f"pythonpath is set already: add {values['pythonpath'][0]!r} to it if the app is not found.")
    needed = []
    dialects = {engine.dialect.partition("+")[0] for engine in findings.engines}
    for dialect in sorted(dialects - {"", "postgresql", "postgres", "sqlite"}):
        notes.append(f'The database is {dialect}, which the harness cannot make: set asyncapi_database = "none".')
    uses = [each for each in ("postgresql", "sqlite") if each in dialects] + (["redis"] if findings.redis else [])
    for use in uses:
        library, extra = _EXTRAS[use]
        if not libraries.installed(library):
            needed.append(extra)
    if needed:
        notes.append(f"Not installed yet: pip install 'pytest-asyncapi[{','.join(dict.fromkeys(needed))}]'")
    for name in ("requests", "urllib3"):
        if name in findings.http:
            notes.append(f"{name} is used: `upstream` does not answer it, the guard refuses it.")
    if findings.app is not None and findings.app.framework.startswith("Django"):
        notes.append("The connections of Django's own ORM are not redirected: keep pytest-django for them.")
    always = [name for name, autouse in findings.fixtures.items() if autouse]
    if always:
        notes.append(
            f"Fixtures of your conftest.py are used by all tests, these too ({', '.join(always)}): what they need, "
            "such as a database of their own, has to be there."
        )
    for text in findings.project.unreadable[:5]:
        notes.append(f"Not read: {text}")
    return notes


# ---- the texts


def _test_folder(findings: Findings) -> Path:
    """Where the project keeps its tests: what `testpaths` says, else a folder `tests`."""
    paths = findings.config.keys.get("testpaths")
    listed = paths if isinstance(paths, list) else str(paths or "").split()
    for name in listed:
        if (findings.home / str(name)).is_dir():
            return findings.home / str(name)
    beside = [module.path.parent for module in findings.project.modules if module.path.name == "conftest.py"]
    beside = [each for each in beside if each.name in ("tests", "test") and each.is_relative_to(findings.home)]
    return min(beside, key=lambda each: len(each.parts)) if beside else findings.home / "tests"


def _test(findings: Findings, runner: Runner, *, trio: bool, neighbours: bool) -> str:
    strict = findings.config.keys.get(f"{runner}_mode") not in (None, "", "auto")
    tables = findings.tables if findings.engines or findings.alembic else None
    example = tables.example if tables is not None else ""
    names = findings.fixtures
    client = "asyncapi_client" if "client" in names or neighbours else "client"
    session = "asyncapi_db_session" if "db_session" in names else "db_session"
    imports, head, body = "", "", ""
    if strict or (runner == "anyio" and trio):
        imports += "import pytest\n"
    if example:
        imports += "from sqlalchemy import select\n"
    if example:
        module, _, name = example.partition(":")
        imports += f"\nfrom {module} import {name}\n"
    if strict:
        head += f"\npytestmark = pytest.mark.{runner}\n"
    if runner == "anyio" and trio and "anyio_backend" not in names:
        head += '\n\n@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n'
    path, certain = _path_to_ask(findings)
    wanted = "== 200" if certain else "< 500  # what does it answer? Say it here"
    body += f'\n\nasync def test_the_app_answers({client}):\n    response = await {client}.get("{path}")\n\n'
    body += f"    assert response.status_code {wanted}\n"
    if example:
        body += f"\n\nasync def test_the_table_is_there_and_empty({session}):\n"
        body += f"    assert (await {session}.scalars(select({name}))).all() == []\n"
    text = f'"""The first tests: the app, unchanged, in this process."""\n\n{imports}{head}{body}'
    return text.replace('"""\n\n\n\n', '"""\n\n\n')


def _path_to_ask(findings: Findings) -> tuple[str, bool]:
    """A path of the app, and whether it is sure to be answered by 200.

    A handler of its own says more than the schema of the API, but it is taken only where it awaits nothing: what it
    would wait for (a service, a database without tables) is not there in a first test.
    """
    app = findings.app
    assert app is not None
    for node in ast.walk(app.module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _stands_alone(node):
            for path in _paths_of(app, node):
                return path, False
    if app.framework == "FastAPI" and app.call is not None:
        given = {each.arg: each.value for each in app.call.keywords}
        if None not in given and "openapi_url" not in given:
            return "/openapi.json", True
        text = findings.project.text_of(given["openapi_url"]) if "openapi_url" in given else ""
        if text.startswith("/"):
            return text, True
    return "/", False


def _stands_alone(handler: FunctionDef) -> bool:
    """Whether a handler takes no arguments and waits for nothing, as far as its source shows."""
    names = {each.id for each in ast.walk(handler) if isinstance(each, ast.Name)}
    waits = any(isinstance(each, ast.Await | ast.AsyncWith | ast.AsyncFor) for each in ast.walk(handler))
    return not handler.args.args and not waits and names.isdisjoint(libraries.HTTP)


def _paths_of(app: apps.App, handler: FunctionDef) -> Iterator[str]:
    """The paths without parameters that the app's own decorators give a handler: `@app.get("/health")`."""
    for each in handler.decorator_list:
        if not isinstance(each, ast.Call) or not isinstance(each.func, ast.Attribute) or len(each.args) != 1:
            continue
        path, owner = each.args[0], each.func.value
        of_app = isinstance(owner, ast.Name) and owner.id == app.name and each.func.attr in ("get", "route")
        if of_app and not each.keywords and isinstance(path, ast.Constant):
            text = str(path.value)
            if text.startswith("/") and not set("{<:") & set(text):
                yield text


def _conftest(findings: Findings) -> str:
    app = findings.app
    assert app is not None
    text = ""
    if findings.required:
        text += (
            '"""The settings that the app reads when it is imported; no test reaches what they name."""\n\nimport os\n'
        )
    if app.needs:
        text += "\nimport pytest\n" if text else "import pytest\n"
    if findings.required:
        text += "\n" + "".join(f'os.environ.setdefault("{each.name}", "{each.value}")\n' for each in findings.required)
    if app.needs:
        module, _, name = app.target.partition(":")
        arguments = ", ".join(f"{each}=..." for each in app.needs)
        text += f'\n\n@pytest.fixture(scope="session")\ndef asgi_app():\n    from {module} import {name}\n\n'
        text += f"    return {name}({arguments})  # write the arguments here\n"
    return text
