"""Projects for the plugin's own behaviour; `gadget` stands for every fixture of the plugin."""

import pytest

QUIET = ("-p", "no:asyncio", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider")

# A plugin that some other package brings, with a fixture of the same short name, as pytest-django's `client` is.
NEIGHBOUR = """
import pytest

@pytest.fixture
def gadget():
    \"\"\"The neighbour's gadget.\"\"\"
    return "neighbour"
"""

# What a room of ours does.
ROOM = """
from pytest_asyncapi.runner import public_fixture

@public_fixture
def gadget(asgi_app):
    \"\"\"Our gadget, on the app under test.\"\"\"
    return f"ours on {asgi_app}"

@public_fixture
def gizmo(asyncapi_gadget):
    \"\"\"Another fixture of ours.\"\"\"
    return f"gizmo of {asyncapi_gadget}"
"""

APP = """
import pytest

@pytest.fixture
def asgi_app():
    return "{app}"
"""


@pytest.fixture
def quiet() -> tuple[str, ...]:
    return QUIET


@pytest.fixture
def beside_a_neighbour(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with both `gadget` fixtures, in a directory `tests`; run it with `-p room -p neighbour`."""
    from pytest_asyncapi import runner

    monkeypatch.setattr(runner, "PUBLIC", dict(runner.PUBLIC))
    pytester.makepyfile(room=ROOM, neighbour=NEIGHBOUR)
    pytester.syspathinsert()
    (pytester.path / "pytest.ini").write_text("[pytest]\n")
    return pytester


@pytest.fixture
def both() -> tuple[str, ...]:
    return ("-p", "neighbour", "-p", "room", *QUIET)


@pytest.fixture
def app_text() -> str:
    return APP
