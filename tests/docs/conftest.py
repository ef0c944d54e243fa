"""The pages of the documentation and their code blocks, run where a user would run them: against the sample app."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. `line` is the line of its first line of code, counted from 1."""

    page: Path
    line: int
    language: str
    code: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def has_tests(self) -> bool:
        return self.language == "python" and re.search(r"^\s*(async )?def test_", self.code, re.MULTILINE) is not None

    @property
    def source(self) -> str:
        """The code, moved down to the lines that it has in the page, so that every traceback names those."""
        return "\n" * (self.line - 1) + self.code

    @property
    def module(self) -> str:
        """The name of the test module that is made of it."""
        return f"test_{re.sub(r'[^0-9A-Za-z]+', '_', str(self.page.relative_to(ROOT)))}_{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page. Indentation, as in a list, is taken off."""
    opening: tuple[int, str, str, str] | None = None
    code: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.match(r"^(\s*)(`{3,})\s*(\{\w+\}|[\w+-]*)", line)
        if opening is None and fence:
            opening, code = (number + 1, fence[1], fence[2], fence[3]), []
        elif opening is not None and line.strip() == opening[2]:
            if not opening[3].startswith("{"):  # a directive of Sphinx
                yield Block(page, opening[0], opening[3], "\n".join(code) + "\n")
            opening = None
        elif opening is not None:
            code.append(line.removeprefix(opening[1]))
    assert opening is None, f"{page}:{opening and opening[0]}: this block has no end"


ALL_BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`test_block`, `scripts` (those of a page), `toml_block`, ... and `page` stand for each of their kind."""
    kinds: dict[str, list[Any]] = {
        "test_block": [block for block in ALL_BLOCKS if block.has_tests],
        "toml_block": [block for block in ALL_BLOCKS if block.language == "toml"],
        "ini_block": [block for block in ALL_BLOCKS if block.language == "ini"],
        "other_block": [block for block in ALL_BLOCKS if block.language not in ("python", "toml", "ini")],
        "scripts": [scripts for page in PAGES if (scripts := scripts_of(page))],
        "page": PAGES,
    }
    for name, found in kinds.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, found, ids=[place_of(each) for each in found])


def place_of(subject: Any) -> str:
    if isinstance(subject, Block):
        return subject.place
    page = subject if isinstance(subject, Path) else subject[0].page
    return str(page.relative_to(ROOT))


def scripts_of(page: Path) -> list[Block]:
    """The Python blocks of a page that hold no tests, in their order."""
    return [block for block in ALL_BLOCKS if block.page == page and block.language == "python" and not block.has_tests]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of the sample app's own suite, with the project importable."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_", "SAMPLE_APP_"))}
    return {**kept, "PYTHONPATH": str(ROOT)}


REPORTER = """

import json as _json

_reports = []


def pytest_runtest_logreport(report):
    if report.outcome != "passed" or report.when == "call":
        _reports.append((report.fspath, report.nodeid, report.outcome, report.longreprtext))


def pytest_collectreport(report):
    if report.failed:
        _reports.append((report.fspath or report.nodeid, report.nodeid, "failed", report.longreprtext))


def pytest_sessionfinish(session):
    with open(REPORTS, "w") as file:
        _json.dump(_reports, file)
"""


@dataclass(frozen=True)
class Outcome:
    test: str
    outcome: str
    text: str


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> dict[str, list[Outcome]]:
    """What the tests of the chosen blocks did, by the name of their module: one run of pytest for all of them.

    The run has the project's configuration and the environment of the sample app's suite.
    """
    chosen = {
        item.callspec.params["test_block"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and "test_block" in item.fixturenames
    }
    directory = tmp_path_factory.mktemp("snippets")
    reports = directory / "reports.json"
    sample_conftest = (ROOT / "tests" / "sample_app" / "conftest.py").read_text()
    (directory / "conftest.py").write_text(sample_conftest + REPORTER.replace("REPORTS", repr(str(reports))))
    for block in chosen:
        (directory / f"{block.module}.py").write_text(block.source)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-q"]
    command += ["-p", "no:cacheprovider", "-p", "no:randomly", str(directory)]
    run = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=300)
    if not reports.exists():
        pytest.fail(f"the snippets were not run:\n{run.stdout}\n{run.stderr}", pytrace=False)
    found: dict[str, list[Outcome]] = {}
    for path, test, outcome, text in json.loads(reports.read_text()):
        found.setdefault(Path(path).stem, []).append(Outcome(test.rpartition("::")[2], outcome, text))
    return found
