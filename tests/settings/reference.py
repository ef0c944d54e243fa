"""The generated parts of docs/settings.md: `python tests/settings/reference.py` writes them anew."""

import inspect
import re
from pathlib import Path

from pytest_asyncapi.markers import MARKERS
from pytest_asyncapi.settings import OPTIONS, Option, ini_key
from pytest_asyncapi.values import boolean, duration, hosts, lines, whole_number

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"

# the first option of each table, and its heading
TABLES = {
    "app": "The app and the names of the fixtures",
    "http_library": "Client",
    "database": "Database",
    "redis_engine": "Cache",
    "clock": "Clock",
    "block_network": "Network and upstreams",
    "detect_blocking": "Blocking code",
}


def values(option: Option) -> str:
    """What can be written, in the words of the option's own error message."""
    if option.parse is boolean:
        return "`true`, `false`"
    if option.parse in (lines, hosts):
        return "texts, one a line, or a list"
    try:
        option.parse("\0")
    except ValueError as error:
        words = re.sub(r"^expected (one of )?", "", str(error))
        if "one of" in str(error):
            return ", ".join(each if " " in each else f"`{each}`" for each in words.split(", "))
        return words
    return "text"


def default(option: Option) -> str:
    if option.default in ("", None, ()):
        return "" if option.environment is None else f"`${option.environment}`"
    if option.parse is boolean:
        return f"`{str(option.default).lower()}`"
    if option.parse is duration:
        return f"`{option.default:g}s`" if option.default >= 1 else f"`{option.default * 1000:g}ms`"
    if option.parse is whole_number:
        return f"`{option.default}`"
    return f"`{option.default}`" if isinstance(option.default, str) else f"`{str(option.default).lower()}`"


def flag(option: Option) -> str:
    if option.flag is None:
        return ""
    if option.switch:
        return f"`{option.flag}`"
    if option.flag_value is not None:
        return f"`{option.flag}[={option.metavar}]`"
    return f"`{option.flag}={option.metavar}`"


def options() -> str:
    parts: list[str] = []
    for name, option in OPTIONS.items():
        if name in TABLES:
            parts += [f"\n### {TABLES[name]}\n", "| ini key | flag | values | default | |", "|---|---|---|---|---|"]
        cells = (f"`{ini_key(name)}`", flag(option), values(option), default(option), option.help)
        parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(parts).strip() + "\n"


def markers() -> str:
    rows = ["| marker | |", "|---|---|"]
    for marker in MARKERS:
        signature = inspect.signature(marker).replace(return_annotation=inspect.Signature.empty)
        bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
        written = f"{marker.__name__}{signature.replace(parameters=bare)}".replace("*, ", "").replace("=None", "=")
        rows.append(f"| `{written}` | {(marker.__doc__ or '').replace('|', ' or ')} |")
    return "\n".join(rows) + "\n"


def render(page: str) -> str:
    """The page with its generated parts made anew."""
    for name, text in (("options", options()), ("markers", markers())):
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        page = f"{head}{begin}\n{text}{end}{tail}"
    return page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
