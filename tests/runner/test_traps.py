"""Each wrong combination of test, runner and fixture has an error of its own, which says what to write instead.

`gadget` stands for every async fixture of the plugin.
"""

from collections.abc import Callable

import pytest

Messages = Callable[[pytest.RunResult], str]

BACKEND = """
@pytest.fixture(scope="{scope}")
def anyio_backend():
    return "asyncio"
"""


def test_a_sync_test(with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages) -> None:
    with_gadget.makepyfile("def test_it(gadget): pass")

    result = with_gadget.runpytest_inprocess(*quiet)

    assert messages(result) == (
        "fixture 'gadget' is asynchronous, but test_it is a plain function: make it `async def`."
    )


def test_a_sync_test_that_asks_through_a_fixture_of_its_own(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages
) -> None:
    with_gadget.makepyfile(
        """
        import pytest

        @pytest.fixture
        def mine(asyncapi_gadget): pass

        def test_it(mine): pass
        """
    )

    result = with_gadget.runpytest_inprocess(*quiet)

    assert messages(result) == (
        "fixture 'gadget' is asynchronous, but test_it is a plain function: make it `async def`."
    )


def test_nobody_runs_the_test(with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages) -> None:
    with_gadget.makepyfile("async def test_it(gadget): pass")

    result = with_gadget.runpytest_inprocess(*quiet, "-o", "asyncio_mode=strict")

    assert messages(result) == (
        "nothing runs the async test test_it, which needs fixture 'gadget'.\n"
        "  - pytest-asyncio: set `asyncio_mode = auto`, or mark the test with @pytest.mark.asyncio\n"
        "  - anyio: set `anyio_mode = auto`, or mark the test with @pytest.mark.anyio"
    )


def test_nobody_could_run_the_test(with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages) -> None:
    """Only what is installed is proposed, and something to install where nothing is."""
    with_gadget.makeini("[pytest]\nasyncapi_names = true")
    with_gadget.makepyfile("async def test_it(gadget): pass")

    result = with_gadget.runpytest_inprocess(*quiet, "-p", "no:asyncio", "-p", "no:anyio")

    assert messages(result) == (
        "nothing runs the async test test_it, which needs fixture 'gadget'.\n"
        "  - install pytest-asyncio: pip install 'pytest-asyncapi[asyncio]'"
    )


def test_auto_mode_beside_the_anyio_marker(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages
) -> None:
    """pytest-asyncio would run the test, and anyio its fixtures, in two loops. FastAPI's docs teach the marker."""
    with_gadget.makepyfile(
        """
        import pytest

        @pytest.mark.anyio
        async def test_it(gadget): pass
        """
    )
    with (with_gadget.path / "conftest.py").open("a") as conftest:
        conftest.write(BACKEND.format(scope="module"))

    result = with_gadget.runpytest_inprocess(*quiet, "-o", "asyncio_mode=auto")

    assert messages(result) == (
        "test_it is run by pytest-asyncio, but its anyio marker or `anyio_backend` fixture (or `anyio_mode = auto`)"
        " makes anyio run its async fixtures, in another event loop.\n"
        "Let one of the two run it: remove the anyio marker and `anyio_mode`, or set `asyncio_mode = strict`."
    )


def test_trio(with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages) -> None:
    with_gadget.makepyfile(
        """
        import pytest

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["trio"])
        async def test_it(gadget): pass
        """
    )

    result = with_gadget.runpytest_inprocess(*quiet, "-o", "asyncio_mode=strict")

    assert messages(result) == (
        "fixture 'gadget' works on asyncio only, and anyio runs test_it[trio] on trio. Write in conftest.py:\n"
        "\n"
        '    @pytest.fixture(scope="session")\n'
        "    def anyio_backend():\n"
        '        return "asyncio"'
    )


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_pytest_trio(with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages, kind: str) -> None:
    """Its marker says so, whether it is installed or not."""
    with_gadget.makepyfile(f"import pytest\n@pytest.mark.trio\n{kind} test_it(gadget): pass")

    result = with_gadget.runpytest_inprocess(*quiet, "-o", "asyncio_mode=strict", "-o", "markers=trio")

    assert messages(result) == "fixture 'gadget' works on asyncio only, and test_it is run by pytest-trio."


def test_the_default_backends_of_anyio_where_trio_is_installed(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...]
) -> None:
    """Without an `anyio_backend` of the project, each test runs twice: on asyncio it works, on trio it says why not."""
    pytest.importorskip("trio")
    with_gadget.makepyfile("import pytest\n@pytest.mark.anyio\nasync def test_it(gadget): pass")

    result = with_gadget.runpytest_inprocess(*quiet, "-o", "asyncio_mode=strict")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*works on asyncio only, and anyio runs test_it?trio? on trio*"])


@pytest.mark.parametrize("scope", ["package", "session"])
def test_anyio_loops_wider_than_its_backend_fixture(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages, scope: str
) -> None:
    with_gadget.makepyfile("import pytest\n@pytest.mark.anyio\nasync def test_it(gadget): pass")
    with (with_gadget.path / "conftest.py").open("a") as conftest:
        conftest.write(BACKEND.format(scope="module"))

    result = with_gadget.runpytest_inprocess(
        *quiet, "-o", "asyncio_mode=strict", "-o", f"asyncapi_anyio_loop_scope={scope}"
    )

    assert messages(result) == (
        f"fixture 'gadget' shall live in an event loop for each {scope} (`asyncapi_anyio_loop_scope = {scope}`), but"
        " anyio makes a loop for each module at most while its fixture `anyio_backend` has scope 'module'. Write in"
        " conftest.py:\n"
        "\n"
        '    @pytest.fixture(scope="session")\n'
        "    def anyio_backend():\n"
        '        return "asyncio"'
    )


@pytest.mark.parametrize("mark", ["asyncio", "anyio"])
@pytest.mark.parametrize("earlier", ["", "gadget, "])
def test_getfixturevalue_in_a_running_test(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages, mark: str, earlier: str
) -> None:
    """Also for another fixture than the first, whose loop is known already; no coroutine is left behind."""
    with (with_gadget.path / "conftest.py").open("a") as conftest:
        conftest.write(BACKEND.format(scope="module"))
        conftest.write("@public_fixture\nasync def gizmo(_asyncapi_loop): return 1\n")
    with_gadget.makepyfile(
        f"""
        import pytest

        @pytest.mark.{mark}
        async def test_it({earlier}request):
            with pytest.raises(pytest.fail.Exception) as caught:
                request.getfixturevalue("gizmo")
            print("<" + str(caught.value) + ">")
        """
    )

    result = with_gadget.runpytest_inprocess(*quiet, "-s", "-W", "error", "-o", "asyncio_mode=strict")

    result.assert_outcomes(passed=1)
    text = result.stdout.str()
    assert text[text.index("<") + 1 : text.index(">")] == (
        "fixture 'gizmo' is asynchronous, and request.getfixturevalue() cannot set it up while an async test is"
        " running.\n"
        "Take it as an argument of the test (or of a fixture of the test), or name it in @pytest.mark.usefixtures."
    )


@pytest.mark.parametrize("base", ["TestCase", "IsolatedAsyncioTestCase"])
def test_unittest(with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages, base: str) -> None:
    with_gadget.makepyfile(
        f"""
        import unittest
        import pytest

        class TestIt(unittest.{base}):
            @pytest.fixture(autouse=True)
            def take(self, gadget):
                self.gadget = gadget

            {"async " if base.startswith("Isolated") else ""}def test_it(self): pass
        """
    )

    result = with_gadget.runpytest_inprocess(*quiet, "-o", "asyncio_mode=auto")

    assert messages(result) == (
        "fixture 'gadget' is asynchronous, and test_it is a unittest.TestCase method, which runs outside of pytest's"
        " async plugins (IsolatedAsyncioTestCase makes an event loop of its own).\n"
        "Make it a plain class or function, or open the client inside the test: `async with"
        " pytest_asyncapi.client.AsyncClient(app) as client`."
    )


@pytest.mark.parametrize(
    ("mark", "cure"),
    [
        ("asyncio", '@pytest.mark.asyncio(loop_scope="module") or `asyncio_default_test_loop_scope = module`'),
        ("anyio", "`asyncapi_anyio_loop_scope = module`"),
    ],
)
def test_a_fixture_wider_than_the_loop(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages, mark: str, cure: str
) -> None:
    with_gadget.makepyfile(
        f"""
        import pytest, pytest_asyncapi

        @pytest_asyncapi.fixture(scope="module")
        async def server(): return 1

        @pytest.mark.{mark}
        async def test_it(server): pass
        """
    )
    with (with_gadget.path / "conftest.py").open("a") as conftest:
        conftest.write(BACKEND.format(scope="module"))

    result = with_gadget.runpytest_inprocess(*quiet, "-o", "asyncio_mode=strict")

    assert messages(result) == (
        "fixture 'server' has scope 'module', but the event loop of test_it lives for its function only.\n"
        f"Narrow the fixture to scope='function', or widen the loop: {cure}."
    )


def test_a_refusal_is_that_of_one_test(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages
) -> None:
    """It leaves the fixture, which many tests share, as it was: refused again where it must be, and given where not."""
    with_gadget.makepyfile(
        """
        import pytest
        import pytest_asyncapi

        @pytest_asyncapi.fixture(scope="module")
        async def wide(): return 1

        @pytest_asyncapi.fixture
        async def own(): return 2

        def test_sync(own): pass
        def test_sync_too(own): pass
        async def test_async(own): assert own == 2
        async def test_narrow(wide): pass
        async def test_narrow_too(wide): pass

        @pytest.mark.asyncio(loop_scope="module")
        async def test_wide(wide): assert wide == 1

        class TestMethods:
            @pytest_asyncapi.fixture
            async def own(self): return self

            def test_sync(self, own): pass
            async def test_async(self, own): assert own is self
        """
    )

    result = with_gadget.runpytest_inprocess(*quiet, "-o", "asyncio_mode=auto")

    result.assert_outcomes(passed=3, errors=5)
    result.stdout.no_fnmatch_line("*AssertionError*")
    result.stdout.fnmatch_lines(
        [
            "*'own' is asynchronous, but test_sync is a plain function*",
            "*'own' is asynchronous, but test_sync_too is a plain function*",
            "*'wide' has scope 'module', but the event loop of test_narrow lives for its function only.",
            "*'wide' has scope 'module', but the event loop of test_narrow_too lives for its function only.",
            "*'own' is asynchronous, but test_sync is a plain function*",
        ]
    )


def test_a_fixture_that_was_made_in_another_loop(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages
) -> None:
    """pytest hands a cached fixture to every test of its scope; a test in another loop must not get it unseen."""
    with_gadget.makepyfile(
        """
        import pytest, pytest_asyncapi

        @pytest_asyncapi.fixture(scope="module")
        async def server(): return 1

        @pytest.mark.asyncio(loop_scope="session")
        async def test_first(server): pass

        @pytest.mark.asyncio(loop_scope="module")
        async def test_second(server): pass
        """
    )

    result = with_gadget.runpytest_inprocess(*quiet, "-o", "asyncio_mode=strict")

    result.assert_outcomes(passed=1, errors=1)
    assert messages(result) == (
        "fixture 'server' (scope 'module') was made for test_first, which is run by pytest-asyncio, in an event loop"
        " for each session. It belongs to that loop, and test_second is run by pytest-asyncio, in an event loop for"
        " each module.\n"
        "Let one plugin run both, with one loop scope, or make the fixture function-scoped."
    )


def test_a_fixture_that_another_plugin_ran(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages
) -> None:
    with_gadget.makepyfile(
        """
        import pytest, pytest_asyncapi

        @pytest_asyncapi.fixture(scope="module")
        async def server(): return 1

        @pytest.mark.asyncio(loop_scope="module")
        async def test_first(server): pass

        @pytest.mark.anyio
        async def test_second(server): pass
        """
    )
    with (with_gadget.path / "conftest.py").open("a") as conftest:
        conftest.write(BACKEND.format(scope="session"))

    result = with_gadget.runpytest_inprocess(
        *quiet, "-o", "asyncio_mode=strict", "-o", "asyncapi_anyio_loop_scope=module"
    )

    result.assert_outcomes(passed=1, errors=1)
    assert messages(result) == (
        "fixture 'server' (scope 'module') was made for test_first, which is run by pytest-asyncio, in an event loop"
        " for each module. It belongs to that loop, and test_second is run by anyio, in an event loop for each"
        " module.\n"
        "Let one plugin run both, with one loop scope, or make the fixture function-scoped."
    )


def test_a_fixture_of_the_user_in_another_loop(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...], messages: Messages
) -> None:
    """The usual case: session loops for tests, and nothing said of fixtures. The library's error gets a note."""
    with_gadget.makepyfile(
        """
        import asyncio
        import pytest, pytest_asyncio

        async def use(loop):
            if asyncio.get_running_loop() is not loop:
                raise RuntimeError("attached to a different loop")

        @pytest_asyncio.fixture
        async def user(gadget):
            await use(gadget)

        @pytest.mark.asyncio
        async def test_it(user): pass
        """
    )
    options = ("-o", "asyncio_mode=strict", "-o", "asyncio_default_test_loop_scope=session")

    result = with_gadget.runpytest_inprocess(*quiet, *options)
    fixed = with_gadget.runpytest_inprocess(*quiet, *options, "-o", "asyncio_default_fixture_loop_scope=session")

    result.assert_outcomes(errors=1)
    fixed.assert_outcomes(passed=1)
    errors = "\n".join(
        line[1:].strip() for line in result.outlines if line.startswith("E    ") and "[100%]" not in line
    )
    assert errors == (
        "RuntimeError: attached to a different loop\n"
        "fixture 'user' runs in an event loop for each function, but test_it and the fixtures of pytest-asyncapi that"
        " it uses live in one for each session.\n"
        "Write it with @pytest_asyncapi.fixture, which follows the test, or set `asyncio_default_fixture_loop_scope ="
        " session`."
    )
