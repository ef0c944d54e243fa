"""What the kernel knows of a thread: CPU clock, run-queue wait, system call; and timers that need no GIL. Linux only.

Everywhere else, and where a container hides the files, each reading falls back to nothing, and the charging rule to its
portable form. Nothing here may raise into the user's loop: it runs inside of it.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

LINUX = sys.platform == "linux"
Read = Callable[[int], bytes]
_LONGEST = 160  # bytes of a file that is read
_FUTEX = {"x86_64": b"202", "aarch64": b"98", "riscv64": b"98"}.get(os.uname().machine if LINUX else "", b"")


class Thread:
    """The kernel's files of the calling thread. Made in that thread, read from any."""

    __slots__ = ("_scheduler", "_syscall", "clock", "ident", "read")

    def __init__(self) -> None:
        self.ident = threading.get_ident()
        # The clock of a dead thread only raises OSError, but asking for it after the thread's death crashes: ask here.
        getter = getattr(time, "pthread_getcpuclockid", None)
        self.clock: int | None = getter(self.ident) if getter is not None else None
        self._scheduler = self._syscall = -1
        self.read = _reader()  # for the calling thread only; another one that asks brings its own
        if LINUX:
            home = f"/proc/self/task/{threading.get_native_id()}/"
            self._scheduler = _open(home + "schedstat")
            self._syscall = _open(home + "syscall")

    @property
    def has_counters(self) -> bool:
        return self._scheduler >= 0

    def cpu(self) -> int | None:
        """The CPU time of the thread, or None where it cannot be read from another thread."""
        if self.clock is None:
            return None
        try:
            return int(_clock_gettime_ns(self.clock))
        except OSError:  # the thread has ended
            return None

    def counters(self, read: Read | None = None) -> tuple[int, int]:
        """(nanoseconds in the run queue, number of times that it was given a core)."""
        if self._scheduler < 0:
            return 0, 0
        try:
            _, queued, switches = (read or self.read)(self._scheduler).split()
            return int(queued), int(switches)
        except ValueError:  # the thread has ended
            return 0, 0

    def blocked(self, read: Read | None = None) -> bool | None:
        """Whether it is in a system call that is no wait for the GIL; None where nothing tells."""
        if self._syscall < 0:
            return None
        state = (read or self.read)(self._syscall)
        if state.startswith(b"running"):
            return False
        words = state.split()
        if len(words) < 2:
            return None
        return not (words[0] == _FUTEX and _GIL[0] <= int(words[1], 16) < _GIL[1])

    def close(self) -> None:
        for name in ("_scheduler", "_syscall"):
            descriptor = getattr(self, name)
            setattr(self, name, -1)
            if descriptor >= 0:
                os.close(descriptor)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _reader() -> Read:
    """Reads a file of the kernel's from its beginning, and keeps the GIL: nobody's Python code runs meanwhile.

    So what is read about a thread belongs to the stack that was taken before. And a loop's thread that gave the GIL
    away here could wait for it for as long as other threads compute.
    """
    if not LINUX:
        return lambda descriptor: b""
    pread = ctypes.PyDLL(None).pread
    pread.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long)
    pread.restype = ctypes.c_ssize_t
    buffer = ctypes.create_string_buffer(_LONGEST)
    address = ctypes.addressof(buffer)

    def read(descriptor: int) -> bytes:
        length = pread(descriptor, address, _LONGEST, 0)
        return buffer.raw[: max(0, length)]

    return read


def _find_gil() -> tuple[int, int]:
    """The addresses that hold the interpreter's own state, and so the lock words of the GIL."""
    if not LINUX:
        return 0, 0
    try:
        address = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
        with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
            found = (0, 0)
            for line in maps:
                words = line.split()
                low, high = (int(word, 16) for word in words[0].split("-"))
                if low <= address < high:
                    found = (address, high)
                elif found[1] and low == found[1] and len(words) == 5:  # .bss goes on in the next anonymous mapping
                    return address, high
                elif found[1]:
                    break
            return found
    except (OSError, ValueError, AttributeError):
        return 0, 0


_GIL = _find_gil()
_clock_gettime_ns: Any = getattr(time, "clock_gettime_ns", None)


class _Spec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("s", ctypes.c_long),
        ("ns", ctypes.c_long),
    )


class Timer:
    """A kernel timer that another thread waits for without the GIL. Arming it again costs the waiter nothing."""

    __slots__ = ("_set", "_spec", "_where", "descriptor")

    def __init__(self) -> None:
        # PyDLL: a call that kept the GIL is a microsecond; one that gave it away could lose it for milliseconds.
        library = ctypes.PyDLL(None, use_errno=True)
        self.descriptor: int = library.timerfd_create(1, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._set = library.timerfd_settime
        self._spec = _Spec()
        self._where = ctypes.byref(self._spec)

    def arm(self, nanoseconds: int) -> None:
        spec = self._spec
        spec.s, spec.ns = divmod(max(1, nanoseconds), 1_000_000_000)
        self._set(self.descriptor, 0, self._where, None)

    def close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
