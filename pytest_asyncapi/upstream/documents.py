"""Files that are JSON, or YAML where PyYAML is installed: cassettes and OpenAPI documents."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class DocumentError(Exception):
    """The file cannot be read; the message says why."""


def load(path: Path) -> Any:
    """What a file says."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise DocumentError(str(exc)) from None
    if is_yaml(path):
        yaml = _yaml()
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as exc:
            raise DocumentError(f"it is no YAML: {exc}") from None
    try:
        return json.loads(text)
    except ValueError as exc:
        raise DocumentError(f"it is no JSON: {exc}") from None


def save(path: Path, value: Any) -> None:
    """Write a file as a whole, or not at all, with the rights of any new file."""
    if is_yaml(path):
        text = _yaml().safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    else:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        whole.write_text(text, encoding="utf-8")
        whole.replace(path)
    finally:
        whole.unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes, such as the workers of pytest-xdist, from the file between reading and writing it."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)  # a lock of its own file would be left lying about
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def is_yaml(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml")


def _yaml() -> Any:
    try:
        import yaml
    except ImportError:
        raise DocumentError("it is YAML, which needs the package pyyaml (or write it as .json)") from None
    return yaml
