"""The generated project of benchmarks/scale.py, in small: it runs, and nothing stays behind."""

import re

import pytest

from benchmarks import scale


@pytest.mark.slow
def test_nothing_is_left_behind(capfd: pytest.CaptureFixture[str]) -> None:
    scale.main(["--tests", "40", "--no-workers", "--database", "sqlite"])

    printed = capfd.readouterr().out
    assert printed.startswith("### 40 tests in one process, sqlite\n")
    for what in ("tasks", "threads", "sockets", "open files"):
        [(then, now)] = re.findall(rf"^\| {what} \| (\d+) \| (\d+) \|$", printed, re.MULTILINE)
        assert int(now) <= int(then), printed
    assert "left behind: 0 temporary files\n" in printed
