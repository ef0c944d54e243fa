"""Keys are added to the file that pytest reads, and nothing else of it changes."""

from pathlib import Path

import pytest

from pytest_asyncapi.init.config import config_file

KEYS = {"pythonpath": ["src"], "asyncapi_app": "shop:app"}


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("pytest.ini", None, "[pytest]\n# why\npythonpath = src\nasyncapi_app = shop:app\n"),
        (
            "pytest.ini",
            "[pytest]\naddopts = -q\n",
            "[pytest]\n# why\npythonpath = src\nasyncapi_app = shop:app\naddopts = -q\n",
        ),
        (
            "pyproject.toml",
            '[project]\nname = "shop"',
            '[project]\nname = "shop"\n\n'
            '[tool.pytest.ini_options]\npythonpath = ["src"]  # why\nasyncapi_app = "shop:app"\n',
        ),
        (
            "pyproject.toml",
            "[tool.pytest.ini_options] # here\r\nxfail_strict = true\r\n",
            '[tool.pytest.ini_options] # here\r\npythonpath = ["src"]  # why\r\nasyncapi_app = "shop:app"\r\n'
            "xfail_strict = true\r\n",
        ),
        (
            "pyproject.toml",
            "[tool.pytest]\nstrict = true\n",
            '[tool.pytest]\npythonpath = ["src"]  # why\nasyncapi_app = "shop:app"\nstrict = true\n',
        ),
        ("tox.ini", "[tox]\n[pytest]\n", "[tox]\n[pytest]\n# why\npythonpath = src\nasyncapi_app = shop:app\n"),
        ("setup.cfg", "[tool:pytest]", "[tool:pytest]\n# why\npythonpath = src\nasyncapi_app = shop:app\n"),
    ],
)
def test_adding_keys(tmp_path: Path, name: str, before: str | None, after: str) -> None:
    if before is not None:
        (tmp_path / name).write_bytes(before.encode())

    file = config_file(tmp_path)

    assert file.path.name == name
    assert file.with_keys(KEYS, {"pythonpath": "why"}) == after


def test_the_order_is_pytests(tmp_path: Path) -> None:
    """setup.cfg without a section of pytest's, and tox.ini without one, are nobody's."""
    (tmp_path / "setup.cfg").write_text("[metadata]\n")
    (tmp_path / "tox.ini").write_text("[tox]\n")
    assert config_file(tmp_path).path.name == "pytest.ini"

    (tmp_path / "pyproject.toml").write_text("")
    assert config_file(tmp_path).path.name == "pyproject.toml"

    (tmp_path / "tox.ini").write_text("[pytest]\n")
    assert config_file(tmp_path).path.name == "tox.ini"


@pytest.mark.parametrize(
    "text",
    ["tool.pytest.ini_options.xfail_strict = true\n", "[tool]\npytest = {ini_options = {xfail_strict = true}}\n"],
)
def test_a_table_in_another_spelling_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)

    with pytest.raises(ValueError, match=r"^there is no line \[tool.pytest.ini_options\] in it to write them below$"):
        config_file(tmp_path).with_keys(KEYS, {})


def test_a_file_that_is_not_valid_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool\n")

    with pytest.raises(ValueError, match=r"^pyproject.toml is not valid: "):
        config_file(tmp_path)
