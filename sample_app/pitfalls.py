"""How not to do it: each of these endpoints stops the event loop, and with it every other request.

Mounted only with ``SAMPLE_APP_PITFALLS=1``. A linter sees the call of `time.sleep`; it can't see the loop
of `sum_of_squares`, which looks innocent here. ``pytest --detect-blocking`` names them all.
"""

import subprocess
import sys
import threading
import time

import httpx2
from fastapi import APIRouter

from sample_app.compute import Limit, sum_of_squares
from sample_app.settings import settings

router = APIRouter(prefix="/pitfalls", tags=["pitfalls"])


@router.get("/sleep")
async def blocking_sleep() -> dict[str, str]:
    """Instead: ``await asyncio.sleep(0.2)``."""
    time.sleep(0.2)  # noqa: ASYNC251
    return {"pitfall": "time.sleep"}


@router.get("/cpu")
async def blocking_loop(limit: Limit = 3_000_000) -> dict[str, int]:
    """Instead: ``await asyncio.to_thread(sum_of_squares, limit)``, as `sample_app.compute` does."""
    return {"result": sum_of_squares(limit)}


@router.get("/subprocess")
async def blocking_subprocess() -> dict[str, int]:
    """Instead: ``await asyncio.create_subprocess_exec(...)``."""
    finished = subprocess.run([sys.executable, "-c", "import time; time.sleep(0.2)"], check=False)  # noqa: ASYNC221
    return {"returncode": finished.returncode}


@router.get("/client")
async def blocking_client() -> dict[str, int]:
    """Instead: ``await client.get(...)`` with the asynchronous client of `sample_app.upstream`."""
    with httpx2.Client() as client:
        return {"status": client.get(settings.upstream_url).status_code}


@router.get("/lock")
async def blocking_lock() -> dict[str, str]:
    """Instead: an `asyncio.Lock`, or the work with the lock in a thread."""
    lock = threading.Lock()
    taken = threading.Event()

    def holder() -> None:
        with lock:
            taken.set()
            time.sleep(0.2)

    thread = threading.Thread(target=holder)
    thread.start()
    taken.wait()
    with lock:
        pass
    thread.join()
    return {"pitfall": "threading.Lock"}
