"""The reference of the settings in the docs is that of the code."""

import runpy
from pathlib import Path


def test_the_page_has_every_option_and_marker() -> None:
    reference = runpy.run_path(str(Path(__file__).with_name("reference.py")))
    page = reference["PAGE"].read_text()

    assert page == reference["render"](page), "write the page anew: python tests/settings/reference.py"
