"""Pattern 12: the catch-all handler."""

import logging

import pytest


@pytest.mark.client(raise_app_exceptions=False)
async def test_the_caller_learns_nothing_of_the_inside(client, caplog):
    response = await client.get("/broken")

    assert response.status_code == 500
    assert response.json() == {"detail": "Internal server error"}
    (record,) = [record for record in caplog.records if record.name == "sample_app.errors"]
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "unhandled error in GET /broken"
    assert str(record.exc_info[1]) == "the password is hunter2"
    assert record.exc_info[1].__traceback__ is not None


async def test_in_a_test_the_error_itself_is_raised(client):
    """By default the client raises what the app raised, so that a test shows the culprit and not a 500."""
    with pytest.raises(RuntimeError, match="hunter2"):
        await client.get("/broken")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/item/1", 405)])
async def test_http_errors_keep_their_status(client, method, path, status):
    assert (await client.request(method, path)).status_code == status
