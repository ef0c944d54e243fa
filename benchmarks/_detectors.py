"""The detectors that benchmarks/blocking.py compares: how each is asked about a case, and set up beside requests."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
import traceback
from collections.abc import Awaitable, Callable

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "blocking_corpus")
_TIMEOUT = 20.0

Line = tuple[str, int] | None
Watch = Callable[[Awaitable[object]], Awaitable[list[Line]]]


# ---- each runs a case and returns a line for each of its alarms


def ours(threshold: float) -> Watch:
    from pytest_asyncapi.blocking import detect_blocking

    async def watch(case: Awaitable[object]) -> list[Line]:
        async with detect_blocking(threshold) as blocks:
            await asyncio.wait_for(asyncio.ensure_future(case), _TIMEOUT)
        return [(block.site.file, block.site.line) for block in blocks]

    return watch


def blockbuster(threshold: float) -> Watch:
    from blockbuster import BlockingError, blockbuster_ctx

    async def watch(case: Awaitable[object]) -> list[Line]:
        found: list[Line] = []

        def line(error: BaseException) -> None:
            frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename.startswith(CORPUS)]
            found.append((frames[-1].filename, frames[-1].lineno or 0) if frames else None)

        def handler(loop: asyncio.AbstractEventLoop, context: dict) -> None:
            if isinstance(context.get("exception"), BlockingError):
                line(context["exception"])

        asyncio.get_running_loop().set_exception_handler(handler)
        with blockbuster_ctx():
            try:
                await asyncio.wait_for(asyncio.ensure_future(case), 3)
            except BlockingError as error:
                line(error)
            except BaseException as error:
                chained: BaseException | None = error
                while chained is not None and not isinstance(chained, BlockingError):
                    chained = chained.__cause__ or chained.__context__
                if chained is not None:
                    line(chained)
                elif isinstance(error, BaseExceptionGroup) and error.subgroup(BlockingError):
                    line(error.subgroup(BlockingError).exceptions[0])
        return found

    return watch


def pyleak(threshold: float) -> Watch:
    from pyleak import EventLoopBlockError, no_event_loop_blocking

    async def watch(case: Awaitable[object]) -> list[Line]:
        try:
            async with no_event_loop_blocking(action="raise", threshold=threshold, check_interval=threshold / 5):
                await asyncio.wait_for(asyncio.ensure_future(case), _TIMEOUT)
                await asyncio.sleep(0)
        except EventLoopBlockError as error:
            found: list[Line] = []
            for block in error.blocking_events:
                frames = [each for each in block.blocking_stack or () if each.filename.startswith(CORPUS)]
                found.append((frames[-1].filename, frames[-1].lineno or 0) if frames else None)
            return found
        return []

    return watch


def aiocop(threshold: float) -> Watch:
    import aiocop as tool

    events: list = []
    tool.patch_audit_functions()
    tool.start_blocking_io_detection(trace_depth=20)
    started: list[bool] = []

    async def watch(case: Awaitable[object]) -> list[Line]:
        if not started:
            started.append(True)
        tool.detect_slow_tasks(threshold_ms=int(threshold * 1000), on_slow_task=events.append)
        tool.activate()
        events.clear()
        try:
            await asyncio.wait_for(asyncio.ensure_future(case), _TIMEOUT)
            await asyncio.sleep(0)
        finally:
            tool.deactivate()
        found: list[Line] = []
        for event in events:
            if event.exceeded_threshold:
                shown = [str(each["entry_point"]) + " " + str(each["trace"]) for each in event.blocking_events]
                shown += [str(each["entry_point"]) + " " + str(each["trace"]) for each in event.cpu_stack_samples]
                found += _aiocop_lines(" ".join(shown)) or [None]
        return found

    return watch


def _aiocop_lines(text: str) -> list[Line]:
    import re

    return [
        (os.path.join(CORPUS, name), int(number))
        for name, number in re.findall(r"blocking_corpus/(\w+\.py):(\d+)", text)
    ]


WATCHES = {"ours": ours, "blockbuster": blockbuster, "pyleak": pyleak, "aiocop": aiocop}


# ---- beside requests


def _requests(count: int, around: Callable = contextlib.nullcontext) -> float:
    """CPU seconds of FastAPI requests through a client in the process."""
    import httpx
    from fastapi import FastAPI

    app = FastAPI()

    @app.middleware("http")
    async def middleware(request, call_next):
        return await call_next(request)

    @app.get("/items/{item}")
    async def endpoint(item: int):
        await asyncio.sleep(0)
        return {"item": item}

    async def send(client: httpx.AsyncClient, count: int) -> None:
        for number in range(count):
            await client.get(f"/items/{number}")

    async def main() -> float:
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://bench") as client,
            around(),
        ):
            await send(client, 50)
            gc.collect()
            gc.freeze()
            began = time.process_time()
            await send(client, count)
            return time.process_time() - began

    return asyncio.run(main())


def requests_under(tool: str, count: int) -> float:
    if tool == "ours":
        from pytest_asyncapi.blocking import detect_blocking

        with detect_blocking(0.05):
            return _requests(count)
    if tool == "blockbuster":
        from blockbuster import blockbuster_ctx

        with blockbuster_ctx():
            return _requests(count)
    if tool == "pyleak":
        from pyleak import no_event_loop_blocking

        return _requests(count, lambda: no_event_loop_blocking(action="log", threshold=0.05, check_interval=0.01))
    if tool == "aiocop":
        import aiocop

        aiocop.patch_audit_functions()
        aiocop.start_blocking_io_detection(trace_depth=20)

        @contextlib.asynccontextmanager
        async def watched():
            aiocop.detect_slow_tasks(threshold_ms=50, on_slow_task=lambda event: None)
            aiocop.activate()
            yield
            aiocop.deactivate()

        return _requests(count, watched)
    return _requests(count)
