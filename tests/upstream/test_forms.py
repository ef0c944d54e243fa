"""Forms are read as they were meant, byte for byte; what is none is no field, and no error."""

# ruff: noqa: E501 - the cases are tables

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_asyncapi.upstream import Request, forms

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=B"
EML = b"From: ada@example.com\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n--C\r\n\r\nhi\r\n--C--\r\n"


def part(disposition, data, *more):
    head = [f"Content-Disposition: form-data{disposition}".encode(), *more]
    return b"--B\r\n" + b"\r\n".join(head) + b"\r\n\r\n" + data + b"\r\n"


@pytest.mark.parametrize(
    ("content_type", "body", "fields", "files"),
    [
        (URLENCODED, b"a=1&b=&a=2&c=%C3%BC", {"a": ["1", "2"], "b": [""], "c": ["ü"]}, {}),
        (URLENCODED, b"a=\xff", {"a": ["\ufffd"]}, {}),
        (URLENCODED.upper(), b"a=1", {"a": ["1"]}, {}),
        ("Multipart/Form-Data; Boundary=B", part('; name="a"', b"1") + b"--B--", {"a": ["1"]}, {}),
        ("multipart/form-data", b"x", {}, {}),
        (MULTIPART, b"x", {}, {}),
        (MULTIPART, b"--B\r\n\r\nno head\r\n--B--\r\n", {}, {}),
        (MULTIPART, part("", b"no name") + b"--B--", {}, {}),
        (MULTIPART, part('; name="a"', b"\xff") + b"--B--", {"a": ["\ufffd"]}, {}),
        (MULTIPART, part('; name="a"', b"1") + part('; name="a"', b"") + b"--B--", {"a": ["1", ""]}, {}),
        ('multipart/form-data; boundary="b c"', b'--b c\r\nContent-Disposition: x; name="a"\r\n\r\n1\r\n--b c--', {"a": ["1"]}, {}),
        (MULTIPART, part('; name="f"; filename="ü.txt"', b"1") + b"--B--", {}, {"f": [("ü.txt", "text/plain", b"1")]}),
        (MULTIPART, part("; name=f; filename*=UTF-8''%C3%BC.txt", b"1") + b"--B--", {}, {"f": [("ü.txt", "text/plain", b"1")]}),
        (MULTIPART, part("; name=f; filename=m", EML, b"Content-Type: message/rfc822") + b"--B--", {}, {"f": [("m", "message/rfc822", EML)]}),
        (MULTIPART, part("; name=f; filename=m", base64.b64encode(b"1"), b"Content-Transfer-Encoding: base64") + b"--B--", {}, {"f": [("m", "text/plain", b"1")]}),
        (MULTIPART, part("; name=a", b"=31", b"Content-Transfer-Encoding: quoted-printable") + b"--B--", {"a": ["1"]}, {}),
        (MULTIPART, b"preamble\r\n" + part("; name=a", b"1") + b"--B--\r\nepilogue", {"a": ["1"]}, {}),
        ("application/json", b"{}", {}, {}),
    ],
)  # fmt: skip
def test_fields_and_files(content_type, body, fields, files):
    request = Request("POST", "https://x.test/", [("Content-Type", content_type)], body)

    assert (request.form, request.files) == (fields, files)


@given(st.binary(max_size=200).filter(lambda data: b"--B" not in data))
def test_every_byte_of_a_file_is_kept(data):
    body = part('; name="f"; filename="n"', data, b"Content-Type: application/octet-stream") + b"--B--\r\n"

    assert forms.multipart(body, MULTIPART)[1] == {"f": [("n", "application/octet-stream", data)]}


@given(st.binary(max_size=200), st.sampled_from(["", "; boundary=B", '; boundary="', "; boundary=ü", "; =", ";\x00"]))
def test_nothing_else_is_raised(body, parameters):
    forms.multipart(b"--B\r\n" + body, "multipart/form-data" + parameters)
    forms.urlencoded(body)
