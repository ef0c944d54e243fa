"""How Sphinx makes a site of these pages: `tox -e site`, where a warning is an error."""

import tomllib
from pathlib import Path

_project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

project = _project["name"]
author = _project["authors"][0]["name"]
release = version = _project["version"]
copyright = author

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True

myst_heading_anchors = 4  # the anchors of GitHub, where the pages are read as well

html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sphinx = False
