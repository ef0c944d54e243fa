"""What a SQL statement does to the transaction that it runs in, told from its first words. No SQL is parsed."""

from __future__ import annotations

import re
import sqlite3
from enum import Enum
from functools import lru_cache


class Kind(Enum):
    """What the sandbox does with a statement."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"  # SAVEPOINT, RELEASE, ROLLBACK TO: of the app's own transaction
    TWO_PHASE = "two-phase"  # PREPARE TRANSACTION and its end
    READ = "read"
    WRITE = "write"


_BLANK = r"(?:\s+|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*\*/|;)*"
_NOTHING = re.compile(_BLANK)
_HEAD = re.compile(rf"{_BLANK}[(\s]*([A-Za-z]+)(?:{_BLANK}([A-Za-z]+))?(?:{_BLANK}([A-Za-z]+))?")
_READS = {"SELECT", "SHOW", "VALUES", "TABLE", "EXPLAIN", "FETCH", "MOVE", "DECLARE", "CLOSE", "PRAGMA", "SET", "RESET"}
_WRITING_WORDS = re.compile(
    r"\b(?:INSERT|UPDATE|DELETE|MERGE|INTO|NEXTVAL|SETVAL|ANALYZE)\b|\bFOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE)\b",
    re.I,
)
_TRANSACTION_WORD = re.compile(r"\b(?:BEGIN|START|COMMIT|END|ROLLBACK|ABORT|PREPARE)\b", re.I)
_SET_TRANSACTION = re.compile(rf"{_BLANK}SET\s+TRANSACTION\b", re.I)
_TRANSACTION = re.compile(rf"{_BLANK}(?:BEGIN|START\s+TRANSACTION|SET\s+TRANSACTION)\b", re.I)
_LEVEL = re.compile(r"ISOLATION\s+LEVEL\s+(SERIALIZABLE|REPEATABLE\s+READ)", re.I)
_READ_ONLY = re.compile(r"\bREAD\s+ONLY\b", re.I)
_PIECES = re.compile(
    r"""'(?:[^']|'')*'            # a string
      | "(?:[^"]|"")*"            # a quoted name
      | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$   # a dollar-quoted body
      | --[^\n]*
      | /\*.*?\*/
      | ;
    """,
    re.X | re.S,
)


@lru_cache(maxsize=4096)
def kind_of(sql: str) -> Kind:
    """Classify a statement (the first one, of several)."""
    match = _HEAD.match(sql)
    if match is None:
        return Kind.READ
    first, second, third = ((word or "").upper() for word in match.groups())
    match first:
        case "BEGIN":
            return Kind.BEGIN
        case "START":
            return Kind.BEGIN if second == "TRANSACTION" else Kind.WRITE
        case "COMMIT" | "END" | "ROLLBACK" | "ABORT":
            return _end(first, second, third)
        case "PREPARE":
            return Kind.TWO_PHASE if second == "TRANSACTION" else Kind.READ
        case "SAVEPOINT" | "RELEASE":
            return Kind.SAVEPOINT
        case "WITH":
            return Kind.WRITE if _WRITING_WORDS.search(sql) else Kind.READ
        case _ if first in _READS:
            # a function may write too, but nobody can tell from here
            return Kind.WRITE if first in {"SELECT", "EXPLAIN"} and _WRITING_WORDS.search(sql) else Kind.READ
    return Kind.WRITE


def _end(first: str, second: str, third: str) -> Kind:
    if second == "PREPARED":
        return Kind.TWO_PHASE
    if first == "ROLLBACK" and ("TO" in {second, third}):
        return Kind.SAVEPOINT
    return Kind.ROLLBACK if first in {"ROLLBACK", "ABORT"} else Kind.COMMIT


@lru_cache(maxsize=4096)
def asked_level(sql: str) -> str | None:
    """The isolation level that a statement asks of its transaction, when it is one that savepoints do not have."""
    if _TRANSACTION.match(sql) is None:
        return None
    level = _LEVEL.search(sql)
    return " ".join(level.group(1).upper().split()) if level is not None else None


def reads_only(sql: str) -> bool:
    """Whether a BEGIN or SET TRANSACTION makes its transaction read-only."""
    return _READ_ONLY.search(sql) is not None


@lru_cache(maxsize=4096)
def bearable(sql: str) -> str:
    """A statement as it can run under a savepoint, where PostgreSQL takes no SET TRANSACTION."""
    if _SET_TRANSACTION.match(sql) is None:
        return sql
    return "SET LOCAL transaction_read_only = on" if reads_only(sql) else "SET LOCAL asyncapi.nothing = ''"


def is_script(sql: str) -> bool:
    """Whether a text may hold several statements of which one begins or ends a transaction."""
    inner = sql.rstrip().rstrip(";")
    return ";" in inner and _TRANSACTION_WORD.search(inner) is not None


def split(sql: str) -> list[str]:
    """Cut a PostgreSQL script into its statements."""
    pieces, start = [], 0
    for match in _PIECES.finditer(sql):
        if match.group() == ";":
            pieces.append(sql[start : match.end()])
            start = match.end()
    pieces.append(sql[start:])
    return [piece.strip() for piece in pieces if not _NOTHING.fullmatch(piece)]


def split_sqlite(sql: str) -> list[str]:
    """Cut a SQLite script into its statements; the body of a trigger stays whole."""
    pieces, pending = [], ""
    for piece in split(sql):
        pending = f"{pending} {piece}" if pending else piece
        if sqlite3.complete_statement(pending):
            pieces.append(pending)
            pending = ""
    return [*pieces, pending] if pending else pieces
