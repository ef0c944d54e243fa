"""What our pages share: one look, in light and dark, in one file that fetches nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from pytest_asyncapi.errors import ConfigurationError

# The page may run what stands in it, and fetch nothing from anywhere.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def read(file: str | Path) -> str:
    """A style sheet or a script that lies beside the module that names it."""
    return Path(file).read_text(encoding="utf-8")


def document(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """A whole page. `style` is added to the shared one; `script` runs when the body is there."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{read(Path(__file__).with_name('style.css'))}{style}</style></head>",
        f"<body>\n{body}",
        f"<script>\n{script}</script>" if script else "",
        "</body></html>\n",
    ]
    return "\n".join(filter(None, parts))


def output(flag: str, name: str, start: Path, endings: Sequence[str]) -> Path | None:
    """The file that `flag` names, seen from the directory `start`; None where it names none.

    Raises ConfigurationError for another ending, and for a file that cannot be written.
    """
    if not name:
        return None
    path = start / name
    if path.suffix not in endings:
        raise ConfigurationError(
            f"{flag}={name}: the ending of the file tells its format: expected "
            f"{'one of ' if len(endings) > 1 else ''}{', '.join(endings)}"
        )
    if path.is_dir() or not path.parent.is_dir():
        why = "is a directory" if path.is_dir() else f"{path.parent} is no directory"
        raise ConfigurationError(f"{flag}={name}: cannot be written: {why}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigurationError(f"{flag}={name}: cannot be written: no permission")
    return path
