"""`pytest --asyncapi-init`, as a user types it; and the first test that it writes passes."""

import shutil
from pathlib import Path

import pytest

from .conftest import FULL_STACK, QUIET, write

ROOT = Path(__file__).parents[2]
FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"


def run(pytester: pytest.Pytester, *args: str) -> tuple[int, str]:
    result = pytester.runpytest_inprocess(*args, *QUIET)
    return int(result.ret), f"{result.stdout.str()}\n"  # pytester drops the last line's end


def test_an_empty_folder(pytester: pytest.Pytester) -> None:
    status, text = run(pytester, "--asyncapi-init", "--write")

    assert status == pytest.ExitCode.USAGE_ERROR
    assert text == (
        f"There is no ASGI app in {pytester.path} (no Python files).\n"
        "Looked for: FastAPI(), Starlette(), Litestar(), Quart(), get_asgi_application() and the like, functions that "
        "return one,\nand `async def app(scope, receive, send)`, in .py files outside of tests, examples and virtual "
        "environments.\nRun it in the folder of your project, or say where the app is:\n\n"
        "    pytest --asyncapi-init -o asyncapi_app=package.module:app\n"
    )
    assert list(pytester.path.iterdir()) == []


def test_several_apps(pytester: pytest.Pytester) -> None:
    write(pytester.path, {"shop/main.py": FASTAPI, "admin/main.py": FASTAPI})

    status, text = run(pytester, "--asyncapi-init")

    assert status == pytest.ExitCode.USAGE_ERROR
    assert text == (
        "There are several apps:\n\n"
        "    admin.main:app  FastAPI, admin/main.py:2\n"
        "    shop.main:app   FastAPI, shop/main.py:2\n\n"
        "Say which one to test:\n\n"
        "    pytest --asyncapi-init -o asyncapi_app=admin.main:app\n"
    )

    status, text = run(pytester, "--asyncapi-init", "-o", "asyncapi_app=shop.main:app")
    assert status == 0
    assert "    asyncapi_app = shop.main:app\n" in text

    status, text = run(pytester, "--asyncapi-init", "-o", "asyncapi_app=shop:app")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert (
        text == "asyncapi_app = 'shop:app': no such app was found. There is:\n\n    admin.main:app\n    shop.main:app\n"
    )


def test_what_is_printed(pytester: pytest.Pytester) -> None:
    write(pytester.path, {"main.py": FASTAPI, "pyproject.toml": ""})

    status, text = run(pytester, "--asyncapi-init")

    assert status == 0
    assert (
        text
        == f'''\
pytest-asyncapi found in {pytester.path}:

  app  main:app  FastAPI, main.py:2

Put this into pyproject.toml:

    [tool.pytest.ini_options]
    pythonpath = ["."]
    asyncio_mode = "auto"
    asyncio_default_fixture_loop_scope = "function"
    asyncapi_app = "main:app"

and this into tests/test_first_steps.py:

    """The first tests: the app, unchanged, in this process."""


    async def test_the_app_answers(client):
        response = await client.get("/openapi.json")

        assert response.status_code == 200

`pytest --asyncapi-init --write` writes these, and changes nothing that is there. Then run: pytest \
tests/test_first_steps.py
'''
    )
    assert sorted(path.name for path in pytester.path.iterdir()) == ["main.py", "pyproject.toml"]


def test_a_factory_that_needs_arguments(pytester: pytest.Pytester) -> None:
    factory = "from fastapi import FastAPI\ndef create(url, *, debug=False) -> FastAPI:\n    return FastAPI()\n"
    write(pytester.path, {"main.py": factory})

    status, text = run(pytester, "--asyncapi-init")

    assert status == 0
    assert "asyncapi_app" not in text.partition("tests/conftest.py")[0]
    assert '    @pytest.fixture(scope="session")\n    def asgi_app():\n        from main import create\n' in text
    assert "        return create(url=...)  # write the arguments here\n" in text
    assert (
        "Note: The factory main:create needs arguments (url): "
        "call it in the fixture asgi_app of the conftest.py above.\n"
    ) in text


def test_writing_changes_nothing_that_is_there(pytester: pytest.Pytester) -> None:
    pyproject = '[tool.pytest.ini_options]\nasyncapi_app = "main:other"  # mine\nasyncio_mode = "strict"\n'
    test = "def test_mine(): pass\n"
    two = "from fastapi import FastAPI\napp = FastAPI()\nother = FastAPI()\n"
    write(pytester.path, {"main.py": two, "pyproject.toml": pyproject, "tests/test_first_steps.py": test})

    status, text = run(pytester, "--asyncapi-init", "--write")

    assert status == 0
    assert (pytester.path / "pyproject.toml").read_text() == (
        '[tool.pytest.ini_options]\npythonpath = ["."]\nasyncio_default_fixture_loop_scope = "function"\n'
        'asyncapi_app = "main:other"  # mine\nasyncio_mode = "strict"\n'
    )
    assert (pytester.path / "tests/test_first_steps.py").read_text() == test
    assert "added to pyproject.toml: pythonpath, asyncio_default_fixture_loop_scope\n" in text
    assert "kept     tests/test_first_steps.py: it is there already\n" in text
    assert "Note: asyncio_mode = 'strict' is set already, and is left as it is.\n" in text

    before = {path: path.read_bytes() for path in pytester.path.rglob("*.*") if path.is_file()}
    status, text = run(pytester, "--asyncapi-init=write")
    assert "kept     pyproject.toml: it says all that is needed\n" in text
    assert {path: path.read_bytes() for path in before} == before


WEATHER = """
from fastapi import FastAPI
import httpx2
http = httpx2.AsyncClient(base_url="https://weather.example.com")
app = FastAPI()
@app.get("/weather")
async def weather():
    return (await http.get("/today")).json()
@app.get("/news")
def news():
    return httpx2.get("https://news.example.com").json()
"""
HEALTH = """
@app.get("/health")
async def health():
    return {}
"""


@pytest.mark.parametrize(("app", "path"), [(WEATHER, "/openapi.json"), (WEATHER + HEALTH, "/health")])
def test_the_first_test_asks_for_nothing_that_another_service_must_answer(
    pytester: pytest.Pytester, app: str, path: str
) -> None:
    write(pytester.path, {"main.py": app})

    run(pytester, "--asyncapi-init", "--write")

    assert f'client.get("{path}")' in (pytester.path / "tests/test_first_steps.py").read_text()
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=1)


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_first_test_passes_where_the_suite_has_a_client_of_its_own(pytester: pytest.Pytester, mode: str) -> None:
    """The long name is taken then; a conftest file that cannot be imported yet does not matter."""
    app = (
        FASTAPI
        + "import os\nTOKEN = os.environ['FIRST_STEPS_TOKEN']\n@app.get('/health')\ndef health():\n    return {}\n"
    )
    conftest = "import pytest\nimport main\n@pytest.fixture(autouse=True)\ndef client():\n    return 1\n"
    ini = f"[pytest]\nasyncio_mode = {mode}\n"
    write(pytester.path, {"main.py": app, "tests/conftest.py": conftest, "pytest.ini": ini})

    status, text = run(pytester, "--asyncapi-init", "--write")

    assert status == 0
    assert "kept     tests/conftest.py: it is there already. It needs these lines:\n" in text
    assert 'os.environ.setdefault("FIRST_STEPS_TOKEN", "test")\n' in text
    assert (
        "Note: Fixtures of your conftest.py are used by all tests, these too (client): what they need, such as a "
        "database of their own, has to be there.\n"
    ) in text
    test = (pytester.path / "tests/test_first_steps.py").read_text()
    assert (
        'async def test_the_app_answers(asyncapi_client):\n    response = await asyncapi_client.get("/health")\n'
        in test
    )
    assert ("pytestmark = pytest.mark.asyncio" in test) == (mode == "strict")

    conftest = "import os\nos.environ.setdefault('FIRST_STEPS_TOKEN', 'test')\n" + conftest
    (pytester.path / "tests/conftest.py").write_text(conftest)
    pytester.runpytest_subprocess("tests/test_first_steps.py", *QUIET).assert_outcomes(passed=1)


def test_under_anyio_alone(pytester: pytest.Pytester) -> None:
    write(pytester.path, {"main.py": FASTAPI})
    alone = ("-p", "no:asyncio", "-p", "no:pytest_asyncio")

    status, _ = run(pytester, "--asyncapi-init", "--write", *alone)

    assert status == 0
    assert (pytester.path / "pytest.ini").read_text() == (
        "[pytest]\npythonpath = .\nanyio_mode = auto\nasyncapi_app = main:app\n"
    )
    pytester.runpytest_subprocess(*alone, *QUIET).assert_outcomes(passed=1)


def test_the_sample_app(pytester: pytest.Pytester) -> None:
    shutil.copytree(ROOT / "sample_app", pytester.path / "sample_app", ignore=shutil.ignore_patterns("__pycache__"))

    status, text = run(pytester, "--asyncapi-init", "--write")

    assert status == 0
    assert "  tables        sample_app.models:Base.metadata  1 table\n" in text
    assert "  Redis         redis, aiocache                  answered in memory: redis_cache\n" in text
    assert "  HTTP clients  aiohttp, httpx2                  answered by routes: upstream\n" in text
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=2)


@pytest.mark.slow  # it starts PostgreSQL
def test_the_shape_of_the_full_stack_template(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the top: the app, its sync and async engines and its configuration are in backend/."""
    write(pytester.path, FULL_STACK)
    for name in ("PROJECT_NAME", "POSTGRES_SERVER", "POSTGRES_USER"):
        monkeypatch.setenv(name, "test")

    status, text = run(pytester, "--asyncapi-init", "--write")

    assert status == 0
    assert (
        text
        == f"""\
pytest-asyncapi found in {pytester.path}:

  app         app.main:app                  FastAPI, backend/app/main.py:6
  engine      postgresql+psycopg            create_engine, backend/app/core/db.py:6, made at import
  engine      postgresql+psycopg            create_async_engine, backend/app/core/db.py:7, made at import
  tables      app.models:SQLModel.metadata  2 tables
  migrations  alembic.ini                   Alembic

added to backend/pyproject.toml: pythonpath, asyncio_mode, asyncio_default_fixture_loop_scope, asyncapi_app, \
asyncapi_schema, asyncapi_isolation
wrote    backend/tests/conftest.py
wrote    backend/tests/test_first_steps.py

Now run: cd backend && pytest tests/test_first_steps.py
"""
    )
    written = pytester.path / "backend/tests/test_first_steps.py"
    assert 'await client.get("/api/v1/openapi.json")' in written.read_text()
    more = """

async def test_both_engines(client):
    assert (await client.get("/api/v1/members")).json() == []
    assert (await client.get("/api/v1/members-async")).json() == []
"""
    written.write_text(written.read_text() + more)
    monkeypatch.chdir(pytester.path / "backend")
    pytester.runpytest_subprocess("tests", *QUIET).assert_outcomes(passed=3)


def test_a_wrong_mode(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--asyncapi-init=all", *QUIET)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --asyncapi-init=all: expected one of show, write"])


def test_write_is_a_word_of_other_plugins_without_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_addoption(parser):\n    parser.addoption('--write', action='store_true')\n")
    pytester.makepyfile("def test_it(request):\n    assert request.config.getoption('--write')\n")

    pytester.runpytest_inprocess("--write", *QUIET).assert_outcomes(passed=1)
