"""Pattern 5: work that goes on after the response."""

import logging

import pytest

from sample_app.background import JobStore

READINGS = {"source": "scale", "values": [1, 2, 4]}


@pytest.mark.client(background="defer")
async def test_the_answer_comes_before_the_work(client, virtual_clock):
    accepted = await client.post("/process-data", json=READINGS)

    assert accepted.status_code == 202
    job = accepted.json()
    assert job["status"] == "processing"
    assert (await client.get(f"/process-data/{job['job_id']}")).json()["status"] == "processing"

    await client.drain()

    finished = (await client.get(f"/process-data/{job['job_id']}")).json()
    assert finished == {"job_id": job["job_id"], "status": "done", "result": pytest.approx(12 / 7)}
    assert virtual_clock.elapsed == pytest.approx(5, abs=0.5)


async def test_by_default_the_client_waits_for_the_work(client, virtual_clock):
    job = (await client.post("/process-data", json=READINGS)).json()

    finished = await client.get(f"/process-data/{job['job_id']}")

    assert finished.json()["status"] == "done"


async def test_a_job_that_fails_is_logged_and_says_so(client, virtual_clock, caplog):
    job = (await client.post("/process-data", json={"source": "scale", "values": [-1, 2]})).json()

    failed = (await client.get(f"/process-data/{job['job_id']}")).json()

    assert failed == {"job_id": job["job_id"], "status": "failed", "result": None}
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == f"job {job['job_id']} from scale failed"
    assert "negative values" in str(record.exc_info[1])


@pytest.mark.parametrize(
    "body",
    [
        {"source": "scale", "values": []},
        {"source": "", "values": [1]},
        {"source": "scale", "values": ["many"]},
        {"values": [1]},
    ],
)
async def test_a_wrong_request_starts_nothing(client, body):
    assert (await client.post("/process-data", json=body)).status_code == 422


async def test_an_unknown_job(client):
    response = await client.get("/process-data/nothing")

    assert response.status_code == 404
    assert response.json() == {"detail": "job not found"}


def test_old_jobs_are_forgotten():
    store = JobStore(limit=2)

    first, second, third = store.create(), store.create(), store.create()

    assert store.get(first.job_id) is None
    assert store.get(second.job_id) is second
    assert store.get(third.job_id) is third
