"""The report file, by its ending: `.json`, `.sarif` or `.html`. Secrets are masked: it is passed on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_asyncapi.blocking import text
from pytest_asyncapi.blocking.model import Block, Frame, relative
from pytest_asyncapi.masking import masked_prose


def write(path: Path, blocks: Sequence[Block], root: str, threshold: float) -> None:
    if path.suffix == ".html":
        from pytest_asyncapi.blocking.html import page

        path.write_text(page(blocks, root, threshold), encoding="utf-8")
        return
    data = sarif(blocks, root) if path.suffix == ".sarif" else plain(blocks, root, threshold)
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _shown(data: Any, root: str) -> Any:
    """The same with paths from the root of the project, and without secrets."""
    if isinstance(data, dict):
        return {key: relative(value, root) if key == "file" else _shown(value, root) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_shown(each, root) for each in data]
    if isinstance(data, str):
        return masked_prose(data)
    return round(data, 3) if isinstance(data, float) else data


def plain(blocks: Sequence[Block], root: str, threshold: float) -> dict[str, Any]:
    return {
        "version": 1,
        "tool": "pytest-asyncapi",
        "threshold_ms": threshold * 1000,
        "blocks": [_shown(block.to_json(), root) | {"fingerprint": block.fingerprint(root)} for block in blocks],
    }


_RULES = {
    "blocking/call": ("A blocking call on the event loop", "Calls that wait in the kernel, whoever makes them."),
    "blocking/wait": ("Waiting on the event loop", "Code that waits without an await holds every request."),
    "blocking/cpu": ("Computing on the event loop", "Long computations hold every request: move them off the loop."),
}


def rule_id(block: Block) -> str:
    return "blocking/call" if block.named else "blocking/wait" if block.kind == "waiting" else "blocking/cpu"


def sarif(blocks: Sequence[Block], root: str) -> dict[str, Any]:
    results = []
    new = [block for block in blocks if block.status == "new"]
    meant = [block for block in blocks if block.status != "new"]
    for total in (*text.by_site(new), *text.by_site(meant)):
        block = total.first
        result: dict[str, Any] = {
            "ruleId": rule_id(block),
            "level": "error" if block.of_app and block.status == "new" else "note",
            "message": {"text": masked_prose(f"{text.headline(block, root)}. Instead: {block.remedy}")},
            "locations": [_location(block.site, root)],
            "partialFingerprints": {"blockingSite/v1": block.fingerprint(root)},
            "properties": {
                "request": block.request and masked_prose(block.request),
                "wallMs": round(block.wall_ms, 3),
                "cpuMs": round(block.cpu_ms, 3),
                "count": total.count,
                "tests": [masked_prose(test) for test in total.tests],
            },
        }
        if block.stack:
            locations = [{"location": _location(frame, root)} for frame in block.stack]
            result["codeFlows"] = [{"threadFlows": [{"locations": locations}]}]
        if block.status != "new":
            result["suppressions"] = [
                {"kind": "external", "justification": masked_prose(block.allowed_by or "in the baseline")}
            ]
        results.append(result)
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "pytest-asyncapi",
                        "rules": [
                            {"id": name, "shortDescription": {"text": title}, "fullDescription": {"text": more}}
                            for name, (title, more) in _RULES.items()
                        ],
                    }
                },
                "originalUriBaseIds": {"ROOT": {"uri": Path(root).as_uri() + "/" if root else "file:///"}},
                "results": results,
            }
        ],
    }


def _location(frame: Frame, root: str) -> dict[str, Any]:
    path = relative(frame.file, root)
    artifact: dict[str, Any] = {"uri": path.replace("\\", "/")}
    if path != frame.file:
        artifact["uriBaseId"] = "ROOT"
    elif Path(path).is_absolute():
        artifact["uri"] = Path(path).as_uri()
    return {
        "physicalLocation": {"artifactLocation": artifact, "region": {"startLine": max(1, frame.line)}},
        "logicalLocations": [{"fullyQualifiedName": frame.function, "kind": "function"}],
    }
