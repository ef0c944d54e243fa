"""What the tests of the guard share."""

import pytest

from pytest_asyncapi.database.interception import hooks


@pytest.fixture(autouse=True)
def _databases_are_left_to_the_guard(monkeypatch):
    """A test without a database has its connections refused before they come to the guard."""
    monkeypatch.setattr(hooks, "redirect", None)
