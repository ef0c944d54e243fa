"""Files: a megabyte of one file in one slice is told; small ones, heads of big ones, and other threads are not."""

import asyncio
import builtins
import copy
import io
import json
import os
import pickle
import shutil
import tarfile
import tempfile
from pathlib import Path

import pytest

from pytest_asyncapi.blocking import detect_blocking

BIG = 3_000_000
ORIGINAL = (io.open,)  # by a name of this module it would be replaced too


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.txt"
    path.write_bytes(b"0123456789abcde\n" * (BIG // 16))
    return path


def calls(blocks) -> list[tuple[str, int]]:
    return [(block.call, block.count) for block in blocks]


async def test_reading_a_big_file_is_told_once_however_quick(big):
    async with detect_blocking(threshold=10) as blocks:
        with open(big, "rb") as file:
            assert len(file.read()) == BIG
        size = len(Path(big).open(encoding="ascii").read())  # noqa: SIM115

    assert size == BIG
    assert [(block.call, block.named, block.site.file) for block in blocks] == [("file.read", True, __file__)] * 2
    assert blocks[0].remedy.startswith("aiofiles or anyio.open_file(...)")
    assert blocks[0].wall_ms > 0


async def test_parts_add_up_within_a_slice_and_not_across(big):
    async with detect_blocking(threshold=10) as blocks:
        with open(big, "rb") as file:
            while file.read(100_000):
                await asyncio.sleep(0)
        assert calls(blocks) == []

        with open(big, "rb") as file:
            while file.read(100_000):
                pass

    assert calls(blocks) == [("file.read", 2)]  # two megabytes are full


async def test_writing_is_told(tmp_path, big):
    async with detect_blocking(threshold=10) as blocks:
        with open(tmp_path / "a", "w") as file:
            file.write("x" * BIG)
        with open(tmp_path / "b", "wb") as file:
            file.writelines([bytes(BIG)])
        with open(tmp_path / "c", "a") as file:
            json.dump(["x" * 1000] * 3000, file)
        with open(big, "rb") as source, tempfile.TemporaryFile() as target:
            shutil.copyfileobj(source, target)

    assert [block.call for block in blocks] == ["file.write"] * 3 + ["file.read", "file.write"]
    assert (tmp_path / "a").stat().st_size == (tmp_path / "b").stat().st_size == BIG
    assert len(json.loads((tmp_path / "c").read_text())) == 3000


async def test_little_is_not_told(tmp_path, big):
    async with detect_blocking(threshold=10) as blocks:
        with open(big, "rb") as file:
            file.read(512)
            file.seek(-10, os.SEEK_END)
            assert file.read() == b"6789abcde\n"
        with open(big) as text:
            assert text.readline() == "0123456789abcde\n"
        with open(tmp_path / "small", "w+") as file:
            file.write("x" * 500_000)
            file.seek(0)
            assert len(file.read()) == 500_000
        shutil.copy(tmp_path / "small", tmp_path / "other")

    assert calls(blocks) == []


async def test_threads_are_not_told(tmp_path, big):
    async with detect_blocking(threshold=10) as blocks:
        with open(big, "rb") as file:
            assert len(await asyncio.to_thread(file.read)) == BIG
        await asyncio.to_thread((tmp_path / "new").write_bytes, bytes(BIG))

    assert calls(blocks) == []


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="Linux only")
async def test_descriptors_are_told(tmp_path, big):
    source, target = os.open(big, os.O_RDONLY), os.open(tmp_path / "new", os.O_RDWR | os.O_CREAT)
    reader, writer = os.pipe()
    asyncio.get_running_loop().call_later(0, int)
    async with detect_blocking(threshold=10) as blocks:
        os.write(target, os.read(source, BIG))
        os.copy_file_range(source, target, BIG, 0)
        os.read(source, 10)
        os.write(writer, b"x")
        os.read(reader, 1)
    for each in (source, target, reader, writer):
        os.close(each)

    assert [block.call for block in blocks] == ["os.read", "os.write", "os.copy_file_range"]


KINDS = [("r", {}), ("rb", {}), ("rb", {"buffering": 0}), ("r+", {}), ("w", {}), ("wb", {"buffering": 0}), ("a+b", {}),
         ("x", {"encoding": "utf-16", "newline": "\r\n", "buffering": 1}), ("rt", {"errors": "replace"})]  # fmt: skip


@pytest.mark.parametrize(("mode", "how"), KINDS)
async def test_a_counted_file_is_what_open_returns(tmp_path, mode, how):
    def traits(file) -> dict:
        layers = [file]
        for name in ("buffer", "raw"):
            layers += [getattr(layers[-1], name)] if hasattr(layers[-1], name) else []
        names = ("name", "mode", "encoding", "errors", "newlines", "line_buffering", "closefd", "write_through")
        return {
            "types": [type(each).__name__ for each in layers],
            "repr": repr(file),
            **{name: getattr(each, name, None) for each in layers for name in names},
            **{name: getattr(file, name)() for name in ("readable", "writable", "seekable", "isatty", "tell")},
        }

    path = tmp_path / "file"
    if "x" not in mode:
        path.write_bytes(bytes(BIG))
    with ORIGINAL[0](path, mode, **how) as file:
        expected = traits(file)
    if "x" in mode:
        path.unlink()
    elif "w" in mode:
        path.write_bytes(bytes(BIG))
    async with detect_blocking():
        with open(path, mode, **how) as file:
            found = traits(file)
            raw = file
            for name in ("buffer", "raw"):
                raw = getattr(raw, name, raw)
            assert hasattr(raw, "counts")

    assert found == expected


WRONG = [("absent", "r"), ("new", "rw"), ("new", "q"), ("new", "wbt"), ("new", "w", 0), (".", "w"),
         ("new", "wb", -1, "utf-8"), ("new", "w", -1, "no-such-codec")]  # fmt: skip


@pytest.mark.parametrize("arguments", WRONG)
async def test_wrong_arguments_fail_as_ever(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)

    def failure() -> tuple[type, str]:
        with pytest.raises((OSError, ValueError, LookupError)) as caught:
            open(*arguments)  # noqa: SIM115
        return caught.type, str(caught.value)

    expected = failure()
    async with detect_blocking():
        found = failure()

    assert found == expected


async def test_open_is_given_back_and_files_that_stay_open_go_on(tmp_path):
    async with detect_blocking() as blocks:
        assert builtins.open is io.open is tarfile.bltn_open is not ORIGINAL[0]
        file = open(tmp_path / "new", "wb")  # noqa: SIM115

        assert pickle.loads(pickle.dumps(open)) is copy.copy(open) is open

        class Holder:
            opens = open

        with Holder().opens(tmp_path / "other", "w"):
            pass
    with file:
        file.write(bytes(BIG))

    assert builtins.open is io.open is tarfile.bltn_open is ORIGINAL[0]
    assert calls(blocks) == []
