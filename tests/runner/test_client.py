"""The `client` in every runner: the test, the app's endpoint, its lifespan and users' fixtures share one event loop."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

# pytester takes what a run has imported out of sys.modules again: import the heavy parts once, and not in every run
import pytest_asyncapi.client.assembly
import pytest_asyncapi.client.async_client  # noqa: F401

FIXTURE_LOOPS = ("-o", "asyncio_default_fixture_loop_scope=function")
STRICT = ("-o", "asyncio_mode=strict", *FIXTURE_LOOPS)
AUTO = ("-o", "asyncio_mode=auto", *FIXTURE_LOOPS)
SESSION = ("-o", "asyncio_default_test_loop_scope=session")
WARNINGS = ("-W", "error")

APP = '''
"""An app whose lifespan holds a task group, which must be left in the task that entered it."""
import asyncio
import json

import anyio

lifespans = []


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    here = id(asyncio.get_running_loop())
    body = json.dumps({"endpoint": here, "lifespan": scope["state"]["loop"]}).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(scope, receive, send):
    await receive()
    loop = asyncio.get_running_loop()
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        scope["state"]["loop"] = id(loop)
        await send({"type": "lifespan.startup.complete"})
        lifespans.append("up")
        await receive()
        assert asyncio.get_running_loop() is loop
        group.cancel_scope.cancel()
    lifespans.append("down")
    await send({"type": "lifespan.shutdown.complete"})
'''

CONFTEST = """
import asyncio
import json

import pytest
import pytest_asyncapi


@pytest_asyncapi.fixture
async def seen(client):
    found = (await client.get("/")).json()
    assert found["endpoint"] == found["lifespan"] == id(asyncio.get_running_loop())
    yield client, id(asyncio.get_running_loop())
    found = (await client.get("/")).json()
    assert found["endpoint"] == id(asyncio.get_running_loop())


def pytest_unconfigure():
    import app
    with open("lifespans.json", "w") as file:
        json.dump(app.lifespans, file)
"""

TESTS = """
import asyncio
import pytest

{mark}


async def check(seen):
    client, loop = seen
    found = (await client.get("/")).json()
    assert found["endpoint"] == found["lifespan"] == loop == id(asyncio.get_running_loop())


class TestFirst:
    async def test_one(self, seen): await check(seen)
    async def test_two(self, seen): await check(seen)


class TestSecond:
    async def test_one(self, seen, client): await check(seen)
    async def test_two(self, client): assert (await client.get("/")).status_code == 200
"""


@pytest.fixture
def with_app(pytester: pytest.Pytester) -> Callable[[str, str], None]:
    """Two modules of two classes of two tests each, with this `pytestmark`; more lines for conftest.py."""

    def write(mark: str, more: str = "") -> None:
        (pytester.path / "pytest.ini").write_text("[pytest]\nasyncapi_app = app:app\nasyncapi_database = none\n")
        module = TESTS.format(mark=f"pytestmark = {mark}" if mark else "")
        pytester.makepyfile(app=APP, test_a=module, test_b=module)
        pytester.makeconftest(CONFTEST + more)
        pytester.syspathinsert()

    return write


def lifespans(pytester: pytest.Pytester) -> Any:
    return json.loads((pytester.path / "lifespans.json").read_text())


SESSION_BACKEND = """

@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"
"""


@pytest.mark.parametrize(
    ("options", "mark", "number"),
    [
        pytest.param(STRICT, "pytest.mark.asyncio", 8, id="strict-function"),
        pytest.param(STRICT, 'pytest.mark.asyncio(loop_scope="class")', 4, id="strict-class", marks=pytest.mark.slow),
        pytest.param(STRICT, 'pytest.mark.asyncio(loop_scope="module")', 2, id="strict-module"),
        pytest.param(
            STRICT, 'pytest.mark.asyncio(loop_scope="package")', 1, id="strict-package", marks=pytest.mark.slow
        ),
        pytest.param(STRICT, 'pytest.mark.asyncio(loop_scope="session")', 1, id="strict-session"),
        pytest.param((*STRICT, *SESSION), "pytest.mark.asyncio", 1, id="strict-session-by-ini", marks=pytest.mark.slow),
        pytest.param(AUTO, "", 8, id="auto-function"),
        pytest.param((*AUTO, *SESSION), "", 1, id="auto-session"),
        pytest.param(
            (*AUTO, *SESSION, "-o", "asyncapi_lifespan=function"),
            "",
            8,
            id="auto-session-lifespan-function",
            marks=pytest.mark.slow,
        ),
        pytest.param(STRICT, "pytest.mark.anyio", 8, id="anyio"),
        pytest.param(("-p", "no:asyncio", "-o", "anyio_mode=auto"), "", 8, id="anyio-auto-alone"),
        pytest.param(
            (*STRICT, "-o", "asyncapi_anyio_loop_scope=class"),
            "pytest.mark.anyio",
            4,
            id="anyio-class",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (*STRICT, "-o", "asyncapi_anyio_loop_scope=module"),
            "pytest.mark.anyio",
            2,
            id="anyio-module",
            marks=pytest.mark.slow,
        ),
        pytest.param((*STRICT, "-o", "asyncapi_anyio_loop_scope=session"), "pytest.mark.anyio", 1, id="anyio-session"),
    ],
)
def test_one_loop_and_its_lifespans(
    pytester: pytest.Pytester,
    with_app: Callable[..., None],
    quiet: tuple[str, ...],
    options: tuple[str, ...],
    mark: str,
    number: int,
) -> None:
    """The lifespan runs once per loop, and is left before its loop ends, in the task that entered it."""
    with_app(mark, SESSION_BACKEND)

    result = pytester.runpytest_inprocess(*quiet, *options, *WARNINGS)

    result.assert_outcomes(passed=8)
    assert lifespans(pytester) == ["up", "down"] * number


@pytest.mark.parametrize("definition", ["conftest", "module", "class"])
def test_a_client_of_the_user_over_ours(
    pytester: pytest.Pytester, with_app: Callable[..., None], quiet: tuple[str, ...], definition: str
) -> None:
    override = """
@pytest_asyncapi.fixture
async def client(SELFclient):
    client.headers["x-mine"] = "yes"
    yield client
"""
    with_app("pytest.mark.asyncio")
    for name in ("test_a.py", "test_b.py"):
        (pytester.path / name).unlink()
    conftest = override.replace("SELF", "") if definition == "conftest" else ""
    (pytester.path / "conftest.py").write_text(CONFTEST + conftest)
    method = override.replace("SELF", "self, ").replace("\n", "\n    ") if definition == "class" else ""
    module = override.replace("SELF", "") if definition == "module" else ""
    pytester.makepyfile(
        f"import asyncio, pytest, pytest_asyncapi\n{module}\n\nclass TestIt:\n    pass\n{method}\n"
        "    @pytest.mark.asyncio\n"
        "    async def test_it(self, client, seen):\n"
        "        assert client.headers['x-mine'] == 'yes'\n"
        "        assert (await client.get('/')).json()['endpoint'] == id(asyncio.get_running_loop())\n"
    )

    pytester.runpytest_inprocess(*quiet, *STRICT, *WARNINGS).assert_outcomes(passed=1)


def test_all_runners_and_a_sync_test_in_one_run(
    pytester: pytest.Pytester, with_app: Callable[..., None], quiet: tuple[str, ...]
) -> None:
    with_app("pytest.mark.asyncio", SESSION_BACKEND)
    module = TESTS.format(mark="pytestmark = pytest.mark.anyio") + "\nclass TestSync:\n    def test_it(self): pass\n"
    pytester.makepyfile(
        test_b=module, test_c=TESTS.format(mark='pytestmark = pytest.mark.asyncio(loop_scope="module")')
    )

    result = pytester.runpytest_inprocess(*quiet, *STRICT, *WARNINGS)

    result.assert_outcomes(passed=4 + 4 + 1 + 4)
    assert lifespans(pytester) == ["up", "down"] * (4 + 4 + 1)


def test_a_fixture_of_the_user_in_another_loop(
    pytester: pytest.Pytester, with_app: Callable[..., None], quiet: tuple[str, ...]
) -> None:
    """The client itself notices, and the note below names the fixture and the cure."""
    with_app("pytest.mark.asyncio")
    for name in ("test_a.py", "test_b.py"):
        (pytester.path / name).unlink()
    pytester.makepyfile(
        """
        import pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def page(client):
            return (await client.get("/")).json()

        @pytest.mark.asyncio
        async def test_it(page): pass
        """
    )

    result = pytester.runpytest_inprocess(*quiet, *STRICT, *SESSION)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "E*WrongLoopError: this client was made in another event loop than the one that runs now. *",
            "E*fixture 'page' runs in an event loop for each function, but test_it and the fixtures of pytest-asyncapi"
            " that it uses live in one for each session.",
            "E*Write it with @pytest_asyncapi.fixture, which follows the test, or set"
            " `asyncio_default_fixture_loop_scope = session`.",
        ]
    )


def test_no_timeout_because_of_the_prompt_of_pdb(pytester):
    """The time at the prompt is not the app's: real pdb, with what somebody types."""
    shop = """
    import asyncio

    async def app(scope, receive, send):
        await asyncio.sleep(0)
        breakpoint()
        await asyncio.sleep(0.05)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"stepped"})
    """
    test = """
    async def test_it(client):
        assert (await client.get("/")).text == "stepped"
    """
    pytester.makepyfile(shop=shop, test_it=test)
    options = ("-p", "no:randomly", "-p", "no:xdist", "-s", "-o", "pythonpath=.", "-o", "asyncapi_app=shop:app")
    read_timeout = ("-o", "asyncapi_read_timeout=0.2", "-o", "asyncapi_lifespan=off")
    command = (sys.executable, "-m", "pytest", *options, *read_timeout, *AUTO)

    run = pytester.run(*command, stdin=b"import time; time.sleep(0.5)\ncontinue\n")

    run.stdout.fnmatch_lines(["*(Pdb) *"])
    run.assert_outcomes(passed=1)
