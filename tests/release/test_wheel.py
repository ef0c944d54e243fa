"""What is released: the package, all of it, and nothing else."""

import email
import tomllib
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MOST_KILOBYTES = 465  # docs/design.md says why it is more than the 300 of the plan


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as `python -m build` makes it."""
    wheels = pytest.importorskip("hatchling.builders.wheel")
    [path] = wheels.WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    return Path(path)


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        return email.message_from_string(archive.read(name).decode())


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """No test, no sample app, no benchmark; `py.typed`, and the files of the report's page."""
    with zipfile.ZipFile(wheel) as archive:
        names = {each for each in archive.namelist() if ".dist-info/" not in each}

    package = (path for path in (ROOT / "pytest_asyncapi").rglob("*") if path.is_file())
    expected = {path.relative_to(ROOT).as_posix() for path in package if "__pycache__" not in path.parts}
    assert names == expected
    assert "pytest_asyncapi/py.typed" in names


def test_it_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < MOST_KILOBYTES * 1024


def test_its_metadata_is_complete(metadata: Message, project: dict[str, Any]) -> None:
    assert metadata["Name"] == "pytest-asyncapi"
    assert metadata["Version"] == project["version"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    assert "Framework :: Pytest" in metadata.get_all("Classifier", [])
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])


def test_every_python_that_is_tested_is_named(metadata: Message) -> None:
    named = {each.rpartition(" ")[2] for each in metadata.get_all("Classifier", []) if ":: Python :: 3." in each}

    assert named == {f"3.{minor}" for minor in range(11, 16)}


def test_pytest_finds_the_plugin(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith("entry_points.txt")]

        assert archive.read(name).decode().split("\n")[:2] == ["[pytest11]", "asyncapi = pytest_asyncapi.plugin"]


def test_the_changelog_begins_with_the_version(project: dict[str, Any]) -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]

    assert headings[0] == f"## {project['version']}"
