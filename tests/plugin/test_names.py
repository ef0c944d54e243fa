"""The short names of the fixtures: given where a project configures the plugin, and nowhere else."""

import pytest

THEIRS = "def test_{name}(gadget, asyncapi_gadget): assert gadget == 'neighbour'\n"
OURS = "def test_{name}(gadget, gizmo): assert (gadget, gizmo) == ('ours on {app}', 'gizmo of ours on {app}')\n"


def test_installed_and_not_configured_the_neighbours_fixture_stays(
    beside_a_neighbour: pytest.Pytester, both: tuple[str, ...]
) -> None:
    """Beside pytest-django a plain `client` is Django's; ours has its long name."""
    beside_a_neighbour.makepyfile("def test_it(gadget): assert gadget == 'neighbour'")

    beside_a_neighbour.runpytest_inprocess(*both).assert_outcomes(passed=1)


def test_configured_by_ini_the_short_names_are_ours(
    beside_a_neighbour: pytest.Pytester, both: tuple[str, ...], app_text: str
) -> None:
    (beside_a_neighbour.path / "pytest.ini").write_text("[pytest]\nasyncapi_app = somewhere:app\n")
    beside_a_neighbour.makepyfile(app_text.format(app="shop") + OURS.format(name="it", app="shop"))

    beside_a_neighbour.runpytest_inprocess(*both).assert_outcomes(passed=1)


def test_names_can_be_asked_for_without_an_app(
    beside_a_neighbour: pytest.Pytester, both: tuple[str, ...], app_text: str
) -> None:
    (beside_a_neighbour.path / "pytest.ini").write_text("[pytest]\nasyncapi_names = true\n")
    beside_a_neighbour.makepyfile(app_text.format(app="shop") + OURS.format(name="it", app="shop"))

    beside_a_neighbour.runpytest_inprocess(*both).assert_outcomes(passed=1)


def test_names_can_be_refused_though_an_app_is_set(
    beside_a_neighbour: pytest.Pytester, both: tuple[str, ...], app_text: str
) -> None:
    (beside_a_neighbour.path / "pytest.ini").write_text(
        "[pytest]\nasyncapi_app = somewhere:app\nasyncapi_names = false\n"
    )
    beside_a_neighbour.makeconftest(app_text.format(app="shop"))
    beside_a_neighbour.makepyfile(THEIRS.format(name="it"))

    beside_a_neighbour.runpytest_inprocess(*both).assert_outcomes(passed=1)


def test_an_app_in_the_conftest_of_the_root_gives_the_names_to_all(
    beside_a_neighbour: pytest.Pytester, both: tuple[str, ...], app_text: str
) -> None:
    beside_a_neighbour.makeconftest(app_text.format(app="shop"))
    (beside_a_neighbour.path / "deep" / "er").mkdir(parents=True)
    (beside_a_neighbour.path / "deep" / "er" / "test_it.py").write_text(OURS.format(name="it", app="shop"))

    beside_a_neighbour.runpytest_inprocess(*both).assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", [(), ("shop", "admin", "plain"), ("plain", "shop", "admin")])
def test_an_app_in_the_conftest_of_a_directory_gives_the_names_there_only(
    beside_a_neighbour: pytest.Pytester, both: tuple[str, ...], app_text: str, arguments: tuple[str, ...]
) -> None:
    """Whether pytest reads that conftest file at its start or while it collects."""
    for app in ("shop", "admin"):
        (beside_a_neighbour.path / app).mkdir()
        (beside_a_neighbour.path / app / "conftest.py").write_text(app_text.format(app=app))
        (beside_a_neighbour.path / app / f"test_{app}.py").write_text(OURS.format(name="it", app=app))
    (beside_a_neighbour.path / "plain").mkdir()
    (beside_a_neighbour.path / "plain" / "test_plain.py").write_text(
        "def test_it(gadget): assert gadget == 'neighbour'\n"
    )

    result = beside_a_neighbour.runpytest_inprocess(*both, "--import-mode=importlib", *arguments)

    result.assert_outcomes(passed=3)


@pytest.mark.parametrize(
    "definition",
    [
        "@pytest.fixture\ndef gadget(gadget): return 'mine on ' + gadget",
        "@pytest.fixture(name='gadget')\ndef _gadget(gadget): return 'mine on ' + gadget",
        "@pytest.fixture(name='gadget')\ndef a_fixture(gadget): return 'mine on ' + gadget",
    ],
)
@pytest.mark.parametrize("by", ["conftest", "ini"])
def test_a_fixture_of_the_user_wins_and_may_ask_for_ours(
    beside_a_neighbour: pytest.Pytester, both: tuple[str, ...], app_text: str, definition: str, by: str
) -> None:
    if by == "ini":
        (beside_a_neighbour.path / "pytest.ini").write_text("[pytest]\nasyncapi_app = somewhere:app\n")
    beside_a_neighbour.makeconftest(app_text.format(app="shop") + "\n" + definition + "\n")
    beside_a_neighbour.makepyfile("def test_it(gadget): assert gadget == 'mine on ours on shop'")

    beside_a_neighbour.runpytest_inprocess(*both).assert_outcomes(passed=1)


def test_an_app_by_another_function_name_or_import_counts(
    beside_a_neighbour: pytest.Pytester, both: tuple[str, ...]
) -> None:
    beside_a_neighbour.makepyfile(
        support="import pytest\n@pytest.fixture(name='asgi_app')\ndef make_app(): return 'shop'\n"
    )
    beside_a_neighbour.makeconftest("from support import make_app\n")
    beside_a_neighbour.makepyfile(OURS.format(name="it", app="shop"))

    beside_a_neighbour.runpytest_inprocess(*both).assert_outcomes(passed=1)


def test_an_app_that_is_no_fixture_counts_for_nothing(
    beside_a_neighbour: pytest.Pytester, both: tuple[str, ...]
) -> None:
    """Django's `asgi_app = get_asgi_application()`, imported into a conftest file, configures nothing."""
    beside_a_neighbour.makeconftest("asgi_app = object()\n")
    beside_a_neighbour.makepyfile("def test_it(gadget): assert gadget == 'neighbour'")

    beside_a_neighbour.runpytest_inprocess(*both).assert_outcomes(passed=1)


def test_a_missing_short_name_says_how_to_get_it(beside_a_neighbour: pytest.Pytester, quiet: tuple[str, ...]) -> None:
    beside_a_neighbour.makepyfile("def test_it(gadget): pass")

    result = beside_a_neighbour.runpytest_inprocess("-p", "room", *quiet)

    result.assert_outcomes(errors=1)
    lines = [line.strip() for line in result.outlines]
    begin = next(index for index, line in enumerate(lines) if line.startswith("file "))
    assert lines[begin + 1 : begin + 9] == [
        "def test_it(gadget): pass",
        "E       fixture 'gadget' not found: pytest-asyncapi gives its fixtures their short names only where a project"
        " configures it.",
        '>       Set `asyncapi_app = "package.module:app"` in [tool.pytest.ini_options] of pyproject.toml, or in'
        " pytest.ini,",
        ">       or define a fixture `asgi_app` that returns the app, in the conftest.py of these tests,",
        ">       or set `asyncapi_names = true`. The long name works everywhere: 'asyncapi_gadget'.",
        ">       Use 'pytest --fixtures [testpath]' to see the fixtures of other plugins.",
        "",
        lines[begin].replace("file ", "").replace(", line ", ":"),
    ]


def test_another_missing_fixture_has_the_message_of_pytest(
    beside_a_neighbour: pytest.Pytester, quiet: tuple[str, ...]
) -> None:
    beside_a_neighbour.makepyfile("def test_it(gadgett): pass")

    result = beside_a_neighbour.runpytest_inprocess("-p", "room", *quiet)

    result.stdout.fnmatch_lines(
        ["E       fixture 'gadgett' not found", ">       available fixtures: *asyncapi_gadget, *"]
    )
    assert "_asyncapi_loop" not in result.stdout.str()


@pytest.mark.parametrize("name", ["gadget", "asyncapi_gadget"])
def test_a_fixture_of_ours_asked_for_by_one_that_tests_share(
    beside_a_neighbour: pytest.Pytester, both: tuple[str, ...], app_text: str, name: str
) -> None:
    (beside_a_neighbour.path / "pytest.ini").write_text("[pytest]\nasyncapi_names = true\n")
    beside_a_neighbour.makepyfile(
        app_text.format(app="shop")
        + f"@pytest.fixture(scope='session')\ndef wide({name}): pass\ndef test_it(wide): pass"
    )

    result = beside_a_neighbour.runpytest_inprocess(*both)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            f"*ScopeMismatch: You tried to access the function scoped fixture {name} with a session scoped*",
            "*pytest-asyncapi makes 'gadget' anew for each test, so no fixture that several tests share can ask for*",
        ]
    )
    assert "During handling" not in result.stdout.str()


def test_another_fixture_of_too_narrow_a_scope_has_the_message_of_pytest(
    beside_a_neighbour: pytest.Pytester, both: tuple[str, ...]
) -> None:
    beside_a_neighbour.makepyfile(
        "import pytest\n@pytest.fixture(scope='session')\ndef wide(monkeypatch): pass\ndef test_it(wide): pass"
    )

    result = beside_a_neighbour.runpytest_inprocess(*both)

    result.stdout.fnmatch_lines(["*ScopeMismatch: You tried to access the function scoped fixture monkeypatch with*"])
    assert "anew for each test" not in result.stdout.str()


def test_the_long_name_by_getfixturevalue_alone_says_what_is_missing(
    beside_a_neighbour: pytest.Pytester, quiet: tuple[str, ...]
) -> None:
    """Nothing of ours is loaded in a project that neither configures it nor names a fixture of it."""
    beside_a_neighbour.makepyfile(
        """
        import pytest

        @pytest.fixture
        def late(request):
            return request.getfixturevalue("asyncapi_upstream")

        def test_it(late): pass
        """
    )

    result = beside_a_neighbour.runpytest_inprocess(*quiet)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "E       fixture 'asyncapi_upstream' not found: pytest-asyncapi loads its fixtures only where a project"
            " configures it, or a test names one as an argument.",
        ]
    )
