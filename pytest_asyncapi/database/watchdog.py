"""The process between a test run and its PostgreSQL server: it starts the server, and ends it with the run.

Every process of the run holds a shared lock on the file `alive`. This one waits for the exclusive lock, which the
kernel grants when the last of them has ended, however it ended; then it stops the server and removes the directory.
It runs as a script, by `python -I -S`, and so imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import sys
import time
from types import FrameType

PDEATHSIG = 1  # prctl: the signal that a process gets when its parent dies (Linux)


def serve(directory: str, uid: int, gid: int, keep: str, command: list[str]) -> None:
    """Run `command` until nobody holds the lock on `directory`/alive, then remove `directory`."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    server = os.fork()
    if server == 0:
        _become_server(directory, uid, gid, libc, command)

    def ended(signum: int, frame: FrameType | None) -> None:
        pid, status = os.waitpid(server, os.WNOHANG)
        if pid:
            with open(os.path.join(directory, "ended"), "w") as file:
                file.write(str(os.waitstatus_to_exitcode(status)))

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit

    signal.signal(signal.SIGCHLD, ended)
    signal.signal(signal.SIGTERM, leave)
    alive = os.open(os.path.join(directory, "alive"), os.O_RDWR)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX)
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        wanted = os.path.exists(os.path.join(directory, "keep"))
        stop(server, signal.SIGINT if wanted else signal.SIGQUIT)  # fast, with a checkpoint, or at once
        if wanted and keep:
            _keep(os.path.join(directory, "data"), keep)
        for _ in range(5):  # a run that looks for what has been left may put a file there at this moment
            shutil.rmtree(directory, ignore_errors=True)
            if not os.path.exists(directory):
                break


def _become_server(directory: str, uid: int, gid: int, libc: ctypes.CDLL | None, command: list[str]) -> None:
    try:
        log = os.open(os.path.join(directory, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, descriptor in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, descriptor)
        if uid >= 0:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        if libc is not None:
            libc.prctl(PDEATHSIG, signal.SIGQUIT)
        os.chdir(directory)
        os.execv(command[0], command)
    finally:
        os._exit(127)


def _keep(data: str, keep: str) -> None:
    os.makedirs(os.path.dirname(keep), exist_ok=True)
    new = f"{keep}.{os.getpid()}"
    shutil.move(data, new)
    shutil.rmtree(keep, ignore_errors=True)
    os.rename(new, keep)


def stop(pid: int, signum: int, patience: float = 10.0) -> None:
    """Send `signum` to the server and wait for its end; kill it when it does not come."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:  # not our child (a reaper stops it), or already waited for
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:])
