"""The traps of a rollback sandbox, each with the test that steps into it. This one sees to it that none gets lost."""

import re
from pathlib import Path

import pytest

TRAPS = {
    "the app rolls back after an IntegrityError": "test_transactions: test_integrity_error_undoes_its_transaction_only",
    "rows before an error are undone with it": "test_transactions: test_rows_before_an_error_are_undone_with_it",
    "COMMIT of an aborted transaction": "test_transactions: test_commit_of_a_failed_transaction_is_a_rollback",
    "deferred constraints": "test_transactions: test_deferred_constraint_is_checked_at_commit",
    "nested begin() and begin_nested()": "test_transactions: test_nested_savepoints_of_two_sessions_do_not_mix",
    "READ ONLY transactions": "test_transactions: test_read_only_transactions",
    "engine.begin(), raw_connection(), execution_options() clones": "test_engines: test_every_way_to_connect",
    "AUTOCOMMIT of the engine": "test_transactions: test_autocommit_of_the_whole_engine",
    "AUTOCOMMIT stays after a rollback": "test_transactions: test_autocommit_stays_when_the_session_rolls_back",
    "textual BEGIN and COMMIT": "test_transactions: test_textual_begin_and_commit",
    "SQLAlchemy's BEGIN recipe for SQLite": "test_transactions: test_begin_recipe_for_sqlite",
    "children of a request in a transaction": "test_nesting: test_children_nest_in_the_transaction_of_their_parent",
    "background tasks see too much": "test_nesting: test_background_task_sees_uncommitted_rows_and_is_warned_of",
    "FastAPI commits after them": "test_fastapi: test_background_task_runs_before_the_dependency_commits",
    "a streamed result holds its transaction": "test_transactions: test_streamed_result_lets_others_wait",
    "server-side cursors of asyncpg": "test_asyncpg: test_prepared_statements_and_cursors",
    "server-side cursors of psycopg": "test_psycopg: test_many_copy_stream_and_server_cursors",
    "cancellation at any step": "test_cancellation: test_cancelled_after_any_number_of_steps",
    "many random cancellations": "test_cancellation: test_stress",
    "cancellation during the first connect": "test_cancellation: test_cancelled_during_the_first_connect",
    "sequences go on": "test_limits: test_sequences_go_on",
    "autoincrement of SQLite does not": "test_limits: test_autoincrement_of_sqlite_begins_anew",
    "now() stands still": "test_limits: test_now_stands_still",
    "locks never conflict": "test_limits: test_locks_never_conflict",
    "NOTIFY is not heard": "test_limits: test_notifications_are_not_heard",
    "SERIALIZABLE and REPEATABLE READ": "test_transactions: test_more_isolation_is_warned_of",
    "SET reaches the others": "test_limits: test_settings_of_the_session_reach_the_others",
    "SET LOCAL ends with its transaction": "test_transactions: test_settings_of_a_transaction_end_with_it",
    "temporary tables ON COMMIT DROP": "test_transactions: test_temporary_table_until_the_commit",
    "SET ends with the test": "test_limits: test_settings_of_the_session_end_with_the_test",
    "DDL is undone": "test_transactions: test_ddl_is_undone_too",
    "VACUUM, CREATE INDEX CONCURRENTLY": "test_limits: test_what_runs_in_no_transaction",
    "PRAGMA foreign_keys in a connect listener": "test_engines: test_listeners_of_the_app",
    "PRAGMA foreign_keys on a bare connection": "test_aiosqlite: test_foreign_keys_are_in_force",
    "executescript() commits": "test_engines: test_executescript_does_not_commit_the_test",
    "executescript() on a bare connection": "test_aiosqlite: test_script_does_not_commit_the_test",
    "autocommit=False of Python 3.12": "test_transactions: test_autocommit_false_of_sqlite3",
    "reads of legacy SQLite begin nothing": "test_nesting: test_transaction_that_only_read_holds_nobody_up",
    "DDL of legacy SQLite begins nothing": "test_aiosqlite: test_ddl_needs_no_commit",
    "stale identity map": "test_sessions: test_reads_are_fresh",
    "attributes after a commit": "test_sessions: test_attributes_after_a_commit",
    "a task that outlives its test": "test_isolation: test_a_task_that_outlives_its_test_is_named_in_the_next",
    "an empty context": "test_isolation: test_the_rows_of_a_real_lifespan_are_there_for_all_tests_of_its_loop",
    "sequences that rolled back tests moved": "test_isolation: test_numbers_do_not_depend_on_the_tests_before",
    "rows of shared fixtures in a clone": "test_guard: test_what_shared_fixtures_write_is_in_a_database_of_a_tests_own",
    "a library first imported by a hook": "test_guard: test_libraries_that_are_first_imported_by_our_own_hooks",
    "a thread's lock after dispose()": "test_engines: test_first_real_connections_at_once_after_dispose",
    "a session left open": "test_nesting: test_session_left_open_is_named",
    "a session that was dropped": "test_nesting: test_session_that_was_dropped_is_rolled_back",
    "asyncpg notes a BEGIN that failed": "test_asyncpg: test_begin_that_failed_leaves_no_transaction_behind",
    "asyncpg's pool resets at release": "test_asyncpg: test_release_to_the_pool_resets_nothing_of_others",
    "psycopg deallocates prepared statements": "test_psycopg: test_statements_are_prepared_under_names_of_their_own",
    "codecs of SQLAlchemy on a shared connection": "test_asyncpg: test_codecs_are_of_one_connection",
    "connects while a patch is lifted": "test_engines: test_tasks_that_begin_outside_are_inside_when_it_is_over",
    "twenty first checkouts": "test_concurrency: test_first_checkouts_share_one_physical_connection",
    "engine.dispose() in the lifespan": "test_engines: test_dispose_in_the_lifespan",
    "two drivers on one database": "test_engines: test_two_drivers_to_one_database_are_refused",
    "a loop for each test": "test_concurrency: test_engine_of_the_import_in_a_loop_per_test",
    "ROLLBACK under a later session": "test_nesting: test_earlier_session_cannot_roll_back_under_a_later_one",
    "a certain circle": "test_waits: test_circle_is_an_error_at_once",
    "a wait without end": "test_waits: test_time_out_names_both_parties",
    "order of arrival": "test_waits: test_order_of_arrival",
    "two-phase commit": "test_transactions: test_two_phase_commit_is_refused",
    "synchronous engines": "test_engines: test_synchronous_engines_are_refused",
}


@pytest.mark.parametrize("trap", TRAPS)
def test_each_trap_has_its_test(trap):
    module, name = TRAPS[trap].split(": ")
    (path,) = Path(__file__).parent.rglob(f"{module}.py")
    text = path.read_text()

    assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE)
