"""A small app that holds the event loop, and runs of pytest on it. Waits are named calls, which have no floor; work is
measured in CPU time, of two and a half thresholds. So nothing here depends on how busy the machine is."""

import sys
from collections.abc import Callable, Sequence

import pytest

import pytest_asyncapi.blocking.html
import pytest_asyncapi.blocking.reports
import pytest_asyncapi.blocking.session
import pytest_asyncapi.blocking.uvloop_hooks  # noqa: F401 - pytester forgets what its runs import

APP = '''
"""The app: sleeps, computes, and answers."""
import asyncio
import time


def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def sleep():
    time.sleep(0.002)


async def compute():
    burn(0.05)


async def quick():
    await asyncio.sleep(0)


async def spawn():
    asyncio.create_task(sleep())
    await asyncio.sleep(0.005)


async def swallow():
    try:
        time.sleep(0.002)
    except BaseException:
        pass


PATHS = {"/sleep": sleep, "/compute": compute, "/quick": quick, "/spawn": spawn, "/swallow": swallow}


async def app(scope, receive, send):
    await PATHS[scope["path"]]()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
'''

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
asyncapi_app = app:app
asyncapi_lifespan = off
asyncapi_database = none
asyncapi_blocking_threshold = 20ms
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """`run(source of a test module, *arguments, ini="more lines")`; run again without a source.

    `separate` is a process of its own, with these plugins, below this command (`python -m coverage run -m`), and with
    this to type.
    """
    pytester.makepyfile(app=APP)
    pytester.syspathinsert()

    def run(
        test: str = "",
        *args: str,
        ini: str = "",
        separate: bool = False,
        plugins: Sequence[str] = (),
        below: Sequence[str] = ("-m",),
        typed: bytes = b"",
    ) -> pytest.RunResult:
        pytester.makeini(INI + ini)
        if test:
            pytester.makepyfile(test_it=test)
        if not separate:
            return pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *args)
        with pytest.MonkeyPatch.context() as patch:  # a quick start, without whatever else is installed here
            patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
            patch.setenv("COLUMNS", "200")  # whole lines in the short summary
            chosen = ("pytest_asyncio.plugin", "xdist", "pytest_asyncapi.plugin", *plugins)
            options = [each for plugin in chosen for each in ("-p", plugin)]
            command = (sys.executable, *below, "pytest", *options, f"--basetemp={pytester.path / 'temp'}", *args)
            return pytester.run(*command, stdin=typed, timeout=120)

    return run


@pytest.fixture
def sleeping() -> str:
    """A test whose app sleeps."""
    return """
        async def test_sleep(client):
            assert (await client.get("/sleep")).status_code == 200
        """


@pytest.fixture
def line_of() -> Callable[[str], int]:
    """The line of the app that begins with this text."""

    def line_of(text: str) -> int:
        return next(number for number, line in enumerate(APP.strip("\n").splitlines(), 1) if line.strip() == text)

    return line_of
