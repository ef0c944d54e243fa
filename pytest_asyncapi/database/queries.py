"""The queries that ran: of a test, of a block, of a request; with the line that sent them, and the N+1 among them.

    with QueryLog() as log:
        ...
        with log.assert_queries(2):
            await client.get("/users")
    log.n_plus_one()

SQLAlchemy's queries come from class-level engine events, those of a bare asyncpg connection from our hook under it.
What begins or ends a transaction or a savepoint is not counted.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.asgi import Scope, current_scope, label
from pytest_asyncapi.database.sites import Site, callers
from pytest_asyncapi.database.statements import Kind, kind_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    from pytest_asyncapi.database.interception import Hooks

_LITERALS = re.compile(r"'(?:[^']|'')*'|(?<![\w$])\d+(?:\.\d+)?\b")
_LISTS = re.compile(r"\((?:\s*(?:%\(\w+\)s|\$\d+(?:::\w+)?|\?|:\w+)\s*,?)+\)")
_COUNTED = {Kind.READ, Kind.WRITE}
_SQL_LIMIT = 200


def _clock(clock: Callable[[], float] = time.perf_counter) -> float:
    return clock()  # bound before a test can freeze the module's


@dataclass(eq=False)
class Query:
    """One statement that was sent to a database."""

    sql: str
    parameters: Any = None
    many: bool = False
    sites: tuple[Site, ...] = ()
    scope: Scope | None = None
    seconds: float = 0.0
    rows: int | None = None
    error: BaseException | None = None
    began: float = field(default_factory=_clock)

    @property
    def site(self) -> Site | None:
        """The line of the app, or of the test, that sent it."""
        return self.sites[0] if self.sites else None

    @property
    def request(self) -> str | None:
        """The request that sent it, such as `GET /users/{id}`; None outside of one."""
        return label(self.scope) if self.scope is not None else None

    @property
    def shape(self) -> str:
        """The statement without its values: alike for queries that differ only in them."""
        return _LISTS.sub("(...)", _LITERALS.sub("?", " ".join(self.sql.split())))

    def __str__(self) -> str:
        many = " (many)" if self.many else ""
        failed = f"  !! {type(self.error).__name__}" if self.error is not None else ""
        request = f"  [{self.request}]" if self.scope is not None else ""
        line = f"{self.seconds * 1000:7.2f} ms  {_short(self.sql)}{many}{request}{failed}"
        return f"{line}\n{'':12}{self.site or '(no line of yours)'}"


@dataclass(frozen=True)
class Repetition:
    """The same query, sent again and again by the same line with other values: one query could do it."""

    shape: str
    site: Site | None
    queries: tuple[Query, ...]

    def __str__(self) -> str:
        caller = next((site for query in self.queries[:1] for site in query.sites[1:]), None)
        via = f"\n    called from {caller}" if caller is not None else ""
        request = self.queries[0].request
        inside = f" in {request}" if request else ""
        return (
            f"{len(self.queries)} x {_short(self.shape)}{inside}\n    at {self.site or '(no line of yours)'}{via}\n"
            "    Fetch them in one query: load the relationship eagerly (selectinload), or use WHERE ... IN (...)."
        )


class QueryLog:
    """All queries while it is open, in every task. Blocks inside of it see only those of their own context."""

    def __init__(self) -> None:
        self.queries: list[Query] = []

    def __enter__(self) -> QueryLog:
        _logs.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _logs.remove(self)

    def __len__(self) -> int:
        return len(self.queries)

    def __iter__(self) -> Iterator[Query]:
        return iter(self.queries)

    def by_request(self) -> dict[str, list[list[Query]]]:
        """The queries of each request, under its label; those of no request are left out."""
        per_scope: dict[int, list[Query]] = defaultdict(list)
        for query in self.queries:
            if query.scope is not None:
                per_scope[id(query.scope)].append(query)
        found: dict[str, list[list[Query]]] = defaultdict(list)
        for queries in per_scope.values():
            found[queries[0].request or ""].append(queries)
        return dict(found)

    def n_plus_one(self, at_least: int = 3) -> list[Repetition]:
        """Queries that one line sent `at_least` times in one request, with different values."""
        groups: dict[tuple[Any, ...], list[Query]] = defaultdict(list)
        for query in self.queries:
            if kind_of(query.sql) is Kind.READ and not query.many:
                groups[query.shape, query.site, id(query.scope)].append(query)
        return [
            Repetition(shape, site, tuple(queries))
            for (shape, site, _), queries in groups.items()
            if len(queries) >= at_least and len({(repr(q.parameters), q.sql) for q in queries}) > 1
        ]

    def slowest(self, count: int = 5) -> list[Query]:
        """The queries that took longest, the slowest first."""
        return sorted(self.queries, key=lambda query: query.seconds, reverse=True)[:count]

    def report(self, queries: list[Query] | None = None) -> str:
        """The queries as text, one after the other."""
        shown = self.queries if queries is None else queries
        return "\n".join(f"{number:3}. {query}" for number, query in enumerate(shown, 1))

    @contextmanager
    def capture(self) -> Iterator[QueryLog]:
        """A log of the queries that this context, and the tasks it starts, send in the block."""
        block = QueryLog()
        token = _blocks.set((*_blocks.get(), block))
        _open_blocks.append(block)
        try:
            yield block
        finally:
            _open_blocks.remove(block)
            _blocks.reset(token)

    @contextmanager
    def assert_queries(self, count: int | None = None, *, at_most: int | None = None) -> Iterator[QueryLog]:
        """Fail unless the block sends exactly `count` queries, or `at_most` so many."""
        if (count is None) == (at_most is None):
            raise TypeError("assert_queries() takes a count, or at_most=")
        with self.capture() as block:
            yield block
        failure = block.judge(count, at_most)
        if failure:
            raise AssertionError(failure)

    def judge(self, count: int | None = None, at_most: int | None = None) -> str | None:
        """What is wrong with the number of queries; None when it is as it should be."""
        got = len(self.queries)
        if (count is None or got == count) and (at_most is None or got <= at_most):
            return None
        wanted = f"{count}" if count is not None else f"at most {at_most}"
        text = f"expected {wanted} quer{'y' if wanted == '1' else 'ies'}, got {got}"
        if self.queries:
            text += ":\n" + self.report()
        repeated = self.n_plus_one()
        if repeated:
            text += "\nN+1:\n" + "\n".join(f"  {repetition}" for repetition in repeated)
        return text

    async def explain(self, query: Query, engine: AsyncEngine | AsyncSession) -> str:
        """The database's plan for a query that ran, with its values."""
        from sqlalchemy.ext.asyncio import AsyncEngine

        if isinstance(engine, AsyncEngine):
            async with engine.connect() as connection:
                return await _explain(connection, query)
        return await _explain(await engine.connection(), query)


_logs: list[QueryLog] = []
_open_blocks: list[QueryLog] = []
_blocks: ContextVar[tuple[QueryLog, ...]] = ContextVar("pytest_asyncapi_database_blocks", default=())
_unlogged: ContextVar[bool] = ContextVar("pytest_asyncapi_database_unlogged", default=False)


def add(query: Query) -> None:
    """Put a query into every log that it belongs to."""
    for log in _logs:
        log.queries.append(query)
    # A task that no block started (a server in the test's loop, a worker of the lifespan) counts for all of them.
    for block in _blocks.get() or _open_blocks:
        block.queries.append(query)


@contextmanager
def unlogged() -> Iterator[None]:
    """Queries of this context are not of the app or the test, and are not logged."""
    token = _unlogged.set(True)
    try:
        yield
    finally:
        _unlogged.reset(token)


def start(sql: str, parameters: Any = None, *, many: bool = False) -> Query | None:
    """Log a query that begins now; None when nobody wants to know of it."""
    if not (_logs or _open_blocks) or _unlogged.get() or kind_of(sql) not in _COUNTED:
        return None
    query = Query(sql, parameters, many, callers(4), current_scope.get())
    add(query)
    return query


@contextmanager
def record(sql: str, parameters: Any = None, *, skip: bool = False) -> Iterator[None]:
    """Log a query for as long as the block lasts."""
    query = None if skip else start(sql, parameters)
    if query is None:
        yield
        return
    try:
        yield
    except BaseException as error:
        query.error = error
        raise
    finally:
        query.seconds = _clock() - query.began


def attach(hooks: Hooks) -> Callable[[], None]:
    """Listen to all engines of SQLAlchemy, those made before and those to come."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def before(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        context._asyncapi_query = start(statement, parameters, many=executemany)

    def after(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        query: Query | None = getattr(context, "_asyncapi_query", None)
        if query is not None:
            query.seconds = _clock() - query.began
            query.rows = cursor.rowcount if cursor.rowcount >= 0 else None

    def failed(context: Any) -> None:
        query: Query | None = getattr(context.execution_context, "_asyncapi_query", None)
        if query is not None:
            query.seconds = _clock() - query.began
            query.error = context.original_exception

    listeners: list[tuple[str, Callable[..., None]]] = [
        ("before_cursor_execute", before),
        ("after_cursor_execute", after),
        ("handle_error", failed),
    ]
    for name, listener in listeners:
        event.listen(Engine, name, listener)

    def detach() -> None:
        for name, listener in listeners:
            event.remove(Engine, name, listener)

    return detach


async def _explain(connection: Any, query: Query) -> str:
    prefix = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    with unlogged():
        result = await connection.exec_driver_sql(prefix + query.sql, query.parameters)
        return "\n".join(str(row[-1]) for row in result.fetchall())


def _short(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= _SQL_LIMIT else text[: _SQL_LIMIT - 3] + "..."
