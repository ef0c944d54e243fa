"""Databases on a server that others use too: their names, what happens to them, and what a killed run leaves."""

import re
import signal
import subprocess
import sys
import time

import pytest

from pytest_asyncapi.database import reset, workers

SCHEMA = """
import shop
def db_schema_function(connection):
    with open("built.txt", "a") as file:
        file.write("once\\n")
    shop.Base.metadata.create_all(connection)

import pytest
@pytest.fixture(scope="session")
def db_schema():
    return db_schema_function
"""
ONE = "async def test_one(db):\n    assert await shop.emails() == []\n    await shop.add('a')\n"


@pytest.fixture
def named(shop, outer, monkeypatch):
    """Runs tests with DATABASE_URL naming the outer server."""

    def run(tests=ONE, *options, user="postgres", **files):
        monkeypatch.setenv("DATABASE_URL", outer.url(user))
        return shop("asyncpg", tests, *options, **files)

    return run


def built(pytester):
    path = pytester.path / "built.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_tests_get_sibling_databases_which_are_gone_afterwards(named, outer, shop):
    """The database that the URL names is never connected to, nor changed; names follow it."""
    result = named(
        """
async def test_one(db):
    print(db.description, db.target.database)
    await shop.add("a")
""",
        "-s",
    )

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r".*PostgreSQL [\d.]+ \(the server of DATABASE_URL\).* shop_aapi_[0-9a-f]{8}_main"])
    assert outer.databases() == ["shop"]


@pytest.mark.slow
def test_workers_share_one_template_and_have_a_database_each(named, outer, pytester):
    """-n 4: the schema is built once."""
    result = named(
        """
@pytest.mark.parametrize("n", range(8))
@pytest.mark.parametrize("isolation", ["rollback", "commit"])
async def test_one(db, n, isolation, request):
    request.applymarker(pytest.mark.db(isolation=isolation))
    assert await shop.emails() == []
    await shop.add(f"{n}@example.com")
    await asyncio.sleep(0.05)
    assert await shop.emails() == [f"{n}@example.com"]
""",
        "-n4",
        conftest=SCHEMA,
    )

    result.assert_outcomes(passed=16)
    assert built(pytester) == 1
    assert outer.databases() == ["shop"]


def test_the_next_run_drops_what_a_killed_one_left(named, outer, pytester, shop, monkeypatch):
    """kill -9 in the middle of a test; a database of a run that lives stays."""
    outer.execute("CREATE DATABASE shop_aapi_0123abcd_gw7")  # killed before it could leave its mark
    monkeypatch.setenv("DATABASE_URL", outer.url())
    monkeypatch.setenv("SHOP_URL", "postgresql+asyncpg://user:password@localhost/dbname")
    named("async def test_one(db): pass", "--collect-only")  # writes the project
    pytester.makepyfile(
        test_shop="import time, pathlib\ndef test_one(): pass\n"
        "async def test_hang(db):\n    pathlib.Path('hangs').touch(); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-m", "pytest", "-q"], cwd=pytester.path, stdout=subprocess.DEVNULL)
    while not (pytester.path / "hangs").exists():
        assert process.poll() is None
        time.sleep(0.02)
    during = outer.databases()

    named("async def test_one(db): pass").assert_outcomes(passed=1)
    beside = outer.databases()
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = outer.databases()
    named("async def test_one(db): pass").assert_outcomes(passed=1)

    assert len(during) == 3  # theirs, the template, the worker's
    assert beside == during
    assert left == during
    assert outer.databases() == ["shop"]


@pytest.mark.slow
def test_reuse_db_builds_the_schema_once_for_many_runs(named, outer, pytester):
    """--reuse-db keeps the template; --create-db and another schema make it anew."""
    named(ONE, "--reuse-db", conftest=SCHEMA).assert_outcomes(passed=1)
    named(ONE, "--reuse-db", conftest=SCHEMA).assert_outcomes(passed=1)
    once = built(pytester)
    (template,) = [name for name in outer.databases() if name != "shop"]

    named(ONE, "--reuse-db", "--create-db", conftest=SCHEMA).assert_outcomes(passed=1)
    anew = built(pytester)
    named(ONE, "--reuse-db", conftest=SCHEMA + "\n# another schema\n").assert_outcomes(passed=1)

    assert re.fullmatch("shop_aapi_tpl_[0-9a-f]{12}", template)
    assert (once, anew, built(pytester)) == (1, 2, 3)
    assert len(outer.databases()) == 2  # the template of the old schema is gone
    assert template not in outer.databases()


@pytest.mark.slow
def test_reuse_db_works_without_a_server_of_ones_own(shop, pytester, monkeypatch, tmp_path):
    """The data directory is kept in the cache, and the next run's server starts from it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    for _ in range(2):
        shop("asyncpg", ONE, "--reuse-db", own_server=True, conftest=SCHEMA).assert_outcomes(passed=1)
        kept = list(tmp_path.glob("pytest-asyncapi/kept-*"))
        deadline = time.monotonic() + 10
        while not kept and time.monotonic() < deadline:
            time.sleep(0.05)
            kept = list(tmp_path.glob("pytest-asyncapi/kept-*"))

    assert built(pytester) == 1
    shop("asyncpg", ONE, own_server=True, conftest=SCHEMA).assert_outcomes(passed=1)
    assert built(pytester) == 2  # without the flag every run builds


def test_a_broken_schema_is_told_once(named, outer):
    """The first test has the whole story, the others one line; and no database is left."""
    result = named(
        "@pytest.mark.parametrize('n', range(3))\nasync def test_one(db, n): pass",
        conftest="""
            import pytest
            from sqlalchemy import text
            async def tables(connection):
                await connection.execute(text("CREATE TABLE broken (id nonsense)"))
            @pytest.fixture(scope="session")
            def db_schema():
                return tables
        """,
    )

    result.assert_outcomes(errors=3)
    text = result.stdout.str()
    assert text.count("CREATE TABLE broken (id nonsense)") == 1
    result.stdout.fnmatch_lines(
        [
            "the schema of the test database could not be built from conftest:tables on postgresql:",
            '  UndefinedObjectError: type "nonsense" does not exist',
            "in the statement",
            "  CREATE TABLE broken (id nonsense)",
            "there is no test database (an error before this one, of main, tells it in full): UndefinedObjectError: *",
        ],
        consecutive=False,
    )
    assert outer.databases() == ["shop"]


@pytest.mark.slow
def test_a_broken_schema_is_told_once_by_all_workers(named):
    """-n 4: one worker tells it in full."""
    result = named(
        "@pytest.mark.parametrize('n', range(8))\nasync def test_one(db, n): pass",
        "-n4",
        conftest="""
            import pytest
            from sqlalchemy import text
            def tables(connection):
                connection.execute(text("CREATE TABLE broken (id nonsense)"))
            @pytest.fixture(scope="session")
            def db_schema():
                return tables
        """,
    )

    result.assert_outcomes(errors=8)
    assert result.stdout.str().count("CREATE TABLE broken (id nonsense)") == 1


def test_a_user_without_the_right_to_create_databases_is_told_how_to_get_it(named, outer):
    outer.execute("DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN")

    result = named(ONE, user="poor")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*the user 'poor' of DATABASE_URL may not create databases, and tests get databases of their own. "
            'Allow it: ALTER ROLE "poor" CREATEDB'
        ]
    )


def test_a_user_who_is_no_superuser_can_run_tests_too(named, outer):
    """The reset then is one TRUNCATE, and puts back the rows that the schema brought."""
    outer.execute("DROP ROLE IF EXISTS modest; CREATE ROLE modest LOGIN CREATEDB")

    result = named(
        """
@pytest.mark.parametrize("time", [1, 2])
@pytest.mark.db(isolation="commit")
async def test_one(db, db_session, time):
    assert await shop.emails() == ["seed"]
    seed = await db_session.get(shop.User, 1)
    db_session.add(shop.Order(user_id=seed.id))
    await shop.add("b")
    await db_session.commit()
""",
        user="modest",
        conftest="""
            import pytest, shop
            def tables(connection):
                shop.Base.metadata.create_all(connection)
                connection.execute(shop.User.__table__.insert(), {"email": "seed"})
            @pytest.fixture(scope="session")
            def db_schema():
                return tables
        """,
    )

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("references", "order"),
    [
        ([(1, 2), (2, 3)], [3, 2, 1]),
        ([(1, 9), (9, 2), (2, 1)], [1, 3, 2]),  # 9 is another schema's
        ([(1, 2), (2, 1)], [1, 2, 3]),  # a circle has no first
    ],
)
def test_rows_are_put_back_after_those_that_they_refer_to(references, order):
    tables = [(1, "notes", "user_id"), (2, "users", "team_id"), (3, "teams", "id")]

    assert [number for number, _, _ in reset._parents_first(tables, references)] == order


def test_a_server_that_does_not_answer_is_an_error_and_not_a_fallback(shop, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@localhost:1/shop")

    result = shop("asyncpg", ONE)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*the PostgreSQL server that DATABASE_URL names does not let us in: postgresql://user@localhost:1/"]
    )
    assert "secret" not in result.stdout.str()


@pytest.mark.slow
def test_a_far_server_in_the_environment_is_not_touched(shop, monkeypatch):
    """DATABASE_URL may be that of production: the harness then starts a server of its own."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@db.prod.example.com/shop")

    result = shop("asyncpg", "async def test_one(db): print(db.description); await shop.add('a')", "-s")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*PostgreSQL * (*), rollback isolation (the default)*"])


@pytest.mark.parametrize("base", ["shop", "x" * 80, "Shop-DB é"])
def test_names_fit_and_need_no_quotes(base):
    name = workers.worker_database(base, "0123abcd", "gw12")

    assert len(name) <= 63
    assert re.fullmatch("[a-z0-9_]+_aapi_0123abcd_gw12", name)
    assert re.search(workers.WORKER_NAME, name)
