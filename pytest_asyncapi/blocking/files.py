"""Files: what moves a megabyte of one file in one slice is named, also where the page cache makes it quick.

Small reads are what everybody does (templates, settings, the head of a file), so a single `open` tells nothing. The
objects that `open` returns are of C and cannot be patched, but their lowest layer may be a subclass of `io.FileIO`
that counts. It is given to files of a megabyte and more that are read, and to those that are opened for writing on a
thread whose loop runs; for every other one `open` is the original.
"""

from __future__ import annotations

import asyncio
import functools
import io
import os
import stat
import sys
import time
from collections.abc import Callable
from typing import Any

from pytest_asyncapi.blocking.calls import BIG, Call
from pytest_asyncapi.blocking.slices import local_slot

READ = Call("io:open", "file.read")
WRITE = Call("io:open", "file.write")
# Where `open` stands; tarfile keeps it under a name of its own.
PLACES = (("builtins", "open"), ("io", "open"), ("_io", "open"), ("tarfile", "bltn_open"))


class CountedFile(io.FileIO):
    """The lowest layer of a file, whose transfers are counted."""

    counts: Any = None  # called with itself, the call, bytes, wall and CPU nanoseconds
    slice = 0  # the start of the slice that the numbers below belong to
    moved = took = worked = 0  # bytes, wall and CPU nanoseconds

    def __repr__(self) -> str:
        return super().__repr__().replace("<FileIO", "<_io.FileIO", 1)


def _counting(name: str, call: Call) -> Any:
    original = getattr(io.FileIO, name)
    running = asyncio._get_running_loop

    @functools.wraps(original)
    def method(
        self: CountedFile,
        *args: Any,
        clock: Callable[[], int] = time.perf_counter_ns,
        cpu_clock: Callable[[], int] = time.thread_time_ns,
    ) -> Any:
        __tracebackhide__ = True
        if self.counts is None or running() is None:
            return original(self, *args)
        began, cpu = clock(), cpu_clock()
        result = original(self, *args)
        if result:  # None: it would have blocked
            moved = result if isinstance(result, int) else len(result)
            self.counts(self, call, moved, clock() - began, cpu_clock() - cpu)
        return result

    return method


for _name in ("read", "readall", "readinto"):
    setattr(CountedFile, _name, _counting(_name, READ))
CountedFile.write = _counting("write", WRITE)  # type: ignore[method-assign]


class Open:
    """`open`, while the detector runs. No function: as an attribute of a class it must not become a method."""

    def __init__(self, original: Any, quiet: Callable[[], bool], tell: Callable[[Call, int, int], None]) -> None:
        functools.update_wrapper(self, original)
        self._original = original
        self._quiet = quiet
        self._tell = tell
        self._class: type[CountedFile] = type("FileIO", (CountedFile,), {"counts": self._count, "__module__": "_io"})

    def __reduce__(self) -> str:
        return "open"  # pickled by its name, as the original is

    def close(self) -> None:
        """Files that are still open count no longer."""
        self._class.counts = None

    def _count(self, file: CountedFile, call: Call, moved: int, took: int, worked: int) -> None:
        if self._quiet():
            return
        slot = local_slot()
        here = slot.start if slot is not None and slot.handle is not None else 0
        if not here or file.slice != here:
            file.slice, file.moved, file.took, file.worked = here, 0, 0, 0
        file.moved += moved
        file.took += took
        file.worked += worked
        if file.moved >= BIG:
            self._tell(call, file.took, file.worked)
            file.moved = file.took = file.worked = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            how = None if self._class.counts is None or self._quiet() else _worth_counting(*args, **kwargs)
        except Exception:  # wrong arguments, no such file: the original says so
            how = None
        return self._original(*args, **kwargs) if how is None else _open(self._class, how, *args, **kwargs)


def _worth_counting(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> str | None:
    """The mode for FileIO, or None where the original is to open it."""
    letters = set(mode)
    binary = "b" in letters
    whole = letters <= set("rwxabt+") and len(letters) == len(mode) and not (binary and "t" in letters)
    if not whole or len(letters & set("rwxa")) != 1 or (binary and (encoding or errors or newline)):
        return None
    if buffering == (1 if binary else 0):
        return None
    if letters & set("wxa+"):
        worth = asyncio._get_running_loop() is not None
    else:
        worth = opener is None and os.stat(file).st_size >= BIG
    return mode.replace("t", "").replace("b", "") + "b" if worth else None


def _open(
    layer: type[CountedFile],
    how: str,
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """What `io.open` does, with another lowest layer (see `_pyio.open`)."""
    __tracebackhide__ = True
    raw = layer(file if isinstance(file, int) else os.fspath(file), how, closefd, opener)
    result: Any = raw
    try:
        if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
            raw.counts = None
        line_buffering = buffering == 1 or (buffering < 0 and raw.isatty())
        if buffering < 0 or line_buffering:
            buffering = getattr(raw, "_blksize", io.DEFAULT_BUFFER_SIZE)
            if sys.version_info >= (3, 14):
                buffering = max(min(buffering, 8 << 20), io.DEFAULT_BUFFER_SIZE)
        if buffering == 0:
            return result
        if "+" in mode:
            result = io.BufferedRandom(raw, buffering)
        elif "r" in mode:
            result = io.BufferedReader(raw, buffering)
        else:
            result = io.BufferedWriter(raw, buffering)
        if "b" in mode:
            return result
        if encoding is None and sys.flags.warn_default_encoding:
            encoding = io.text_encoding(None, 4)
        result = io.TextIOWrapper(result, encoding, errors, newline, line_buffering)
        result.mode = mode
        return result
    except BaseException:
        result.close()
        raise
