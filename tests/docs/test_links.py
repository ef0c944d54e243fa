"""Every link of the README and the docs that stays in the repository leads somewhere."""

import re
import unicodedata
from pathlib import Path

import pytest

LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")


def without_code(text: str) -> str:
    """The text of a page without its blocks of code; the lines stay where they are."""
    text = re.sub(r"^(\s*)(```+).*?^\1\2\s*$", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S)
    return re.sub(r"(`+)[^`\n]+?\1", lambda code: code[0].replace("[", "(").replace("]", ")"), text)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#+\s+(.+?)\s*#*$", without_code(page.read_text()), flags=re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = "".join(each for each in words if each in " -_" or unicodedata.category(each)[0] in "LN")
        name = slug = kept.strip().replace(" ", "-")
        count = 0
        while name in found:
            count += 1
            name = f"{slug}-{count}"
        found.add(name)
    return found


def test_links_resolve(page: Path, root: Path) -> None:
    broken = []
    for number, line in enumerate(without_code(page.read_text()).splitlines(), 1):
        for target in LINK.findall(line):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path) if path else page
            if not file.exists() or root not in [file.resolve(), *file.resolve().parents]:
                broken.append(f"{page.relative_to(root)}:{number}: {target}: there is no such file")
            elif anchor and file.suffix == ".md" and anchor not in anchors(file):
                broken.append(f"{page.relative_to(root)}:{number}: {target}: there is no such heading")

    if broken:
        pytest.fail("\n".join(broken), pytrace=False)


def test_each_page_is_linked_from_another(page: Path, root: Path) -> None:
    """Nobody finds a page that nothing leads to."""
    if page.name in ("README.md", "changelog.md"):  # the site's own
        return
    others = [root / "README.md", *(root / "docs").rglob("*.md")]

    links = {
        (other.parent / target.partition("#")[0]).resolve()
        for other in others
        if other != page
        for target in LINK.findall(without_code(other.read_text()))
        if not re.match(r"[a-z]+:", target)
    }

    assert page.resolve() in links, f"nothing links to {page.relative_to(root)}"
