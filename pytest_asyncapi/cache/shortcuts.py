"""The two commands that caches live on, GET and SET, straight on fakeredis' data.

fakeredis takes about 10 µs for a command before it looks at a key. A pipeline of GETs would cost twice what a real
server on loopback costs; with these shortcuts it does not. Whatever is not plain (a transaction, an option other than
EX and PX, another type, keyspace events, ACLs) returns NOT_PLAIN, and goes the whole way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fakeredis._core._database import Item

from pytest_asyncapi.cache.resp import Fields, Status

NOT_PLAIN = object()
OK = Status(b"OK")


def get(db: Any, fields: Fields) -> Any:
    if len(fields) != 2:
        return NOT_PLAIN
    item = db.get(fields[1])
    if item is None:
        return None
    return item.value if type(item.value) is bytes else NOT_PLAIN


def set_(db: Any, fields: Fields) -> Any:
    if len(fields) == 3:
        expires = None
    elif len(fields) == 5 and fields[4].isdigit() and len(fields[4]) < 10 and fields[4] != b"0":
        unit = fields[3].upper()
        if unit == b"EX":
            expires = db.time + int(fields[4])
        elif unit == b"PX":
            expires = db.time + int(fields[4]) / 1000
        else:
            return NOT_PLAIN
    else:
        return NOT_PLAIN
    _, key, value, *_ = fields
    db.notify_watch(key)
    item = db.setdefault(key, Item(None))
    item.value = value
    item.expireat = expires
    db.schedule_expiry(key, expires)
    return OK


SHORTCUTS: dict[bytes, Callable[[Any, Fields], Any]] = {b"GET": get, b"SET": set_}
