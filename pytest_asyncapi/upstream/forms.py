"""The fields and files of a form that the app sent, urlencoded or multipart. What is none in it is left out: to say so
is the matter of the service, not of who looks at the request."""

from __future__ import annotations

import base64
import quopri
from email import message_from_bytes
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

Fields = dict[str, list[str]]
Files = dict[str, list[tuple[str, str, bytes]]]


def urlencoded(body: bytes) -> Fields:
    fields: Fields = {}
    for name, value in parse_qsl(body.decode(errors="replace"), keep_blank_values=True):
        fields.setdefault(name, []).append(value)
    return fields


def multipart(body: bytes, content_type: str) -> tuple[Fields, Files]:
    """The fields, and the files as ``(filename, content type, bytes)``."""
    fields: Fields = {}
    files: Files = {}
    boundary = _head(b"Content-Type: " + content_type.encode())["content-type"].params.get("boundary")
    if boundary is None:
        return fields, files
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:]:
        if part.startswith(b"--"):  # the end
            break
        lines, _, data = part.partition(b"\r\n\r\n")
        head = _head(lines.partition(b"\r\n")[2])
        about = head["content-disposition"].params if "content-disposition" in head else {}
        if "name" not in about:
            continue
        match str(head.get("content-transfer-encoding", "")).lower():
            case "base64":
                data = base64.b64decode(data)
            case "quoted-printable":
                data = quopri.decodestring(data)
        if "filename" in about:
            files.setdefault(about["name"], []).append((about["filename"], head.get_content_type(), data))
        else:
            fields.setdefault(about["name"], []).append(data.decode(errors="replace"))
    return fields, files


def _head(lines: bytes) -> Any:
    return message_from_bytes(lines + b"\r\n\r\n", policy=HTTP)
