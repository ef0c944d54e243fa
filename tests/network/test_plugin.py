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
