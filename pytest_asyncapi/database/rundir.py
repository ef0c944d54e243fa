"""A directory that the processes of one test run share, and that does not outlive them.

Each process holds a shared lock on the file `alive` in it. Whoever can have the exclusive lock knows that the run is
over, however it ended: that is how the next run finds what a killed one left. On Windows, where there are no such
locks, a directory is removed at the regular end only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_asyncapi.errors import ServerError

if sys.platform != "win32":
    import fcntl

PATH_LIMIT = 50  # bytes of the temporary directory's name; that of a Unix socket may have about 104 in all
ROOM_NEEDED = 256 * 2**20  # bytes that a memory file system must have free, or the disk is used

GONE = ".gone"  # how the name of a directory ends while it is removed
REMOVAL_PAUSES = (0.0, 0.01, 0.05, 0.2, 0.0)  # seconds between two tries

_held: set[int] = set()


def _close_in_child() -> None:
    for descriptor in _held:  # or a forked child that stays would keep the directory alive
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def disk_base(kind: str = "") -> Path:
    """The directory of all runs of this user, in the temporary directory. Each `kind` of run has one of its own."""
    temporary = tempfile.gettempdir()
    if os.path.isdir("/tmp") and (len(temporary) > PATH_LIMIT or not _open_to_all(Path(temporary))):
        temporary = "/tmp"
    return _base(temporary, kind)


def memory_base(kind: str = "", room: int = ROOM_NEEDED, run: str = "") -> Path:
    """The same in memory (`/dev/shm`), where there is such a file system with enough room; else on disk.

    Where a process of `run` has been before us is the right place, though the room may be another by now.
    """
    with contextlib.suppress(OSError):
        if run and (_path("/dev/shm", kind) / run).exists():
            return _base("/dev/shm", kind)
        if run and (disk_base(kind) / run).exists():
            return disk_base(kind)
        if shutil.disk_usage("/dev/shm").free > room and os.access("/dev/shm", os.W_OK):
            return _base("/dev/shm", kind)
    return disk_base(kind)


def _open_to_all(directory: Path) -> bool:
    """Whether a server that runs as another user (root's does) can reach what is in `directory`."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return True
    return all(each.stat().st_mode & stat.S_IXOTH for each in (directory, *directory.parents))


def cache_base() -> Path:
    """What may be kept from run to run."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "pytest-asyncapi"


def _path(parent: str, kind: str) -> Path:
    uid = os.geteuid() if hasattr(os, "geteuid") else 0
    return Path(parent) / f"pytest-asyncapi-{kind and kind + '-'}{uid}"


def _base(parent: str, kind: str) -> Path:
    uid = os.geteuid() if hasattr(os, "geteuid") else 0
    base = _path(parent, kind)
    base.mkdir(mode=0o711, exist_ok=True)
    status = base.lstat()
    if hasattr(os, "geteuid") and (
        status.st_uid != uid or not stat.S_ISDIR(status.st_mode) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise ServerError(f"{base} must be a directory of this user, in which nobody else may write")
    return base


class RunDirectory:
    """The directory of one run, joined: it stays as long as this process, or another one of the run, lives."""

    def __init__(self, base: Path, run: str) -> None:
        reap(base, run)
        self.path = base / run
        self._alive = _join(self.path)
        _held.add(self._alive)

    @contextlib.contextmanager
    def locked(self, name: str = "lock") -> Iterator[None]:
        """Only one process of the run is in this block."""
        descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if sys.platform != "win32":
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def leave(self, remove: bool = True) -> None:
        """Let go of the directory; the last process removes it (unless a watchdog does)."""
        if self._alive not in _held:
            return
        _held.discard(self._alive)
        os.close(self._alive)
        if remove:
            _remove_if_free(self.path)


def _join(directory: Path) -> int:
    """Take the shared lock. The directory may be removed in the same moment by who believes that it is nobody's."""
    while True:
        directory.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(directory / "alive", os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        if sys.platform == "win32":
            return descriptor
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(directory / "alive")):
                return descriptor
        os.close(descriptor)


def _remove_if_free(directory: Path, before: Callable[[Path], None] | None = None) -> bool:
    try:
        descriptor = os.open(directory / "alive", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return False
    try:
        if sys.platform != "win32":
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if before is not None:
            before(directory)
        return _remove(directory)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _remove(directory: Path) -> bool:
    """Remove a directory that is nobody's: by another name, so that who looks for the old one comes not in between.

    A server that is just ending may still write a file, so it may take more than one try.
    """
    gone = directory
    if not directory.name.endswith(GONE):
        gone = directory.with_name(f"{directory.name}-{os.getpid()}{GONE}")
        with contextlib.suppress(OSError):
            directory.rename(gone)
        if directory.exists() and not gone.exists():
            gone = directory
    for pause in REMOVAL_PAUSES:
        shutil.rmtree(gone, ignore_errors=True)
        if not gone.exists():
            return True
        time.sleep(pause)
    return False


def reap(base: Path, but: str = "", before: Callable[[Path], None] | None = None) -> list[str]:
    """Remove the directories of runs that have ended; `before` is called with each. Returns their names."""
    if sys.platform == "win32":
        return []
    found = [each for each in base.iterdir() if each.name != but and each.is_dir()]
    return [each.name for each in found if _remove_if_free(each, before)]
