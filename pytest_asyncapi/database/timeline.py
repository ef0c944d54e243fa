"""The queries of a test as events, for the page of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pytest_asyncapi.database.queries import Query
from pytest_asyncapi.masking import masked_prose, masked_sql
from pytest_asyncapi.timeline import Event

LIMIT = 1000


def events(queries: Iterable[Query], root: str) -> list[Event]:
    return [_event(query, root) for query in queries]


def _event(query: Query, root: str) -> Event:
    if query.error is not None:
        outcome = type(query.error).__name__
    else:
        outcome = "" if query.rows is None else f"{query.rows} row{'s' * (query.rows != 1)}"
    lines = []
    if query.site is not None:
        site = query.site
        lines.append(f"{_relative(site.file, root)}:{site.line} in {site.function}")
    if query.request:
        lines.append(f"in {query.request}")
    if query.many:
        lines.append("for many rows at once")
    if query.error is not None:
        lines.append(masked_prose(str(query.error)[:LIMIT]))
    return Event(
        "sql",
        query.began,
        query.seconds or None,
        masked_sql(" ".join(query.sql.split())[:LIMIT]),
        outcome,
        "\n".join(lines),
        query.error is not None,
    )


def _relative(file: str, root: str) -> str:
    return file[len(root) + 1 :] if file.startswith(root + os.sep) else file
