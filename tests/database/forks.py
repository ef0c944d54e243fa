"""Runs pytest again and again, each in a fork of this process, which has imported what every one of them imports.

A line of JSON on stdin is a run: its arguments, directory, environment and the files for what it prints. The answer is
a line with its exit code. conftest.py starts this file, and reads what it needs of it.
"""

import gc
import json
import os
import sys

# None of these is a plugin of pytest, which rewrites the assertions of those; nor a driver, by which the plugin tells
# what an app speaks.
import _pytest.pytester  # noqa: F401
import anyio._backends._asyncio  # noqa: F401
import execnet  # noqa: F401
import httpx2  # noqa: F401
import pytest
import sqlalchemy.dialects.postgresql
import sqlalchemy.dialects.sqlite
import sqlalchemy.ext.asyncio
import sqlalchemy.orm  # noqa: F401


def run(arguments: list[str], directory: str, environment: dict[str, str], stdout: str, stderr: str) -> int:
    """What `python -m pytest` does, in the fork."""
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = ["pytest", *arguments]
    sys.path[:0] = [directory]
    return int(pytest.main(arguments))


def serve() -> None:
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if not child:
            sys.exit(run(**json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    del sys.path[0]  # this directory
    gc.freeze()
    print("ready", flush=True)
    serve()
