"""`pytest_asyncapi.fixture`, and users' fixtures over and under those of the plugin."""

import pytest

STRICT = ("-o", "asyncio_mode=strict", "-W", "error")


def test_a_fixture_of_the_same_name_wins_and_may_ask_for_ours(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...]
) -> None:
    with_gadget.makepyfile(
        """
        import pytest, pytest_asyncapi

        @pytest_asyncapi.fixture
        async def gadget(gadget, asyncapi_gadget):
            assert gadget is asyncapi_gadget
            yield "mine", gadget

        @pytest.mark.asyncio
        async def test_it(gadget, asyncapi_gadget):
            assert gadget == ("mine", asyncapi_gadget)
        """
    )

    with_gadget.runpytest_inprocess(*quiet, *STRICT).assert_outcomes(passed=1)


def test_fixtures_of_pytest_asyncio_and_of_anyio_over_ours(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...]
) -> None:
    with_gadget.makepyfile(
        """
        import asyncio
        import pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def theirs(gadget):
            assert asyncio.get_running_loop() is gadget
            yield gadget

        @pytest.mark.asyncio
        async def test_it(theirs):
            assert asyncio.get_running_loop() is theirs

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.fixture
        async def anyios(gadget):
            assert asyncio.get_running_loop() is gadget
            yield gadget

        @pytest.mark.anyio
        async def test_that(anyios):
            assert asyncio.get_running_loop() is anyios
        """
    )

    with_gadget.runpytest_inprocess(*quiet, *STRICT).assert_outcomes(passed=2)


@pytest.mark.parametrize("mark", ["asyncio", "anyio"])
def test_methods_of_a_class(with_gadget: pytest.Pytester, quiet: tuple[str, ...], mark: str) -> None:
    """The fixture runs on the instance of the test, each test having its own."""
    with_gadget.makepyfile(
        f"""
        import asyncio
        import pytest, pytest_asyncapi

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.{mark}
        class TestIt:
            @pytest_asyncapi.fixture
            async def seen(self, gadget):
                assert not hasattr(self, "found")
                self.found = gadget
                yield self
                assert asyncio.get_running_loop() is gadget

            async def test_one(self, seen):
                assert seen is self
                assert self.found is asyncio.get_running_loop()

            async def test_two(self, seen):
                assert seen is self
        """
    )

    with_gadget.runpytest_inprocess(*quiet, *STRICT).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("mark", "options"),
    [('asyncio(loop_scope="module")', ()), ("anyio", ("-o", "asyncapi_anyio_loop_scope=module"))],
    ids=["asyncio", "anyio"],
)
def test_wider_scopes(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...], mark: str, options: tuple[str, ...]
) -> None:
    """A fixture as wide as the loop is made once for it, and one of a narrower scope may build on it."""
    with_gadget.makepyfile(
        f"""
        import asyncio
        import pytest, pytest_asyncapi

        pytestmark = pytest.mark.{mark}
        made = []

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

        @pytest_asyncapi.fixture(scope="module", params=["a", "b"])
        async def server(request):
            made.append(request.param)
            yield asyncio.get_running_loop()

        @pytest_asyncapi.fixture(scope="class")
        async def table(server):
            return server

        class TestIt:
            async def test_one(self, table, gadget):
                assert asyncio.get_running_loop() is table is gadget

            async def test_two(self, table, server):
                assert asyncio.get_running_loop() is table is server

        async def test_made(server):
            assert made in (["a"], ["a", "b"])
        """
    )

    with_gadget.runpytest_inprocess(*quiet, *STRICT, *options).assert_outcomes(passed=6)


def test_dynamic_and_autouse(with_gadget: pytest.Pytester, quiet: tuple[str, ...]) -> None:
    """`request.getfixturevalue` in a sync fixture works, as do autouse fixtures and `usefixtures`."""
    with_gadget.makepyfile(
        """
        import asyncio
        import pytest, pytest_asyncapi

        log = []

        @pytest_asyncapi.fixture(autouse=True)
        async def always(request):
            log.append(asyncio.get_running_loop())
            yield

        @pytest.fixture
        def dynamic(request):
            return request.getfixturevalue("gadget")

        @pytest.mark.asyncio
        @pytest.mark.usefixtures("gadget")
        async def test_it(dynamic):
            assert asyncio.get_running_loop() is dynamic is log[-1]
        """
    )

    with_gadget.runpytest_inprocess(*quiet, *STRICT).assert_outcomes(passed=1)


def test_a_failure_in_set_up_and_in_tear_down_is_the_fixtures_own(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...]
) -> None:
    with_gadget.makepyfile(
        """
        import pytest, pytest_asyncapi

        @pytest_asyncapi.fixture
        async def broken():
            raise ValueError("no set-up")
            yield

        @pytest_asyncapi.fixture
        async def breaks():
            yield
            raise ValueError("no tear-down")

        @pytest_asyncapi.fixture
        async def skips():
            pytest.skip("not today")

        @pytest.mark.asyncio
        async def test_set_up(broken, gadget): pass

        @pytest.mark.asyncio
        async def test_tear_down(breaks, gadget): pass

        @pytest.mark.asyncio
        async def test_skipped(skips, gadget): pass
        """
    )

    result = with_gadget.runpytest_inprocess(*quiet, *STRICT)

    result.assert_outcomes(passed=1, errors=2, skipped=1)
    result.stdout.fnmatch_lines(["E*ValueError: no set-up", "E*ValueError: no tear-down"])


def test_anchored_resources_are_closed_newest_first_also_when_one_fails(
    with_gadget: pytest.Pytester, quiet: tuple[str, ...]
) -> None:
    with_gadget.makepyfile(
        """
        from contextlib import asynccontextmanager
        import pytest, pytest_asyncapi

        log = []

        @asynccontextmanager
        async def resource(name):
            log.append(f"open {name}")
            try:
                yield name
            finally:
                log.append(f"close {name}")
                if name == "b":
                    raise ValueError("b does not close")

        @pytest_asyncapi.fixture
        async def both(_asyncapi_loop):
            a = await _asyncapi_loop.get("a", lambda: resource("a"))
            b = await _asyncapi_loop.get("b", lambda: resource("b"))
            assert await _asyncapi_loop.get("a", lambda: resource("again")) is a
            return a, b

        @pytest.mark.asyncio
        async def test_it(both):
            assert both == ("a", "b")

        def test_log():
            assert log == ["open a", "open b", "close b", "close a"]
        """
    )

    result = with_gadget.runpytest_inprocess(*quiet, *STRICT)

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["E*ValueError: b does not close"])


def test_contextvars_set_in_a_fixture_reach_the_test(with_gadget: pytest.Pytester, quiet: tuple[str, ...]) -> None:
    with_gadget.makepyfile(
        """
        import contextvars
        import pytest, pytest_asyncapi

        user = contextvars.ContextVar("user", default="nobody")

        @pytest_asyncapi.fixture
        async def ada(gadget):
            user.set("ada")

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.asyncio
        async def test_asyncio(ada):
            assert user.get() == "ada"

        @pytest.mark.anyio
        async def test_anyio(ada):
            assert user.get() == "ada"
        """
    )

    with_gadget.runpytest_inprocess(*quiet, *STRICT).assert_outcomes(passed=2)


def test_sync_functions_are_plain_fixtures(with_gadget: pytest.Pytester, quiet: tuple[str, ...]) -> None:
    with_gadget.makepyfile(
        """
        import pytest_asyncapi

        @pytest_asyncapi.fixture(scope="session")
        def number(): return 7

        def test_it(number): assert number == 7
        """
    )

    with_gadget.runpytest_inprocess(*quiet, *STRICT).assert_outcomes(passed=1)


def test_variants_of_a_fixture_go_with_it() -> None:
    """The copies made for pytest-asyncio hang on the function: nothing global keeps a test module alive."""
    import gc
    import weakref

    from pytest_asyncapi.runner import _for_asyncio

    async def original() -> None: ...

    copy = _for_asyncio(original, "module")
    assert copy is _for_asyncio(original, "module") is not _for_asyncio(original, "session")
    assert copy is not original
    gone = weakref.ref(original)

    del original, copy
    gc.collect()

    assert gone() is None
