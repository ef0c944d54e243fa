"""docs/errors.md explains every message of ours, and none that is gone."""

import re
from pathlib import Path

import pytest

from .messages import GAP, Message, Source, fits

MOST_SHOWN = 40


@pytest.fixture(scope="module")
def messages(root: Path) -> list[Message]:
    """Those with words of ours; what passes another error's text on has none."""
    found = Source(root / "pytest_asyncapi").messages()
    return [each for each in found if max(map(len, each.text.split(GAP))) >= 3]


@pytest.fixture(scope="module")
def fragments(root: Path) -> list[str]:
    """The code spans of the first column of each table of the page."""
    found = []
    for line in (root / "docs" / "errors.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| message"):
            cell = re.split(r"(?<!\\)\|", line)[1]
            found += [text.replace("\\|", "|") for _, text in re.findall(r"(`+)(.+?)\1", cell)]
    return found


def test_each_message_is_explained(messages: list[Message], fragments: list[str]) -> None:
    missing = [each for each in messages if not any(fits(fragment, each.text) for fragment in fragments)]

    if missing:
        lines = [f"{each.place}: {each.kind}: {each.text[:160]}" for each in missing[:MOST_SHOWN]]
        pytest.fail(
            f"docs/errors.md does not explain {len(missing)} messages. Write a row for each: a piece of the message, "
            "with … for what varies, its cause, and what to do:\n" + "\n".join(lines),
            pytrace=False,
        )


def test_each_row_is_of_a_message_that_there_is(messages: list[Message], fragments: list[str]) -> None:
    gone = [fragment for fragment in fragments if not any(fits(fragment, each.text) for each in messages)]

    if gone:
        pytest.fail("docs/errors.md explains what nothing says any more:\n" + "\n".join(gone), pytrace=False)
