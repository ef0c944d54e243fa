"""The words of `pytest --asyncapi-init`."""

from __future__ import annotations

from pytest_asyncapi.init.proposal import Findings, Proposal
from pytest_asyncapi.init.sources import shown

NO_APP = """\
There is no ASGI app in {folder} ({count}).
Looked for: FastAPI(), Starlette(), Litestar(), Quart(), get_asgi_application() and the like, functions that return one,
and `async def app(scope, receive, send)`, in .py files outside of tests, examples and virtual environments.
{more}Run it in the folder of your project, or say where the app is:

    pytest --asyncapi-init -o asyncapi_app=package.module:app
"""
NO_SUCH_APP = "asyncapi_app = {named!r}: no such app was found.{others}\n"
SEVERAL = """\
There are several apps:

{apps}

Say which one to test:

    pytest --asyncapi-init -o asyncapi_app={first}
"""


def no_app(findings: Findings) -> str:
    project = findings.project
    count = len(project.modules)
    more = "".join(f"Not read: {text}\n" for text in project.unreadable[:5])
    files = f"{count} Python file{'' if count == 1 else 's'}" if count else "no Python files"
    return NO_APP.format(folder=project.start, count=files, more=more)


def several(findings: Findings) -> str:
    width = max(len(app.target) for app in findings.candidates)
    lines = (
        f"    {app.target:{width}}  {app.framework}, {app.module.place(app.node, findings.project.start)}"
        for app in findings.candidates
    )
    return SEVERAL.format(apps="\n".join(lines), first=findings.candidates[0].target)


def no_such_app(named: str, findings: Findings) -> str:
    others = "".join(f"\n    {app.target}" for app in findings.candidates)
    return NO_SUCH_APP.format(named=named, others=f" There is:\n{others}" if others else "")


def found(findings: Findings) -> str:
    """The table of what was found."""
    app, start = findings.app, findings.project.start
    assert app is not None
    what = f"{app.framework} factory" if app.factory else app.framework
    rows = [("app", app.target, f"{what}, {app.module.place(app.node, start)}")]
    for engine in findings.engines:
        where = f"{engine.call}, {engine.module.place(engine.node, start)}"
        rows.append(
            (
                "engine",
                engine.dialect or "(not in the source)",
                where + (", made at import" if engine.at_import else ""),
            )
        )
    if findings.tables is not None:
        count = findings.tables.count
        rows.append(("tables", findings.tables.target, f"{count} table{'' if count == 1 else 's'}"))
    if findings.alembic:
        rows.append(("migrations", findings.alembic, "Alembic"))
    if findings.redis:
        rows.append(("Redis", ", ".join(findings.redis), "answered in memory: redis_cache"))
    if findings.http:
        rows.append(("HTTP clients", ", ".join(findings.http), "answered by routes: upstream"))
    first = max(len(row[0]) for row in rows)
    second = max(len(row[1]) for row in rows)
    return "".join(f"  {name:{first}}  {value:{second}}  {where}\n" for name, value, where in rows)


def printed(findings: Findings, proposal: Proposal) -> str:
    """What to put where, for the user to copy."""
    start = findings.project.start
    text = ""
    if proposal.keys:
        verb = "Put this into" if findings.config.path.exists() else "Write this as"
        block = findings.config.block(proposal.keys, proposal.comments)
        text += f"\n{verb} {shown(findings.config.path, start)}:\n\n{_indented(block)}"
    else:
        text += f"\n{shown(findings.config.path, start)} says all that is needed.\n"
    if proposal.conftest:
        text += f"\nand this into {shown(proposal.conftest_path, start)}:\n\n{_indented(proposal.conftest)}"
    text += f"\nand this into {shown(proposal.test_path, start)}:\n\n{_indented(proposal.test)}"
    return text


def _indented(text: str) -> str:
    return "".join(f"    {line}" if line.strip() else line for line in text.splitlines(keepends=True))


def notes(proposal: Proposal) -> str:
    return "\n" + "".join(f"Note: {note}\n" for note in proposal.notes) if proposal.notes else ""


def closing(findings: Findings, proposal: Proposal, *, written: bool) -> str:
    """What to do next."""
    start = findings.project.start
    home = shown(findings.home, start)
    run = f"pytest {shown(proposal.test_path, findings.home)}"
    run = run if home == "." else f"cd {home} && {run}"
    if written:
        return f"\nNow run: {run}\n"
    return f"\n`pytest --asyncapi-init --write` writes these, and changes nothing that is there. Then run: {run}\n"
