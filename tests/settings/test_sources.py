"""Where settings come from, which source wins, what the header shows, and what a wrong value is answered with."""

from collections.abc import Callable

import pytest

from pytest_asyncapi.settings import OPTIONS, Settings, settings_of

Configure = Callable[..., pytest.Config]

PYTEST_9 = pytest.version_tuple >= (9, 0)
PYTEST_9_2 = pytest.version_tuple >= (9, 2)


@pytest.fixture
def configure(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Settings of a run with these arguments, in a project that has these lines in its pytest.ini."""
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def make(*args: str, ini: str = "") -> pytest.Config:
        (pytester.path / "pytest.ini").write_text("[pytest]\n" + ini)
        return pytester.parseconfigure("-p", "no:asyncio", "-p", "no:randomly", *args)

    return make


@pytest.fixture
def run_with(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    pytester.makepyfile("def test_it(): pass")

    def run(*args: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "no:randomly", "-p", "no:cacheprovider", *args)

    return run


def header(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("asyncapi: ")]


def errors(result: pytest.RunResult) -> list[str]:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    return [line for line in result.errlines if line.startswith("ERROR: ")]


# ---- the values


def test_the_default_is_the_value_of_the_field(configure: Configure) -> None:
    settings = settings_of(configure())

    assert settings.base_url == "http://testserver"
    assert settings.startup_timeout == 30.0
    assert settings.raise_app_exceptions is True
    assert settings.max_queries is None
    assert settings.allow_hosts == ()
    assert settings.sources == {}
    assert not settings.configured


def test_ini_values_are_parsed(configure: Configure) -> None:
    settings = settings_of(
        configure(
            ini="""
asyncapi_app = shop.main:app
asyncapi_startup_timeout = 1500ms
asyncapi_raise_app_exceptions = false
asyncapi_max_queries = 12
asyncapi_allow_hosts =
    api.example.com
    *.internal

asyncapi_isolation = commit
"""
        )
    )

    assert settings.app == "shop.main:app"
    assert settings.startup_timeout == 1.5
    assert settings.raise_app_exceptions is False
    assert settings.max_queries == 12
    assert settings.allow_hosts == ("api.example.com", "*.internal")
    assert settings.isolation == "commit"
    assert set(settings.sources.values()) == {"pytest.ini"}
    assert settings.configured


def test_command_line_over_ini_override_over_ini_over_environment(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://from-environment/")
    ini = "asyncapi_detect_blocking = warn\nasyncapi_database_server = postgresql://from-ini/\n"

    by_flag = settings_of(configure("--detect-blocking=report", "-o", "asyncapi_detect_blocking=fail", ini=ini))
    by_override = settings_of(configure("-o", "asyncapi_detect_blocking=fail", ini=ini))
    by_ini = settings_of(configure(ini=ini))
    by_environment = settings_of(configure())

    assert (by_flag.detect_blocking, by_flag.sources["detect_blocking"]) == ("report", "command line")
    assert (by_override.detect_blocking, by_override.sources["detect_blocking"]) == ("fail", "-o")
    assert (by_ini.detect_blocking, by_ini.sources["detect_blocking"]) == ("warn", "pytest.ini")
    assert by_ini.database_server == "postgresql://from-ini/"
    assert by_environment.database_server == "postgresql://from-environment/"
    assert by_environment.sources == {"database_server": "DATABASE_URL"}
    assert not by_environment.configured, "a variable that others read too configures nothing"


def test_switches(configure: Configure) -> None:
    on = settings_of(configure("--live", "--reuse-db", "--create-db", "--block-network"))

    assert on.live is on.reuse_db is on.create_db is on.block_network is True
    assert settings_of(configure(ini="asyncapi_live = true")).live is True
    assert settings_of(configure("-o", "asyncapi_live=false", ini="asyncapi_live = true")).live is False


def test_settings_are_frozen_and_replaceable() -> None:
    settings = Settings(app="a:b")

    changed = settings.replace(isolation="commit")

    assert (changed.app, changed.isolation, settings.isolation) == ("a:b", "commit", "rollback")
    with pytest.raises(AttributeError, match="frozen"):
        settings.isolation = "commit"
    with pytest.raises(TypeError, match="no such setting: isolaton"):
        Settings(isolaton="commit")


def test_every_default_is_a_value_that_its_parser_gives() -> None:
    for name, option in OPTIONS.items():
        if option.default not in ("", None):
            assert option.parse(option.default) == option.default, name


# ---- the bare flag


@pytest.mark.parametrize(
    "arguments",
    [
        ("--detect-blocking", "tests/x"),
        ("tests/x", "--detect-blocking"),
        ("--detect-blocking=fail", "tests/x"),
        ("-q", "--detect-blocking", "tests/x", "-p", "no:doctest"),
    ],
)
def test_the_bare_flag_does_not_swallow_the_path(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    """Also for the first conftest files, which pytest looks for at the paths of the command line."""
    (pytester.path / "tests" / "x").mkdir(parents=True)
    (pytester.path / "tests" / "x" / "conftest.py").write_text("def pytest_addoption(parser): open('early', 'w')")
    (pytester.path / "tests" / "x" / "test_it.py").write_text(
        "def test_it(pytestconfig):\n"
        "    assert pytestconfig.getoption('asyncapi_detect_blocking') == 'fail'\n"
        "    assert pytestconfig.args == ['tests/x']\n"
    )
    pytester.makepyfile(test_elsewhere="def test_it(): assert False, 'the path was swallowed'")

    result = pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "no:randomly", "-p", "no:xdist", *arguments)

    result.assert_outcomes(passed=1)
    assert (pytester.path / "early").exists()


def test_the_bare_flag_in_addopts(pytester: pytest.Pytester) -> None:
    (pytester.path / "tests").mkdir()
    pytester.makeini("[pytest]\naddopts = --detect-blocking")
    (pytester.path / "tests" / "test_it.py").write_text("def test_it(): pass")

    result = pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "no:randomly", "tests")

    result.assert_outcomes(passed=1)
    assert header(result) == ["asyncapi: detect_blocking=fail (command line)"]


# ---- the header


def test_nothing_is_shown_when_nothing_is_set(
    run_with: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert header(run_with()) == []

    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/")

    assert header(run_with()) == []


def test_each_value_is_shown_with_its_source(
    pytester: pytest.Pytester, run_with: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        asyncapi_schema = "shop.models:Base.metadata"
        asyncapi_startup_timeout = "90s"
        asyncapi_read_timeout = "250ms"
        asyncapi_allow_hosts = ["a.example", "b.example"]
        """
    )
    result = run_with("--detect-blocking=report", "-o", "asyncapi_isolation=commit")

    assert header(result) == [
        "asyncapi: startup_timeout=90s (pyproject.toml), read_timeout=250ms (pyproject.toml),"
        " schema=shop.models:Base.metadata (pyproject.toml), isolation=commit (-o),"
        " allow_hosts=a.example,b.example (pyproject.toml), detect_blocking=report (command line)"
    ]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:s3cret@db.example/shop", "postgresql://ada:***@db.example/shop"),
        ("postgresql+asyncpg://ada:s3/cr@t@db.example/shop", "postgresql+asyncpg://ada:***@db.example/shop"),
        ("postgresql://db.example/shop?user=ada&password=s3cret&ssl=1", None),
        ("postgresql://ada@db.example/shop", "postgresql://ada@db.example/shop"),
        ("postgresql://:s3cret@db.example", "postgresql://:***@db.example"),
    ],
)
def test_passwords_are_masked(run_with: Callable[..., pytest.RunResult], url: str, shown: str | None) -> None:
    shown = shown or "postgresql://db.example/shop?user=ada&password=***&ssl=1"

    assert header(run_with("-o", f"asyncapi_database={url}")) == [f"asyncapi: database={shown} (-o)"]


def test_passwords_are_masked_in_messages(run_with: Callable[..., pytest.RunResult]) -> None:
    result = run_with("-o", "asyncapi_base_url=ftp://ada:s3cret@files.example/")

    assert errors(result) == [
        "ERROR: asyncapi_base_url = 'ftp://ada:***@files.example/' (-o): expected a URL such as http://testserver"
    ]


# ---- wrong values


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "asyncapi_isolation=none",
            "asyncapi_isolation = 'none' ({}): expected one of rollback, commit, database",
        ),
        (
            "asyncapi_startup_timeout=soon",
            "asyncapi_startup_timeout = 'soon' ({}): expected a duration such as 50ms, 1.5s or 2min",
        ),
        (
            "asyncapi_startup_timeout=0",
            "asyncapi_startup_timeout = '0' ({}): expected a duration such as 50ms, 1.5s or 2min",
        ),
        (
            "asyncapi_max_queries=-1",
            "asyncapi_max_queries = '-1' ({}): expected a whole number, zero or more",
        ),
        (
            "asyncapi_database=mysql",
            "asyncapi_database = 'mysql' ({}): expected one of auto, postgresql, sqlite, none (the app keeps its own),"
            " or a URL such as postgresql://localhost/",
        ),
        (
            "asyncapi_database=mysql://ada:s3cret@db/shop",
            "asyncapi_database = 'mysql://ada:***@db/shop' ({}): expected one of auto, postgresql, sqlite, none (the"
            " app keeps its own), or a URL such as postgresql://localhost/",
        ),
        (
            "asyncapi_database_server=localhost:5432",
            "asyncapi_database_server = 'localhost:5432' ({}): expected the URL of a PostgreSQL server, such as"
            " postgresql://postgres@localhost:5432/",
        ),
        (
            "asyncapi_allow_hosts=https://example.com/",
            "asyncapi_allow_hosts = ['https://example.com/'] ({}): the allowed host 'https://example.com/' is no name,"
            " address, network or pattern; is 'example.com' meant?",
        ),
        (
            "asyncapi_isolaton=commit",
            "asyncapi_isolaton: there is no such option of pytest-asyncapi (did you mean asyncapi_isolation?)",
        ),
        ("asyncapi_zzz=1", "asyncapi_zzz: there is no such option of pytest-asyncapi"),
        (
            "asyncapi_live=maybe",
            "asyncapi_live ({}): expected true or false; invalid truth value 'maybe'",
        ),
        (
            "asyncapi_anyio_loop_scope=global",
            "asyncapi_anyio_loop_scope = 'global' ({}): expected one of function, class, module, package, session",
        ),
    ],
)
def test_a_wrong_value_names_the_option_its_place_and_the_valid_values(
    pytester: pytest.Pytester, run_with: Callable[..., pytest.RunResult], argument: str, message: str
) -> None:
    by_override = run_with("-o", argument)
    (pytester.path / "pytest.ini").write_text(f"[pytest]\n{argument}\n")
    by_ini = run_with()

    assert errors(by_override) == ["ERROR: " + message.format("-o")]
    assert errors(by_ini) == ["ERROR: " + message.format("pytest.ini")]


def test_a_key_of_our_prefix_may_be_another_plugins(
    pytester: pytest.Pytester, run_with: Callable[..., pytest.RunResult]
) -> None:
    pytester.makeconftest("def pytest_addoption(parser):\n    parser.addini('asyncapi_theirs', 'help')\n")

    assert run_with("-o", "asyncapi_theirs=1").ret == 0


def test_the_environment_may_name_another_kind_of_database(
    run_with: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://db/shop")

    assert run_with("-o", "asyncapi_names=true").ret == 0


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "--detect-blocking=loudly",
            "--detect-blocking = 'loudly' (command line): expected one of off, fail, warn, report",
        ),
        (
            "--blocking-threshold=fast",
            "--blocking-threshold = 'fast' (command line): expected a duration such as 50ms, 1.5s or 2min",
        ),
        ("--upstream-record=some", "--upstream-record = 'some' (command line): expected one of none, new, all"),
    ],
)
def test_a_wrong_flag(run_with: Callable[..., pytest.RunResult], argument: str, message: str) -> None:
    assert errors(run_with(argument)) == [f"ERROR: {message}"]


# ---- TOML


@pytest.mark.skipif(not PYTEST_9, reason="the native [tool.pytest] table came with pytest 9")
def test_the_native_toml_table(pytester: pytest.Pytester) -> None:
    numbers = "asyncapi_startup_timeout = 5\nasyncapi_read_timeout = 0.25\nasyncapi_max_queries = 3"
    if not PYTEST_9_2:
        numbers = 'asyncapi_startup_timeout = "5"\nasyncapi_read_timeout = "250ms"\nasyncapi_max_queries = "3"'
    pytester.makepyprojecttoml(
        f"""
[tool.pytest]
asyncapi_schema = "shop.models:Base.metadata"
asyncapi_raise_app_exceptions = false
asyncapi_allow_hosts = ["a.example", "b.example"]
{numbers}
"""
    )

    settings = settings_of(pytester.parseconfigure("-p", "no:asyncio", "-p", "no:randomly"))

    assert settings.schema == "shop.models:Base.metadata"
    assert settings.raise_app_exceptions is False
    assert settings.allow_hosts == ("a.example", "b.example")
    assert (settings.startup_timeout, settings.read_timeout, settings.max_queries) == (5.0, 0.25, 3)


@pytest.mark.skipif(not PYTEST_9, reason="the native [tool.pytest] table came with pytest 9")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "asyncapi_raise_app_exceptions = 'no'",
            "asyncapi_raise_app_exceptions (pyproject.toml): expected true or false; ",
        ),
        (
            "asyncapi_allow_hosts = 'a.example'",
            "asyncapi_allow_hosts (pyproject.toml): expected texts, one a line, or a list of them; ",
        ),
        ("asyncapi_schema = 7", "asyncapi_schema (pyproject.toml): expected a text; "),
        (
            "asyncapi_startup_timeout = true",
            'asyncapi_startup_timeout (pyproject.toml): expected a text, for instance "5"; ',
        ),
    ],
)
def test_wrong_types_in_the_native_toml_table(
    pytester: pytest.Pytester, run_with: Callable[..., pytest.RunResult], line: str, message: str
) -> None:
    pytester.makepyprojecttoml(f"[tool.pytest]\n{line}")

    [error] = errors(run_with())

    assert error.startswith("ERROR: " + message)
