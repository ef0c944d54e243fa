"""Work that goes on after the response, and can be asked about.

The jobs live in the process: they are for work that may be lost with it. Work that may not belongs to a queue.
"""

import asyncio
import logging
import statistics
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import uuid4

from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Request, status
from pydantic import BaseModel, Field, FiniteFloat

router = APIRouter(tags=["background"])
logger = logging.getLogger(__name__)


class Readings(BaseModel):
    """What is to be processed: checked before the job is accepted, so that a wrong request is told at once."""

    source: Annotated[str, Field(min_length=1, max_length=50)]
    values: Annotated[list[FiniteFloat], Field(min_length=1, max_length=1000)]


@dataclass
class Job:
    """One piece of background work; FastAPI returns it as it stands."""

    job_id: str
    status: Literal["processing", "done", "failed"] = "processing"
    result: float | None = None


class JobStore:
    """The jobs by id; past `limit` the oldest are forgotten, so that the process doesn't grow for ever."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._jobs: dict[str, Job] = {}

    def create(self) -> Job:
        """A new job, under way."""
        job = Job(uuid4().hex)
        self._jobs[job.job_id] = job
        while len(self._jobs) > self._limit:
            del self._jobs[next(iter(self._jobs))]
        return job

    def get(self, job_id: str) -> Job | None:
        """The job, unless it is unknown or forgotten."""
        return self._jobs.get(job_id)


async def get_jobs(request: Request) -> JobStore:
    """The store of this app's lifespan."""
    jobs: JobStore = request.state.jobs
    return jobs


Jobs = Annotated[JobStore, Depends(get_jobs)]


async def process(job: Job, readings: Readings) -> None:
    """The harmonic mean of the readings, which negative ones do not have.

    No response is left to carry an error, so it is logged here, and the job says that it failed.
    """
    try:
        await asyncio.sleep(5)
        job.result = statistics.harmonic_mean(readings.values)
        job.status = "done"
    except Exception:
        job.status = "failed"
        logger.exception("job %s from %s failed", job.job_id, readings.source)


@router.post("/process-data", status_code=status.HTTP_202_ACCEPTED)
async def process_data(readings: Readings, background: BackgroundTasks, jobs: Jobs) -> Job:
    """Accept the readings; the answer names the job."""
    job = jobs.create()
    background.add_task(process, job, readings)
    return Job(job.job_id)


@router.get("/process-data/{job_id}")
async def get_job(job_id: str, jobs: Jobs) -> Job:
    """How far the job is, and what came of it."""
    job = jobs.get(job_id)
    if job is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "job not found")
    return job
