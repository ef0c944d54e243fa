"""What a failing test shows: the user's own lines, and none of the plugin's."""

from __future__ import annotations

import pytest

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
asyncapi_app = shop:app
asyncapi_database = none
pythonpath = .
"""
APP = """
import httpx2

async def app(scope, receive, send):
    if scope["type"] == "http":
        async with httpx2.AsyncClient() as api:
            await api.get("https://api.example.com/")
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("upstream.get('https://api.example.com/').reply(object())", "UpstreamError: reply(<object object at *"),
        ("upstream.get('api.example.com/')", "UpstreamError: upstream URL 'api.example.com/' has no scheme: *"),
        ("await client.get('/')", "*no upstream route answers GET *"),
    ],
)
def test_an_error_of_ours_ends_at_the_users_line(pytester, body, message):
    pytester.makefile(".ini", pytest=INI)
    pytester.makepyfile(shop=APP, test_it=f"async def test_it(client, upstream):\n    {body}\n")

    result = pytester.runpytest_subprocess("-q", "-p", "no:randomly")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f">*{body[:12]}*", f"E*{message}"])
    result.stdout.no_fnmatch_line("*pytest_asyncapi?*.py:*")


@pytest.mark.parametrize("body", ["raise OSError('no broker')", "import no_such_library"])
def test_a_broken_app_shows_no_line_of_the_plugin(pytester, body):
    pytester.makefile(".ini", pytest=INI)
    pytester.makepyfile(shop=body, test_it="async def test_it(client): pass")

    result = pytester.runpytest_subprocess("-q")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["shop.py:1: *Error"])
    result.stdout.no_fnmatch_line("*pytest_asyncapi?*.py:*")
