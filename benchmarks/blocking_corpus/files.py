"""Files: much of one, read or written in one slice, is a culprit, even from the page cache; a little is innocent."""

from __future__ import annotations

import asyncio
import atexit
import csv
import gzip
import hashlib
import json
import os
import pathlib
import pickle
import shutil
import tarfile
import tempfile
import zipfile

import httpx
from fastapi import FastAPI, UploadFile
from fastapi.staticfiles import StaticFiles
from starlette.responses import FileResponse

from . import Tools, culprit, innocent

_BIG = 6_000_000


class Folder:
    """A folder with a big file of bytes, one of lines, and a small one; and names for new files."""

    def __init__(self, _: Tools) -> None:
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="corpus"))
        atexit.register(shutil.rmtree, self.path, True)
        self.big = self.path / "big.bin"
        self.big.write_bytes(os.urandom(_BIG))
        self.lines = self.path / "big.csv"
        self.lines.write_text("".join(f"{number},some text,{number * 3}\n" for number in range(120_000)))
        self.small = self.path / "small.txt"
        self.small.write_text("hello\n" * 500)
        self.new = str(self.path / "new")


def file_culprit(function):
    return culprit("fast", prepare=Folder)(function)


async def get(app, path: str = "/", **how):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://corpus") as client:
        return await client.request(how.pop("method", "GET"), path, **how)


# ---- reading


@file_culprit
async def file_read(t: Tools, folder):
    with open(folder.big, "rb") as file:
        file.read()  # BLOCKS


@file_culprit
async def file_read_text(t: Tools, folder):
    with open(folder.lines) as file:
        file.read()  # BLOCKS


@file_culprit
async def file_read_chained(t: Tools, folder):
    open(folder.big, "rb").read()  # noqa: SIM115  # BLOCKS


@file_culprit
async def file_read_lines(t: Tools, folder):
    with open(folder.lines) as file:
        for _line in file:  # BLOCKS
            pass


@file_culprit
async def file_readlines(t: Tools, folder):
    with open(folder.lines, "rb") as file:
        file.readlines()  # BLOCKS


@file_culprit
async def file_read_parts(t: Tools, folder):
    with open(folder.big, "rb") as file:
        while file.read(65536):  # BLOCKS
            pass


@file_culprit
async def file_read_into(t: Tools, folder):
    buffer = bytearray(_BIG)
    with open(folder.big, "rb") as file:
        file.readinto(buffer)  # BLOCKS


@file_culprit
async def file_read_unbuffered(t: Tools, folder):
    with open(folder.big, "rb", buffering=0) as file:
        file.read()  # BLOCKS


@file_culprit
async def file_read_updating(t: Tools, folder):
    with open(folder.big, "r+b") as file:
        file.read()  # BLOCKS


@file_culprit
async def file_path_open(t: Tools, folder):
    with folder.big.open("rb") as file:
        file.read()  # BLOCKS


@file_culprit
async def file_path_read_bytes(t: Tools, folder):
    folder.big.read_bytes()  # BLOCKS


@file_culprit
async def file_os_read(t: Tools, folder):
    descriptor = os.open(folder.big, os.O_RDONLY)
    try:
        os.read(descriptor, _BIG)  # BLOCKS
    finally:
        os.close(descriptor)


@file_culprit
async def file_opened_in_a_thread(t: Tools, folder):
    file = await asyncio.to_thread(open, folder.big, "rb")
    file.read()  # BLOCKS
    file.close()


@file_culprit
async def file_json_load(t: Tools, folder):
    path = folder.path / "big.json"
    await asyncio.to_thread(path.write_text, json.dumps(["x" * 100] * 20_000))
    with open(path) as file:
        json.load(file)  # BLOCKS


@file_culprit
async def file_csv_reader(t: Tools, folder):
    with open(folder.lines, newline="") as file:
        for _row in csv.reader(file):  # BLOCKS
            pass


@file_culprit
async def file_pickle_load(t: Tools, folder):
    path = folder.path / "big.pickle"
    await asyncio.to_thread(path.write_bytes, pickle.dumps(os.urandom(_BIG)))
    with path.open("rb") as file:
        pickle.load(file)  # BLOCKS


@file_culprit
async def file_digest(t: Tools, folder):
    with open(folder.big, "rb") as file:
        hashlib.file_digest(file, "sha256")  # BLOCKS


@file_culprit
async def file_unzip(t: Tools, folder):
    path = folder.path / "big.zip"

    def pack():
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(folder.big, "big.bin")

    await asyncio.to_thread(pack)
    with zipfile.ZipFile(path) as archive:
        archive.read("big.bin")  # BLOCKS


# ---- writing


@file_culprit
async def file_write(t: Tools, folder):
    data = bytes(_BIG)
    with open(folder.new, "wb") as file:
        file.write(data)  # BLOCKS


@file_culprit
async def file_write_text(t: Tools, folder):
    with open(folder.new, "w", encoding="utf-8") as file:
        file.write("line\n" * 1_000_000)  # BLOCKS


@file_culprit
async def file_write_parts(t: Tools, folder):
    part = bytes(100_000)
    with open(folder.new, "xb") as file:
        for _ in range(40):
            file.write(part)  # BLOCKS


@file_culprit
async def file_writelines(t: Tools, folder):
    lines = ["some line of text\n"] * 200_000
    with open(folder.new, "w") as file:
        file.writelines(lines)  # BLOCKS


@file_culprit
async def file_append(t: Tools, folder):
    with open(folder.small, "ab") as file:
        file.write(bytes(_BIG))  # BLOCKS


@file_culprit
async def file_print(t: Tools, folder):
    text = "x" * _BIG
    with open(folder.new, "w") as file:
        print(text, file=file)  # BLOCKS


@file_culprit
async def file_json_dump(t: Tools, folder):
    documents = ["x" * 1000] * 2000
    with open(folder.new, "w") as file:
        json.dump(documents, file)  # BLOCKS


@file_culprit
async def file_path_write_text(t: Tools, folder):
    folder.small.write_text("x" * _BIG)  # BLOCKS


@file_culprit
async def file_os_write(t: Tools, folder):
    descriptor = os.open(folder.new, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(descriptor, bytes(_BIG))  # BLOCKS
    finally:
        os.close(descriptor)


@file_culprit
async def file_temporary(t: Tools, folder):
    with tempfile.TemporaryFile() as file:
        file.write(bytes(_BIG))  # BLOCKS


@file_culprit
async def file_temporary_named(t: Tools, folder):
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(_BIG))  # BLOCKS


# ---- copying


@file_culprit
async def file_copyfileobj(t: Tools, folder):
    with open(folder.big, "rb") as source, open(folder.new, "wb") as target:
        shutil.copyfileobj(source, target)  # BLOCKS


@file_culprit
async def file_copy(t: Tools, folder):
    shutil.copy(folder.big, folder.new)  # BLOCKS


@file_culprit
async def file_copy2(t: Tools, folder):
    shutil.copy2(folder.big, folder.new)  # BLOCKS


@file_culprit
async def file_gzip(t: Tools, folder):
    with gzip.open(folder.new, "wb", compresslevel=0) as file:
        file.write(bytes(_BIG))  # BLOCKS


@file_culprit
async def file_tar(t: Tools, folder):
    with tarfile.open(folder.new, "w") as archive:
        archive.add(folder.big)  # BLOCKS


# ---- in apps


def store(data: bytes, path: str) -> None:
    with open(path, "wb") as file:
        file.write(data)  # BLOCKS


@culprit("fast", store, prepare=Folder)
async def file_web_upload(t: Tools, folder):
    app = FastAPI()

    @app.post("/")
    async def upload(file: UploadFile):
        store(await file.read(), folder.new)

    answer = await get(app, method="POST", files={"file": ("a.bin", bytes(_BIG))})
    assert answer.status_code == 200


@culprit("fast", prepare=Folder)
async def file_web_download(t: Tools, folder):
    app = FastAPI()

    @app.get("/")
    async def download():
        with open(folder.lines) as file:
            return {"size": len(file.read())}  # BLOCKS

    assert (await get(app)).status_code == 200


# ---- innocents


def file_innocent(function):
    return culprit("innocent", prepare=Folder)(function)


@file_innocent
async def ok_file_head_of_a_big_one(t: Tools, folder):
    with open(folder.big, "rb") as file:
        assert len(file.read(512)) == 512
        assert file.seek(0, os.SEEK_END) == _BIG
        file.seek(1000)
        file.read(10)
    with open(folder.lines) as lines:
        lines.readline()


@file_innocent
async def ok_file_many_small(t: Tools, folder):
    for _ in range(60):
        folder.small.read_text()
        with open(folder.small, "rb") as file:
            file.read()
    with open(folder.new, "w") as file:
        for number in range(200):
            file.write(f"line {number}\n")
    shutil.copy(folder.small, folder.new)
    shutil.move(folder.new, folder.new + "er")


@file_innocent
async def ok_file_half_a_megabyte(t: Tools, folder):
    with open(folder.new, "wb") as file:
        file.write(bytes(400_000))
    with open(folder.new, "rb") as file:
        file.read()


@file_innocent
async def ok_file_in_turns(t: Tools, folder):
    """Parts, with an await between them."""
    with open(folder.big, "rb") as file:
        while file.read(65536):
            await asyncio.sleep(0)


@file_innocent
async def ok_file_aiofiles(t: Tools, folder):
    import aiofiles

    async with aiofiles.open(folder.big, "rb") as file:
        assert len(await file.read()) == _BIG
    async with aiofiles.open(folder.new, "wb") as file:
        await file.write(bytes(_BIG))


@file_innocent
async def ok_file_anyio(t: Tools, folder):
    import anyio

    assert len(await anyio.Path(folder.big).read_bytes()) == _BIG
    async with await anyio.open_file(folder.new, "wb") as file:
        await file.write(bytes(_BIG))


@file_innocent
async def ok_file_to_thread(t: Tools, folder):
    await asyncio.to_thread(folder.big.read_bytes)
    await asyncio.to_thread(shutil.copyfile, folder.big, folder.new)
    with open(folder.big, "rb") as file:
        await asyncio.to_thread(file.read)


@file_innocent
async def ok_file_response(t: Tools, folder):
    app = FastAPI()
    app.mount("/static", StaticFiles(directory=folder.path))

    @app.get("/")
    async def download():
        return FileResponse(folder.big)

    assert len((await get(app)).content) == _BIG
    assert len((await get(app, "/static/big.bin")).content) == _BIG


@file_innocent
async def ok_file_upload(t: Tools, folder):
    app = FastAPI()

    @app.post("/")
    async def upload(file: UploadFile):
        return {"size": file.size}

    answer = await get(app, method="POST", files={"file": ("a.bin", bytes(2_000_000))})
    assert answer.json() == {"size": 2_000_000}


@file_innocent
async def ok_file_template(t: Tools, folder):
    import jinja2

    (folder.path / "page.html").write_text("<p>{% for each in range(20) %}{{ each }}{% endfor %}</p>")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folder.path), autoescape=True)
    for _ in range(5):
        environment.get_template("page.html").render()


@innocent
async def ok_file_devices(t: Tools):
    with open(os.devnull, "wb") as file:
        file.write(b"x" * 1000)
    with open("/proc/self/status") as file:
        file.read()
    print("", end="", flush=True)
