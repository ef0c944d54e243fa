"""Commands that fakeredis does not have and that health checks and set-ups of apps use: about the server, not its data.

Each takes the session and its arguments, and returns the reply, or NOT_KNOWN.
"""

from __future__ import annotations

import fnmatch
import os
import platform
from collections.abc import Callable
from typing import Any

NOT_KNOWN = object()

_CONFIG = {
    b"maxmemory": b"0",
    b"maxmemory-policy": b"noeviction",
    b"save": b"",
    b"appendonly": b"no",
    b"databases": b"16",
}


def info(session: Any, arguments: list[bytes]) -> Any:
    server = session._server
    version = ".".join(str(part) for part in (*server.version, 0)[:3])
    sections: dict[str, dict[str, object]] = {
        "Server": {
            "redis_version": version,
            "redis_mode": "standalone",
            "os": platform.platform(),
            "process_id": os.getpid(),
            "tcp_port": 0,
            "uptime_in_seconds": int(session.engine.clock.time() - server.lastsave),
        },
        "Clients": {
            "connected_clients": len(server.sockets),
            "blocked_clients": sum(each.busy for each in server.sockets),
        },
        "Memory": {
            "used_memory": 1048576,
            "used_memory_human": "1.00M",
            "maxmemory": 0,
            "maxmemory_policy": "noeviction",
        },
        "Persistence": {"loading": 0, "rdb_bgsave_in_progress": 0, "aof_enabled": 0},
        "Stats": {"total_connections_received": len(server.sockets), "keyspace_hits": 0, "keyspace_misses": 0},
        "Replication": {"role": "master", "connected_slaves": 0},
        "Keyspace": {
            f"db{number}": f"keys={len(db)},expires={sum(item.expireat is not None for item in db.values())},avg_ttl=0"
            for number, db in sorted(server.dbs.items())
            if len(db)
        },
    }
    wanted = {argument.decode().lower() for argument in arguments} - {"all", "default", "everything"}
    return b"\r\n".join(
        f"# {name}\r\n".encode() + b"".join(f"{key}:{value}\r\n".encode() for key, value in values.items())
        for name, values in sections.items()
        if not wanted or name.lower() in wanted
    )


def config(session: Any, arguments: list[bytes]) -> Any:
    if len(arguments) < 2 or arguments[0].upper() != b"GET":
        return NOT_KNOWN
    known = {**_CONFIG, **session._server.config}
    patterns = [pattern.lower() for pattern in arguments[1:]]
    return {name: value for name, value in known.items() if any(fnmatch.fnmatch(name, each) for each in patterns)}


def touch(session: Any, arguments: list[bytes]) -> Any:
    return sum(key in session._db for key in arguments) if arguments else NOT_KNOWN


def role(session: Any, arguments: list[bytes]) -> Any:
    return [b"master", 0, []]


def wait(session: Any, arguments: list[bytes]) -> Any:
    return 0


ADDITIONS: dict[bytes, Callable[[Any, list[bytes]], Any]] = {
    b"INFO": info,
    b"CONFIG": config,
    b"TOUCH": touch,
    b"ROLE": role,
    b"WAIT": wait,
}
