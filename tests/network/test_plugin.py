"""``--block-network`` and the guard that comes with ``upstream``: what fails, where, and what passes."""

from __future__ import annotations

import pytest

import pytest_asyncapi.network.socket_hooks
import pytest_asyncapi.upstream.aiohttp_hooks
import pytest_asyncapi.upstream.httpcore_hooks
import pytest_asyncapi.upstream.router  # noqa: F401 - pytester forgets what its runs import


@pytest.fixture
def run(pytester):
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        app="""
        import socket

        def swallow():
            try:
                socket.create_connection(("192.0.2.1", 443), timeout=0.01)
            except Exception:
                pass
        """
    )
    pytester.syspathinsert()

    def run(test, *args):
        pytester.makepyfile(test_it=test)
        return pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *args)

    return run


SWALLOWED = """
from app import swallow

def test_it():
    swallow()
"""


def test_a_swallowed_refusal_fails_the_test_in_its_call_phase_with_the_line(run):
    result = run(SWALLOWED, "--block-network")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "network: a connection to 192.0.2.1:443 would leave this machine (app.py:5, in swallow)",
            "  Answer it in the test: upstream.get('https://192.0.2.1/').reply(...)",
            "  or allow it: @pytest.mark.upstream(allow=[[]'192.0.2.1'[]]), or asyncapi_allow_hosts = 192.0.2.1",
        ]
    )


def test_a_refusal_during_tear_down_fails_it(run):
    result = run(
        """
        import pytest
        from app import swallow

        @pytest.fixture
        def late():
            yield
            swallow()

        def test_it(late):
            pass

        def test_that_fails_by_itself(late):
            assert False
        """,
        "--block-network",
    )

    result.assert_outcomes(passed=1, failed=1, errors=2)
    result.stdout.fnmatch_lines(["network: a connection to 192.0.2.1:443 would leave this machine*"])


def test_without_the_option_nothing_is_refused(run):
    run(SWALLOWED).assert_outcomes(passed=1)


def test_the_upstream_fixture_brings_the_guard(run):
    result = run("""
        from app import swallow

        def test_it(asyncapi_upstream):
            swallow()
    """)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["network: a connection to 192.0.2.1:443 would leave*"])


@pytest.mark.parametrize(
    ("ini", "mark"),
    [
        ("asyncapi_allow_hosts = 192.0.2.0/24", ""),
        ("", "@pytest.mark.upstream(allow=['192.0.2.1'])"),
    ],
)
def test_hosts_are_allowed_by_ini_and_marker(run, pytester, ini, mark):
    with pytester.path.joinpath("tox.ini").open("a") as file:
        file.write(f"\nasyncapi_block_network = true\n{ini}\n")

    run(f"import pytest\nfrom app import swallow\n\n{mark}\ndef test_it():\n    swallow()\n").assert_outcomes(passed=1)


def test_fixtures_are_guarded_too(run):
    result = run(
        """
        import pytest
        from app import swallow

        @pytest.fixture(scope="session")
        def wide():
            swallow()

        def test_it(wide):
            pass
    """,
        "--block-network",
    )

    result.assert_outcomes(failed=1)


ASKS_OUT = """
from app import swallow

async def app(scope, receive, send):
    swallow()
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})
"""


@pytest.mark.parametrize(("ini", "failed"), [("", 1), ("asyncapi_block_network = false", 0)])
def test_the_client_brings_the_guard_unless_the_project_says_otherwise(run, pytester, ini, failed):
    pytester.makepyfile(asks_out=ASKS_OUT)
    with pytester.path.joinpath("tox.ini").open("a") as file:
        file.write(f"\nasyncapi_app = asks_out:app\nasyncapi_lifespan = off\n{ini}\n")

    result = run("async def test_it(client):\n    assert (await client.get('/')).status_code == 204\n")

    result.assert_outcomes(failed=failed, passed=1 - failed)
    if failed:
        result.stdout.fnmatch_lines(["network: a connection to 192.0.2.1:443 would leave this machine*"])


def test_the_server_that_the_harness_works_on_may_be_reached():
    from pytest_asyncapi.network.fixtures import allowed
    from pytest_asyncapi.settings import Settings

    settings = Settings(database_server="postgresql://postgres@db.ci:5432/", allow_hosts=("minio.local",))

    assert allowed(settings) == ("minio.local", "db.ci")
