"""pytest's side of the database room: what a failing test shows of its database, and the limit of its queries."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_asyncapi.database.fixtures import DATABASE, may_connect
from pytest_asyncapi.masking import masked_sql
from pytest_asyncapi.settings import settings_of

if TYPE_CHECKING:
    from pytest_asyncapi.database.control import Database
    from pytest_asyncapi.database.guard import SessionRedirect
    from pytest_asyncapi.database.queries import QueryLog
    from pytest_asyncapi.timeline import Event

SLOWEST = 5
HOME, OWN = "_asyncapi_database_home", "_asyncapi_database"  # fixtures: the run's databases, and a test's own
_GUARD = pytest.StashKey["SessionRedirect"]()
BEGUN = pytest.StashKey[int]()  # how many queries its fixtures, and the app's lifespan, had made when a test began
MISSING_TABLE = ("no such table", "UndefinedTable", "does not exist")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tell the guard which test runs."""
    __tracebackhide__ = True
    guard = _guard(item)
    if guard is None:
        return (yield)
    found: Any = item  # looked up late: a test that is run again has another request
    with guard.running(
        item.name, (lambda: found._request.getfixturevalue(HOME)) if hasattr(item, "_request") else None
    ):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The test's database comes before the fixtures that may use the app's engine."""
    if _guard(item) is not None and may_connect():
        _put_first(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """What a fixture of several tests does with the app's databases, it does for all of them."""
    __tracebackhide__ = True
    guard = _guard(request) if fixturedef.scope != "function" else None
    if guard is None:
        return (yield)
    with guard.shared():
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    guard = _guard(item)
    if guard is not None:
        guard.end()


def _guard(source: pytest.Item | pytest.FixtureRequest) -> SessionRedirect | None:
    """What keeps the run from the app's own databases; nothing does where the project wants no test database."""
    if settings_of(source.config).database == "none":
        return None
    return guard_of(source.config)


def guard_of(config: pytest.Config) -> SessionRedirect:
    """The guard of a run, put in place now if it is not there yet."""
    from pytest_asyncapi.database.guard import SessionRedirect, install

    guard = config.stash.get(_GUARD, None)
    if guard is None:
        guard = config.stash[_GUARD] = SessionRedirect()
        config.add_cleanup(install(guard))
    return guard


def _put_first(item: pytest.Item) -> None:
    """Open the test's database before its other function-scoped fixtures, which may use the app's engine."""
    names = getattr(item, "fixturenames", [])
    info: Any = getattr(item, "_fixtureinfo", None)
    if info is None or not ("_asyncapi_client_plan" in names or OWN in names):
        return
    wide = 0
    for name in names:
        definitions = info.name2fixturedefs.get(name)
        if not definitions or definitions[-1].scope == "function":
            break
        wide += 1
    item.fixturenames = [*names[:wide], OWN, *(name for name in names[wide:] if name != OWN)]  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that makes more queries than its marker, or the ini file, allows."""
    database = item.stash.get(DATABASE, None)
    if database is None:
        return (yield)
    item.stash[BEGUN] = len(database.queries)
    result = yield
    limit = settings_of(item).max_queries
    if limit is not None:
        failure = _own_log(item, database).judge(at_most=limit)
        if failure:
            pytest.fail(failure, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the database of a failing test."""
    report = yield
    if report.failed:
        database = item.stash.get(DATABASE, None)
        if database is not None:
            log = _own_log(item, database)
            if log.queries or database.warnings:
                report.sections.append(("database", _section(database, log, str(report.longrepr))))
    if report.when == "teardown" and DATABASE in item.stash:
        item.stash.setdefault(BEGUN, 0)
        del item.stash[BEGUN]  # a rerun begins anew
        del item.stash[DATABASE]  # pytest keeps the items, with all that hangs on them, until the end of the run
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_asyncapi_timeline(item: pytest.Item) -> list[Event]:
    """The queries of a test, for the page of the run."""
    database = item.stash.get(DATABASE, None)
    if database is None:
        return []
    from pytest_asyncapi.database.timeline import events

    return events(database.queries, str(item.config.rootpath))


def _own_log(item: pytest.Item, database: Database) -> QueryLog:
    """What the test itself has sent; when it did not come to begin, what its fixtures and the lifespan have."""
    from pytest_asyncapi.database.queries import QueryLog

    log = QueryLog()
    log.queries = database.queries[item.stash.get(BEGUN, 0) :]
    return log


def _section(database: Database, log: QueryLog, failure: str) -> str:
    lines = [database.description]
    if not database.has_schema and any(words in failure for words in MISSING_TABLE):
        lines.append(
            "The database began empty, for the project names no schema: set asyncapi_schema, for instance to "
            "package.module:Base.metadata, or override the fixture db_schema."
        )
    lines += database.warnings
    queries = log.queries
    if queries:
        seconds = sum(query.seconds for query in queries)
        lines.append(
            f"{len(queries)} quer{'y' if len(queries) == 1 else 'ies'} in {seconds * 1000:.1f} ms; the slowest:"
        )
        lines.append(log.report(log.slowest(SLOWEST)))
    repeated = log.n_plus_one()
    if repeated:
        lines.append("N+1:")
        lines += [f"  {repetition}" for repetition in repeated]
    return masked_sql("\n".join(lines))
