"""Async fixtures of the plugin, and of users, run in the event loop of the test, whoever runs it."""

from collections.abc import Callable

import pytest

FIXTURE_LOOPS = ("-o", "asyncio_default_fixture_loop_scope=function")  # pytest-asyncio warns where it is not set
STRICT = ("-o", "asyncio_mode=strict", *FIXTURE_LOOPS)
AUTO = ("-o", "asyncio_mode=auto", *FIXTURE_LOOPS)
ANYIO = ("-p", "no:asyncio")

SESSION_BACKEND = """
@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"
"""
MODULE_BACKEND = SESSION_BACKEND.replace("session", "module")
UVLOOP_BACKEND = SESSION_BACKEND.replace('"asyncio"', '("asyncio", {"use_uvloop": True})')


@pytest.mark.parametrize(
    ("options", "mark", "scope"),
    [
        pytest.param(STRICT, "pytest.mark.asyncio", "function", id="strict-function"),
        pytest.param(STRICT, 'pytest.mark.asyncio(loop_scope="class")', "class", id="strict-class"),
        pytest.param(STRICT, 'pytest.mark.asyncio(loop_scope="module")', "module", id="strict-module"),
        pytest.param(STRICT, 'pytest.mark.asyncio(loop_scope="package")', "package", id="strict-package"),
        pytest.param(STRICT, 'pytest.mark.asyncio(loop_scope="session")', "session", id="strict-session"),
        pytest.param(
            (*STRICT, "-o", "asyncio_default_test_loop_scope=session"),
            "pytest.mark.asyncio",
            "session",
            id="strict-session-by-ini",
        ),
        pytest.param(AUTO, "", "function", id="auto-function"),
        pytest.param(AUTO, 'pytest.mark.asyncio(loop_scope="class")', "class", id="auto-class"),
        pytest.param((*AUTO, "-o", "asyncio_default_test_loop_scope=session"), "", "session", id="auto-session"),
    ],
)
def test_under_pytest_asyncio(
    project: pytest.Pytester,
    write_matrix: Callable[[str], None],
    events: Callable[[], list[str]],
    quiet: tuple[str, ...],
    opened: dict[str, int],
    options: tuple[str, ...],
    mark: str,
    scope: str,
) -> None:
    """What is bound to a loop is opened once per loop, and closed in it; no warning is caused."""
    write_matrix(mark)

    result = project.runpytest_inprocess(*quiet, *options, "-W", "error")

    result.assert_outcomes(passed=8)
    found = events()
    assert (found.count("open"), found.count("close")) == (opened[scope], opened[scope])
    assert found.count("torn down") == 8


@pytest.mark.parametrize(
    ("options", "mark", "backend", "scope"),
    [
        pytest.param((), "pytest.mark.anyio", MODULE_BACKEND, "function", id="mark"),
        pytest.param(ANYIO, "pytest.mark.anyio", MODULE_BACKEND, "function", id="without-pytest-asyncio"),
        pytest.param((*ANYIO, "-o", "anyio_mode=auto"), "", MODULE_BACKEND, "function", id="auto"),
        pytest.param(
            ("-o", "asyncapi_anyio_loop_scope=class"), "pytest.mark.anyio", MODULE_BACKEND, "class", id="class"
        ),
        pytest.param(
            ("-o", "asyncapi_anyio_loop_scope=module"), "pytest.mark.anyio", MODULE_BACKEND, "module", id="module"
        ),
        pytest.param(
            ("-o", "asyncapi_anyio_loop_scope=package"), "pytest.mark.anyio", SESSION_BACKEND, "package", id="package"
        ),
        pytest.param(
            ("-o", "asyncapi_anyio_loop_scope=session"), "pytest.mark.anyio", SESSION_BACKEND, "session", id="session"
        ),
        pytest.param(
            (),
            '[pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]',
            "",
            "function",
            id="backend-by-parametrize",
        ),
    ],
)
def test_under_anyio(
    project: pytest.Pytester,
    write_matrix: Callable[[str], None],
    events: Callable[[], list[str]],
    quiet: tuple[str, ...],
    opened: dict[str, int],
    options: tuple[str, ...],
    mark: str,
    backend: str,
    scope: str,
) -> None:
    """The same fixtures, unchanged, work in tests that anyio runs."""
    write_matrix(mark)
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write(backend)

    result = project.runpytest_inprocess(*quiet, *(() if "no:asyncio" in options else STRICT), *options, "-W", "error")

    result.assert_outcomes(passed=8)
    found = events()
    assert (found.count("open"), found.count("close")) == (opened[scope], opened[scope])
    assert found.count("torn down") == 8


@pytest.mark.parametrize("runner", ["anyio", "pytest-asyncio"])
def test_on_uvloop(
    project: pytest.Pytester,
    write_matrix: Callable[[str], None],
    events: Callable[[], list[str]],
    quiet: tuple[str, ...],
    runner: str,
) -> None:
    pytest.importorskip("uvloop")
    if runner == "anyio":
        write_matrix("pytest.mark.anyio")
        more = UVLOOP_BACKEND
    else:
        write_matrix("pytest.mark.asyncio(loop_scope='module')")
        more = """
import uvloop

def pytest_asyncio_loop_factories(config, item):
    return {"std": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
"""
        specifications = getattr(pytest.importorskip("pytest_asyncio.plugin"), "PytestAsyncioSpecs", None)
        if not hasattr(specifications, "pytest_asyncio_loop_factories"):
            pytest.skip("this pytest-asyncio has no loop factories")
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write(more)

    result = project.runpytest_inprocess(*quiet, *STRICT, "-W", "error")

    result.assert_outcomes(passed=8 if runner == "anyio" else 16)
    found = events()
    assert found.count("open") == found.count("close") == (8 if runner == "anyio" else 6)


def test_all_runners_in_one_run(
    project: pytest.Pytester, events: Callable[[], list[str]], quiet: tuple[str, ...]
) -> None:
    """A fixture that pytest-asyncio ran is handed to anyio for the next test, and back."""
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write(SESSION_BACKEND)
    project.makepyfile(
        """
        import asyncio
        import pytest

        def scope(name):
            return pytest.mark.asyncio(loop_scope=name)

        async def check(loop_of_fixture):
            assert asyncio.get_running_loop() is loop_of_fixture

        @pytest.mark.asyncio
        async def test_function(loop_of_fixture): await check(loop_of_fixture)
        @pytest.mark.anyio
        async def test_anyio(loop_of_fixture): await check(loop_of_fixture)
        @scope("session")
        async def test_session(loop_of_fixture): await check(loop_of_fixture)
        @scope("module")
        async def test_module(loop_of_fixture): await check(loop_of_fixture)
        @pytest.mark.anyio
        async def test_anyio_again(loop_of_fixture): await check(loop_of_fixture)
        @pytest.mark.asyncio
        async def test_function_again(loop_of_fixture): await check(loop_of_fixture)
        @scope("session")
        async def test_session_again(loop_of_fixture): await check(loop_of_fixture)
        def test_sync(): pass
        """
    )

    result = project.runpytest_inprocess(*quiet, *STRICT, "-W", "error")

    result.assert_outcomes(passed=8)
    found = events()
    assert (found.count("open"), found.count("close")) == (6, 6)  # the two session tests share one


def test_under_xdist(project: pytest.Pytester, write_matrix: Callable[[str], None]) -> None:
    pytest.importorskip("xdist")
    write_matrix("pytest.mark.asyncio(loop_scope='session')")

    result = project.runpytest_subprocess("-q", "-n", "2", "-p", "no:randomly", *STRICT, "-W", "error")

    result.assert_outcomes(passed=8)


@pytest.mark.parametrize("seed", [1, 2])
def test_in_random_order(
    project: pytest.Pytester, write_matrix: Callable[[str], None], events: Callable[[], list[str]], seed: int
) -> None:
    pytest.importorskip("pytest_randomly")
    write_matrix("pytest.mark.asyncio(loop_scope='module')")

    result = project.runpytest_subprocess("-q", "-p", "no:xdist", f"--randomly-seed={seed}", *STRICT, "-W", "error")

    result.assert_outcomes(passed=8)
    assert events().count("open") == events().count("close")


@pytest.mark.parametrize("mark", ["asyncio", "anyio"])
def test_with_hypothesis(
    project: pytest.Pytester, events: Callable[[], list[str]], quiet: tuple[str, ...], mark: str
) -> None:
    """Both plugins run a test's examples one after another in one loop, with the fixtures of the test."""
    pytest.importorskip("hypothesis")
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write(SESSION_BACKEND)
    project.makepyfile(
        f"""
        import asyncio
        import pytest
        from hypothesis import HealthCheck, given, settings, strategies

        @pytest.mark.{mark}
        @settings(max_examples=5, database=None, suppress_health_check=list(HealthCheck))
        @given(number=strategies.integers())
        async def test_it(loop_of_fixture, number):
            assert asyncio.get_running_loop() is loop_of_fixture
        """
    )

    result = project.runpytest_inprocess(*quiet, *STRICT)

    result.assert_outcomes(passed=1)
    assert events() == ["open", "torn down", "close"]
