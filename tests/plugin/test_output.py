"""What pytest's own listings show of the plugin, and what is left when parts of it are switched off."""

import pytest


def test_fixtures_are_listed_with_text_and_place(beside_a_neighbour: pytest.Pytester, quiet: tuple[str, ...]) -> None:
    """The short name's entry shows the fixture's own file, not the alias's; hidden fixtures are hidden."""
    (beside_a_neighbour.path / "pytest.ini").write_text("[pytest]\nasyncapi_names = true\n")

    result = beside_a_neighbour.runpytest_inprocess("-p", "room", "--fixtures", *quiet)

    text = result.stdout.str()
    result.stdout.fnmatch_lines_random(
        [
            "gadget -- room.py:*",
            "asyncapi_gadget -- room.py:*",
            "    Our gadget, on the app under test.",
        ]
    )
    assert "_asyncapi_loop" not in text


def test_setup_plan_runs_nothing(pytester: pytest.Pytester, quiet: tuple[str, ...]) -> None:
    pytester.makepyfile(
        """
        import pytest, pytest_asyncapi

        @pytest_asyncapi.fixture
        async def never(_asyncapi_loop):
            raise RuntimeError("set up")

        @pytest.mark.asyncio
        async def test_asyncio(never): raise RuntimeError("run")

        @pytest.mark.anyio
        async def test_anyio(never): raise RuntimeError("run")
        """
    )

    result = pytester.runpytest_inprocess(
        "--setup-plan",
        "-p",
        "no:randomly",
        "-o",
        "asyncio_mode=strict",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
    )

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*SETUP*F never*", "*test_asyncio*never*"])


def test_setup_show(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest, pytest_asyncapi

        @pytest_asyncapi.fixture
        async def number(_asyncapi_loop): return 7

        @pytest.mark.asyncio
        async def test_it(number): assert number == 7
        """
    )
    options = ("-p", "no:randomly", "-o", "asyncio_default_fixture_loop_scope=function")

    result = pytester.runpytest_inprocess("--setup-show", *options)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*SETUP*F _asyncapi_loop*", "*SETUP*F number*", "*TEARDOWN F number*"])


def test_without_the_plugin_its_names_are_gone(pytester: pytest.Pytester, quiet: tuple[str, ...]) -> None:
    """`-p no:asyncapi` leaves a plain pytest: an ini key of ours is unknown, and a warning says so."""
    (pytester.path / "pytest.ini").write_text("[pytest]\nasyncapi_app = somewhere:app\n")
    pytester.makepyfile("def test_it(request): pass\ndef test_that(asyncapi_client): pass")

    result = pytester.runpytest_inprocess("-p", "no:asyncapi", *quiet)

    result.assert_outcomes(passed=1, errors=1, warnings=1)
    result.stdout.fnmatch_lines_random(
        ["*PytestConfigWarning: Unknown config option: asyncapi_app*", "E*fixture 'asyncapi_client' not found"]
    )


def test_the_fixture_decorator_works_without_the_plugin_in_auto_mode(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest_asyncapi

        @pytest_asyncapi.fixture
        async def number(): return 7

        async def test_it(number): assert number == 7
        """
    )
    options = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function", "-p", "no:randomly")

    pytester.runpytest_inprocess("-p", "no:asyncapi", *options).assert_outcomes(passed=1)


def test_help_lists_every_flag_and_ini_key(pytester: pytest.Pytester, quiet: tuple[str, ...]) -> None:
    from pytest_asyncapi.settings import OPTIONS, ini_key

    text = pytester.runpytest_inprocess("--help", *quiet).stdout.str()

    for name, option in OPTIONS.items():
        assert ini_key(name) in text
        assert option.flag is None or option.flag in text
