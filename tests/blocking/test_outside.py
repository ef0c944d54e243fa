"""The library where no pytest runs: a REPL of asyncio, and a middleware under a real server."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

BURN = """
import time

def burn():
    end = time.thread_time() + 0.1
    while time.thread_time() < end:
        pass
"""

# Blocks in one line: what is typed through a pipe has no others in 3.15.
REPL = """\
import time
from work import burn
from pytest_asyncapi.blocking import detect_blocking
async with detect_blocking() as blocks: time.sleep(0.01)

print([(block.call, block.site.function, block.remedy) for block in blocks])
async with detect_blocking(threshold=0.02) as blocks: burn()

print([(block.kind, block.site.function) for block in blocks])
print(blocks)
async with detect_blocking() as blocks: await asyncio.sleep(0.01)

print(list(blocks))
"""

SERVED = """
import asyncio
import json
import sys
import time

from pytest_asyncapi.blocking import BlockingMonitor


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/sleep":
        time.sleep(0.01)
    if scope["path"] == "/burn":
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
    await asyncio.sleep(0)


def tell(block):
    print(json.dumps([block.request, block.kind, block.named, block.site.function]), flush=True)


monitored = BlockingMonitor(app, threshold=0.05, on_block=tell)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="its REPL wants a console")
def test_in_a_repl_of_asyncio(tmp_path):
    (tmp_path / "work.py").write_text(BURN)
    done = subprocess.run(
        [sys.executable, "-m", "asyncio"],
        input=REPL,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=os.environ | {"PYTHON_BASIC_REPL": "1"},
    )

    assert "Traceback" not in done.stderr
    lines = [re.sub(r"^((>>>|\.\.\.) )+", "", line) for line in done.stdout.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("asyncio REPL", "Use ", "Type ", "exiting"))]
    assert lines[:2] == [
        "[('time.sleep', '<module>', 'await asyncio.sleep(...)')]",
        "[('computing', 'burn')]",
    ]
    assert lines[2].startswith("code outside of requests held the event loop for ")
    assert lines[-1] == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_middleware_under_uvicorn(tmp_path, loop):
    (tmp_path / "served.py").write_text(SERVED)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--loop", loop, "--port", str(port), "--app-dir", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--no-access-log", "served:monitored"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        limit = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, "the server does not start"
                assert time.monotonic() < limit, "the server does not answer"
                time.sleep(0.05)
        for path in ("/quick", "/sleep", "/burn", "/quick", "/quick"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                assert answer.status == 200
    finally:
        process.send_signal(signal.SIGINT)
        try:
            printed, errors = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise

    assert [json.loads(line) for line in printed.splitlines()] == [
        ["GET /sleep", "waiting", True, "app"],
        ["GET /burn", "computing", False, "app"],
    ], errors
    assert "Traceback" not in errors
