"""The address in the arguments that SQLAlchemy is about to give to a driver, and another one in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_asyncapi.database.targets import Address, Target


@dataclass(frozen=True)
class Peeked:
    """What a pool's creator returns while we only want to know where it would connect to."""

    address: Address


def address_of(dialect: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Address:
    """The address that a driver's connect() is called with."""
    name, driver = str(dialect.name), str(dialect.driver)
    if name == "sqlite":
        database = args[0] if args else options.get("database", "")
        return Address(name, driver, database=str(database))
    if args and isinstance(args[0], str):  # a libpq connection string
        options = {**_parse(args[0]), **options}
    return _of_options(name, driver, options)


def address_of_psycopg(parameters: dict[str, Any], driver: str = "psycopg") -> Address:
    """The address in the parameters that psycopg has made of a connection string and keywords."""
    return _of_options("postgresql", driver, parameters)


def to_psycopg(parameters: dict[str, Any], target: Target) -> dict[str, Any]:
    """The parameters for psycopg that lead to `target`, with what else they ask for."""
    kept = {key: value for key, value in parameters.items() if key not in _ADDRESS}
    given = {"host": target.host, "port": target.port, "user": target.user, "password": target.password}
    return {**kept, **{key: value for key, value in given.items() if value is not None}, "dbname": target.database}


def _of_options(name: str, driver: str, options: dict[str, Any]) -> Address:
    port = options.get("port")
    host = options.get("host") or ""
    return Address(
        name,
        driver,
        host if isinstance(host, str) else ",".join(host),
        int(port) if port is not None and str(port).isdigit() else None,
        str(options.get("user") or ""),
        str(options.get("dbname") or options.get("database") or options.get("db") or ""),
    )


def redirected(
    dialect: Any, args: tuple[Any, ...], options: dict[str, Any], target: Target
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments for the same driver that lead to `target`."""
    if target.dialect == "sqlite":
        return (target.database, *args[1:]), ({**options, "uri": False} if "uri" in options else options)
    kept = {key: value for key, value in options.items() if key not in _ADDRESS}
    name = "database" if dialect.driver == "pg8000" else "dbname"
    given = {"host": target.host, "port": target.port, "user": target.user, "password": target.password}
    if dialect.driver == "pg8000" and target.host.startswith("/"):
        given = {"unix_sock": f"{target.host}/.s.PGSQL.{target.port}", "user": target.user, "password": target.password}
    return (), {**kept, **{key: value for key, value in given.items() if value is not None}, name: target.database}


_ADDRESS = {
    "host", "hostaddr", "port", "user", "password", "dbname", "database", "passfile", "service", "conninfo", "dsn",
    "sslmode", "sslrootcert", "sslcert", "sslkey", "ssl_context", "channel_binding", "target_session_attrs",
    "unix_sock",
}  # fmt: skip


def _parse(conninfo: str) -> dict[str, str]:
    parts = dict(part.split("=", 1) for part in conninfo.split() if "=" in part)
    return {key: value.strip("'") for key, value in parts.items()}
