"""What of an exception of the app is the user's, and what the frameworks add: their frames, and their groups."""

from __future__ import annotations

from types import FrameType, TracebackType
from typing import Any

# What stands between the line of a test and the code of an app, by the first part of a module's name.
_CLIENTS = {"httpx", "httpx2", "pytest_asyncapi", "uvicorn"}
_LOOPS = {"anyio", "asyncio", "concurrent", "contextlib", "threading"}
FRAMEWORKS = _CLIENTS | _LOOPS | {"starlette", "fastapi", "litestar", "quart", "django", "asgiref"}
_TASK_GROUPS = ("asyncio.taskgroups", "anyio._backends._asyncio")


def _of_a_framework(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in FRAMEWORKS


def unwrapped(exc: BaseException) -> BaseException:
    """The one exception inside of a group that a framework's own task group has made; else the exception itself.

    A framework that runs the app's code in a task group (Quart on Python 3.15) makes a group of what the app raises.
    A group of the app's own stays as it is, and so does one of several exceptions.
    """
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1 and _made_by_a_framework(exc):
        exc = exc.exceptions[0]
    return exc


def _made_by_a_framework(group: BaseException) -> bool:
    maker: FrameType | None = None  # the frame of the `async with`, under those of the task group
    in_task_group = False
    traceback: TracebackType | None = group.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        in_task_group = frame.f_globals.get("__name__") in _TASK_GROUPS
        if not in_task_group:
            maker = frame
        traceback = traceback.tb_next
    return in_task_group and maker is not None and _of_a_framework(maker)


def leave_out_frameworks(item: Any) -> None:
    """Have pytest leave the frames of frameworks out of an exception that has come out of an exchange.

    What is left: the lines of the test, those of the app, and what is below the app's last line. An exception that a
    framework has raised by itself keeps the line where it was raised.
    """
    show = getattr(item, "_traceback_filter", None)
    if show is None:
        return

    def filtered(excinfo: Any) -> Any:
        shown = show(excinfo)
        hidden = _frames_between([entry.frame.raw for entry in excinfo.traceback])
        kept = [entry for entry in shown if entry.frame.raw not in hidden]
        return type(shown)(kept) if kept else shown

    item._traceback_filter = filtered


def _frames_between(frames: list[FrameType]) -> list[FrameType]:
    crossing = next((index for index, frame in enumerate(frames) if _is_the_exchange(frame)), None)
    if crossing is None:
        return []
    own = [index for index, frame in enumerate(frames) if not _of_a_framework(frame)]
    last = own[-1] if own and own[-1] > crossing else len(frames) - 1
    return [frame for frame in frames[:last] if _of_a_framework(frame)]


def _is_the_exchange(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") == "pytest_asyncapi.client.exchange" and frame.f_code.co_name == "_run"
