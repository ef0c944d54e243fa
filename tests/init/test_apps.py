"""Apps are found in the source, by what makes them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_asyncapi.init.proposal import Findings

Targets = Callable[..., list[str]]
FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"


@pytest.mark.parametrize(
    ("source", "target", "framework"),
    [
        ("from fastapi import FastAPI\napp = FastAPI()", "main:app", "FastAPI"),
        ("import fastapi as f\napi: f.FastAPI = f.FastAPI(title='x')", "main:api", "FastAPI"),
        ("from starlette.applications import Starlette\napp = Starlette()", "main:app", "Starlette"),
        ("from litestar import Litestar\napp = Litestar([])", "main:app", "Litestar"),
        ("from quart import Quart\napp = Quart(__name__)", "main:app", "Quart"),
        (
            "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()",
            "main:application",
            "Django",
        ),
        ("async def app(scope, receive, send): ...", "main:app", "a plain ASGI app"),
        (
            "class App:\n    async def __call__(self, scope, receive, send): ...\napp = App()",
            "main:app",
            "a plain ASGI app",
        ),
        ("from fastapi import FastAPI\nclass Shop(FastAPI): ...\napp = Shop()", "main:app", "FastAPI"),
        ("from fastapi import FastAPI\nfrom m import Wrap\napp = Wrap(FastAPI(), level=2)", "main:app", "FastAPI"),
        (
            "from fastapi import FastAPI\ndef create():\n    made = FastAPI()\n    return made\napp = create()",
            "main:app",
            "FastAPI",
        ),
        ("from fastapi import FastAPI\ntry:\n    app = FastAPI()\nfinally:\n    pass", "main:app", "FastAPI"),
        ("from fastapi import FastAPI\ndef create_app() -> FastAPI: ...", "main:create_app()", "FastAPI"),
        ("import fastapi\ndef make(debug=False):\n    return fastapi.FastAPI()", "main:make()", "FastAPI"),
    ],
)
def test_kinds_of_apps(seen: Callable[..., Findings], source: str, target: str, framework: str) -> None:
    findings = seen({"main.py": source})

    assert findings.app is not None
    assert (findings.app.target, findings.app.framework) == (target, framework)


@pytest.mark.parametrize(
    "source",
    [
        "app = 1",
        "from flask import Flask\napp = Flask(__name__)",
        "def app(scope, receive, send): ...",
        "class Middleware:\n    def __init__(self, app): ...\n    async def __call__(self, scope, receive, send): ...",
        "from fastapi import FastAPI\ndef test_it():\n    app = FastAPI()",
        "async def create():\n    from fastapi import FastAPI\n    return FastAPI()",
    ],
)
def test_what_is_no_app(targets: Targets, source: str) -> None:
    assert targets({"main.py": source}) == []


def test_a_mounted_app_is_no_candidate(targets: Targets) -> None:
    admin = {"shop/__init__.py": "", "shop/admin.py": "from fastapi import FastAPI\nadmin = FastAPI()\n"}
    main = "from fastapi import FastAPI\nfrom shop.admin import admin\napp = FastAPI()\napp.mount('/admin', admin)\n"

    assert targets({**admin, "shop/main.py": main}) == ["shop.main:app"]


def test_apps_of_tests_and_examples_are_left_out(targets: Targets) -> None:
    assert targets(
        {"main.py": FASTAPI, "tests/app.py": FASTAPI, "examples/one.py": FASTAPI, ".venv/x.py": FASTAPI}
    ) == ["main:app"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Dockerfile", 'CMD ["uvicorn", "b.main:app", "--host", "0.0.0.0"]'),
        ("Dockerfile", 'CMD ["fastapi", "run", "--workers", "4", "b/main.py"]'),
        ("Procfile", "web: gunicorn -k uvicorn.workers.UvicornWorker b.main:app"),
        ("run.py", "import uvicorn\nuvicorn.run('b.main:app')"),
        ("run.py", "import uvicorn\nfrom b.main import app\nuvicorn.run(app)"),
    ],
)
def test_of_several_apps_the_deployed_one_is_taken(seen: Callable[..., Findings], name: str, text: str) -> None:
    findings = seen({"a/__init__.py": "", "a/main.py": FASTAPI, "b/__init__.py": "", "b/main.py": FASTAPI, name: text})

    assert findings.app is not None
    assert findings.app.target == "b.main:app"


@pytest.mark.parametrize(
    ("files", "target", "root"),
    [
        ({"src/shop/__init__.py": "", "src/shop/main.py": FASTAPI}, "shop.main:app", "src"),
        ({"src/shop/main.py": FASTAPI}, "shop.main:app", "src"),
        ({"app/main.py": FASTAPI}, "app.main:app", "."),
        ({"app/main.py": "import db\n" + FASTAPI, "app/db.py": ""}, "main:app", "app"),
        ({"backend/app/main.py": "import app.db\n" + FASTAPI, "backend/app/db.py": ""}, "app.main:app", "backend"),
        ({"my-service/pyproject.toml": "", "my-service/main.py": FASTAPI}, "main:app", "my-service"),
    ],
)
def test_the_name_it_is_imported_by(
    seen: Callable[..., Findings], files: dict[str, str], target: str, root: str
) -> None:
    findings = seen(files)

    assert findings.app is not None
    assert findings.app.target == target
    assert findings.app.module.root == findings.project.start / root


def test_a_file_that_cannot_be_read_is_named(seen: Callable[..., Findings]) -> None:
    findings = seen({"main.py": FASTAPI, "old.py": "print 'hello'"})

    assert findings.app is not None
    assert [text.partition(" (")[0] for text in findings.project.unreadable] == [
        "old.py: Missing parentheses in call to 'print'. Did you mean print(...)?"
    ]


def test_a_link_that_leads_nowhere_is_passed_over(seen: Callable[..., Findings], tmp_path: Path) -> None:
    """Emacs leaves one beside each file that is being edited."""
    (tmp_path / ".#main.py").symlink_to("ada@laptop.4711")

    findings = seen({"main.py": FASTAPI})

    assert findings.app is not None
    assert findings.project.unreadable == []


def test_an_app_that_comes_by_a_star(targets: Targets) -> None:
    base = {"shop/__init__.py": "from shop.main import *\n", "shop/main.py": FASTAPI}

    assert targets({**base, "run.py": "import uvicorn\nfrom shop import app\nuvicorn.run(app)\n"}) == ["shop.main:app"]
