"""What the README and the docs show works, as it stands there."""

import configparser
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pytest_asyncapi.settings import OPTIONS

LANGUAGES = {"console", "text", "sql", "json", "html", "diff", "yaml"}  # what is shown and not run


@pytest.mark.whole_run
def test_the_tests_of_a_block_pass(test_block: Any, outcomes: dict[str, list[Any]]) -> None:
    """Against the sample app, with the project's configuration."""
    found = outcomes.get(test_block.module, [])

    wrong = [each for each in found if each.outcome != "passed"]

    if wrong or not found:
        texts = [f"{test_block.place}: {each.test} {each.outcome}\n{each.text}" for each in wrong]
        pytest.fail("\n\n".join(texts) or f"{test_block.place}: no test of this block was run", pytrace=False)


@pytest.mark.whole_run
def test_the_code_of_a_page_runs(scripts: list[Any], environment: dict[str, str], tmp_path: Path) -> None:
    """The blocks without tests, in their order and in one namespace; `await` at the top level is allowed."""
    page = scripts[0].page

    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run_page.py"))],
        input=json.dumps({"page": str(page), "sources": [block.source for block in scripts]}),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )

    if run.returncode:
        pytest.fail(f"the code of {page.name} does not run:\n{run.stderr}", pytrace=False)


def test_toml_is_valid_and_its_settings_are(toml_block: Any) -> None:
    try:
        document = tomllib.loads(toml_block.code)
    except tomllib.TOMLDecodeError as error:
        pytest.fail(f"{toml_block.place}: {error}", pytrace=False)

    tool = document.get("tool", {}).get("pytest", {})
    check_settings(toml_block.place, {**tool, **tool.get("ini_options", {})})


def test_ini_is_valid_and_its_settings_are(ini_block: Any) -> None:
    parser = configparser.ConfigParser()
    try:
        parser.read_string(ini_block.code)
    except configparser.Error as error:
        pytest.fail(f"{ini_block.place}: {error}", pytrace=False)

    for section in parser.sections():
        check_settings(ini_block.place, dict(parser.items(section)))


def check_settings(place: str, values: dict[str, Any]) -> None:
    """Every key of ours is one of the plugin's options, and its value one of its values."""
    for key, value in values.items():
        if not key.startswith("asyncapi_"):
            continue
        name = key.removeprefix("asyncapi_")
        if name not in OPTIONS:
            pytest.fail(f"{place}: there is no setting {key}", pytrace=False)
        try:
            OPTIONS[name].parse(value)
        except ValueError as error:
            pytest.fail(f"{place}: {key} = {value!r}: {error}", pytrace=False)


def test_no_block_is_skipped_by_a_misspelt_language(other_block: Any) -> None:
    assert other_block.language in LANGUAGES, f"{other_block.place}: what is {other_block.language!r}?"
