"""What the wheel weighs, room by room: `python -m benchmarks.wheel`.

Sizes are those of the files as the wheel holds them, deflated. The last column is what would be left without comments
docstrings: what the code alone weighs.
"""

from __future__ import annotations

import ast
import collections
import tempfile
import zipfile
import zlib
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        [path] = WheelBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
        whole = Path(path).stat().st_size
        with zipfile.ZipFile(path) as archive:
            sizes = of_rooms(archive)
    print("## The wheel\n\n### What each room weighs, in KB\n")
    print("| | files | source | in the wheel | its code alone |\n|---|---|---|---|---|")
    for room, (files, source, deflated, code) in sorted(sizes.items(), key=lambda each: -each[1][2]):
        print(f"| {room} | {files} | {kb(source)} | {kb(deflated)} | {kb(code)} |")
    files, source, deflated, code = map(sum, zip(*sizes.values(), strict=True))
    print(f"| the zip's own directory | | | {kb(whole - deflated)} | {kb(whole - deflated)} |")
    print(f"| **all** | {files} | {kb(source)} | {kb(whole)} | {kb(whole - deflated + code)} |")


def of_rooms(archive: zipfile.ZipFile) -> dict[str, list[int]]:
    """For each room: its files, their size, their size deflated, and that of their code."""
    sizes: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0, 0, 0])
    for each in archive.infolist():
        package, *folders = Path(each.filename).parts[:-1]
        room = "metadata" if package.endswith(".dist-info") else f"`{folders[0]}/`" if folders else "beside the rooms"
        code = without_words(archive.read(each).decode()) if each.filename.endswith(".py") else None
        found = sizes[room]
        found[0] += 1
        found[1] += each.file_size
        found[2] += each.compress_size
        found[3] += each.compress_size if code is None else len(zlib.compress(code.encode()))
    return sizes


def without_words(source: str) -> str:
    """The code without comments and docstrings, in the form in which `ast` writes it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [each for each in body if not _is_text(each)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def kb(size: int) -> str:
    return f"{size / 1024:,.1f}"


if __name__ == "__main__":
    main()
