"""What differs over a real server is what the tests leave out there, and what docs/client.md lists."""

import re
from pathlib import Path

import pytest

ONE_WAY = re.compile(
    r'^@pytest\.mark\.parametrize\("way", \["process"\], indirect=True\)(?:  # differs: (.*))?$', re.MULTILINE
)
# Rows that tests on both ways state themselves, by a condition or by what they do not compare.
STATED = {
    "headers of the response",
    "pieces of a large body",
    "scheme, server, address, `root_path`, `state`",
    "after an exception in the middle of a body",
    "the close code after an exception in a websocket",
    "a header value with blanks around it",
    "a request that uvicorn refuses, such as one of an unknown method",
}


@pytest.fixture(scope="module")
def listed():
    """The first cells of the table of docs/client.md."""
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    table = page.partition("## `--live`")[2].partition("|---|---|---|\n")[2]
    return {line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")}


@pytest.fixture(scope="module")
def left_out():
    """The differences for which tests run in the process only."""
    sources = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    return [row for source in sources for row in ONE_WAY.findall(source)]


def test_each_test_of_one_way_has_its_difference(listed, left_out):
    assert len(left_out) > 5
    assert [row for row in left_out if row not in listed] == []


def test_each_difference_has_its_test(listed, left_out):
    assert listed == set(left_out) | STATED
