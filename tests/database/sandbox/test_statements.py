"""What a statement does is told from its first words."""

import pytest

from pytest_asyncapi.database.commits import local_settings
from pytest_asyncapi.database.statements import Kind, asked_level, bearable, is_script, kind_of, split, split_sqlite


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("BEGIN", Kind.BEGIN),
        ("begin immediate", Kind.BEGIN),
        ("  -- a comment\n/* another */ START TRANSACTION ISOLATION LEVEL SERIALIZABLE", Kind.BEGIN),
        ("COMMIT;", Kind.COMMIT),
        ("END TRANSACTION", Kind.COMMIT),
        ("ROLLBACK", Kind.ROLLBACK),
        ("abort", Kind.ROLLBACK),
        ("ROLLBACK TO SAVEPOINT sa_savepoint_1", Kind.SAVEPOINT),
        ("ROLLBACK WORK TO x", Kind.SAVEPOINT),
        ("SAVEPOINT x", Kind.SAVEPOINT),
        ("RELEASE SAVEPOINT x", Kind.SAVEPOINT),
        ("PREPARE TRANSACTION 'x'", Kind.TWO_PHASE),
        ("COMMIT PREPARED 'x'", Kind.TWO_PHASE),
        ("ROLLBACK PREPARED 'x'", Kind.TWO_PHASE),
        ("PREPARE q AS SELECT 1", Kind.READ),
        ("SELECT 1", Kind.READ),
        ("(SELECT 1)", Kind.READ),
        ("select * from t for update", Kind.WRITE),
        ("SELECT * FROM t FOR NO KEY UPDATE", Kind.WRITE),
        ("SELECT nextval('s')", Kind.WRITE),
        ("SELECT * INTO copy FROM t", Kind.WRITE),
        ("WITH a AS (SELECT 1) SELECT * FROM a", Kind.READ),
        ("WITH a AS (DELETE FROM t RETURNING 1) SELECT * FROM a", Kind.WRITE),
        ("EXPLAIN SELECT 1", Kind.READ),
        ("EXPLAIN ANALYZE DELETE FROM t", Kind.WRITE),
        ("PRAGMA foreign_keys", Kind.READ),
        ("INSERT INTO t VALUES (1)", Kind.WRITE),
        ("CREATE TABLE t (x int)", Kind.WRITE),
        ("COPY t FROM STDIN", Kind.WRITE),
        ("", Kind.READ),
        (";", Kind.READ),
    ],
)
def test_kind(sql, kind):
    assert kind_of(sql) is kind


@pytest.mark.parametrize(
    ("sql", "parameters", "names"),
    [
        ("SET LOCAL app.tenant = '7'", None, ["app.tenant"]),
        ("  set local time zone 'UTC'; SET LOCAL \"role\" TO x", None, ["timezone", "role"]),
        ("SELECT set_config('app.tenant', '7', true)", None, ["app.tenant"]),
        ("SELECT set_config('app.tenant', '7', false)", None, []),
        ("SELECT set_config($1::VARCHAR, $2::VARCHAR, $3::BOOLEAN) AS x", ("a.b", "7", True), ["a.b"]),
        ("SELECT set_config($1, $2, $3)", ("a.b", "7", False), []),
        ("SELECT 1, %s, set_config(%s, %s, is_local => true)", (0, "a.b", "7"), ["a.b"]),
        ("SELECT set_config(%(n)s::VARCHAR, %(v)s, %(l)s::BOOLEAN)", {"n": "a.b", "v": 1, "l": True}, ["a.b"]),
        ("SELECT set_config(name, '7', true) FROM settings", None, []),
        ("SET LOCAL transaction_read_only = on", None, []),
        ("SET app.tenant = '7'", None, []),
    ],
)
def test_settings_of_a_transaction(sql, parameters, names):
    assert local_settings(sql, parameters) == names


def test_scripts_are_cut_where_statements_end():
    script = """
        BEGIN; -- COMMIT; not
        INSERT INTO t VALUES (';', "a;b", $tag$ ; $$ ; $tag$, 'it''s;'); /* ; */
        COMMIT
        ; ;
    """
    begin, insert, commit = split(script)
    assert begin == "BEGIN;"
    assert insert.startswith("-- COMMIT; not\n")
    assert insert.endswith("'it''s;');")
    assert commit.startswith("/* ; */")
    assert [kind_of(part) for part in (begin, insert, commit)] == [Kind.BEGIN, Kind.WRITE, Kind.COMMIT]


def test_body_of_a_trigger_stays_whole():
    trigger = "CREATE TRIGGER x AFTER INSERT ON t BEGIN UPDATE t SET a = 1; DELETE FROM u; END;"
    assert split_sqlite(f"{trigger} SELECT 1") == [trigger, "SELECT 1"]


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT 1", False),
        ("BEGIN", False),
        ("BEGIN;", False),
        ("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", False),
        ("BEGIN; SELECT 1; COMMIT", True),
    ],
)
def test_script_with_a_transaction_in_it(sql, answer):
    assert is_script(sql) is answer


def test_set_transaction_under_a_savepoint():
    assert asked_level("BEGIN ISOLATION LEVEL REPEATABLE  READ") == "REPEATABLE READ"
    assert asked_level("SET TRANSACTION ISOLATION LEVEL READ COMMITTED") is None
    assert asked_level("SELECT 'ISOLATION LEVEL SERIALIZABLE'") is None
    assert bearable("SET TRANSACTION READ ONLY") == "SET LOCAL transaction_read_only = on"
    assert bearable("set transaction isolation level serializable") == "SET LOCAL asyncapi.nothing = ''"
    assert bearable("SET search_path TO x") == "SET search_path TO x"
