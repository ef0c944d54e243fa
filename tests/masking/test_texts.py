"""What counts as a secret in a text."""

import pytest

from pytest_asyncapi.masking import MASK, Masker, masked, masked_header, masked_prose, masked_sql


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('{"password": "hunter2", "name": "Ada"}', '{"password": "***", "name": "Ada"}'),
        (r'{"password": "a\"b", "name": "Ada"}', '{"password": "***", "name": "Ada"}'),
        ('{"access_token": "cut off in the mid', '{"access_token": "***"'),
        ('{"user": {"api_key": 12345}}', '{"user": {"api_key": "***"}}'),
        ("name=Ada&password=hunter2&next=%2F", "name=Ada&password=***&next=%2F"),
        ("https://api.test/data?api_key=k-1&page=2#top", "https://api.test/data?api_key=***&page=2#top"),
        (
            "https://s3.test/x?X-Amz-Signature=abc&X-Amz-Credential=id",
            "https://s3.test/x?X-Amz-Signature=***&X-Amz-Credential=***",
        ),
        ("postgresql+asyncpg://ada:p@ss:wrd@db/shop", "postgresql+asyncpg://ada:***@db/shop"),
        ("postgresql+asyncpg://ada:secret@db:5432/shop", "postgresql+asyncpg://ada:***@db:5432/shop"),
        ("redis://:secret@cache:6379/0", "redis://:***@cache:6379/0"),
        ("https://ghp_abc123@github.test/repo", "https://***@github.test/repo"),
        ("postgresql://postgres@localhost/shop", "postgresql://postgres@localhost/shop"),
        ("http://localhost:8000/users/ada@example.com", "http://localhost:8000/users/ada@example.com"),
        ("http://[::1]:8000/users/ada@example.com", "http://[::1]:8000/users/ada@example.com"),
        ("nothing of the kind: 7 apples", "nothing of the kind: 7 apples"),
    ],
)
def test_a_text(written, shown):
    assert masked(written) == shown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Authorization: Bearer eyJhbGciOi.J9", "Authorization: Bearer ***"),
        ("x-api-key: k-123", "x-api-key: ***"),
        (
            "headers={'authorization': 'Bearer abc.def', 'accept': '*/*'}",
            "headers={'authorization': '***', 'accept': '*/*'}",
        ),
        ("logged in with token=abc123, as Ada", "logged in with token=***, as Ada"),
        ('client.post("/login", data=dict(password="hunter2"))', 'client.post("/login", data=dict(password=***))'),
        (
            r'body: "{\"password\": \"hun\\\"ter2\", \"name\": \"Ada\"}"',
            r'body: "{\"password\": \"***\", \"name\": \"Ada\"}"',
        ),
        ("UPDATE users SET password = 'hunter2' WHERE id = 7", "UPDATE users SET password = '***' WHERE id = 7"),
        ("CREATE ROLE app LOGIN PASSWORD 'hunter2'", "CREATE ROLE app LOGIN PASSWORD '***'"),
        ("def login(authorization: str, token: str) -> None:", "def login(authorization: str, token: str) -> None:"),
        ("    assert token == expected_token", "    assert token == expected_token"),
        ("Basic YWRhOmh1bnRlcjI=", "Basic ***"),
        ("a Basic idea", "a Basic idea"),
    ],
)
def test_prose(written, shown):
    assert masked_prose(written) == shown


def test_headers():
    assert masked_header("Authorization", "Bearer abc") == "Bearer ***"
    assert masked_header("Cookie", "id=abc") == "***"
    assert masked_header("X-Api-Key", "abc") == "***"
    assert masked_header("Location", "/back?token=abc") == "/back?token=***"
    assert masked_header("Accept", "text/html") == "text/html"


def test_sql():
    assert (
        masked_sql("SELECT 1 WHERE api_key = 'k''1' AND name = 'Ada'")
        == "SELECT 1 WHERE api_key = '***' AND name = 'Ada'"
    )


def test_a_masker_knows_its_names_alone():
    masker = Masker(["X-Key", "token", "set-cookie"])

    assert masker.headers([("X-KEY", "k"), ("Accept", "text/html"), ("Set-Cookie", "id=abc; HttpOnly")]) == [
        ("X-KEY", MASK),
        ("Accept", "text/html"),
        ("Set-Cookie", f"id={MASK}; HttpOnly"),
    ]
    assert masker.url("https://ada:pw@x.test/a?token=t&page=2") == f"https://{MASK}@x.test/a?token={MASK}&page=2"


@pytest.mark.parametrize(
    ("content_type", "written", "shown"),
    [
        ("application/x-www-form-urlencoded", "token=abc&page=2", "token=***&page=2"),
        ("Application/X-WWW-Form-URLEncoded; charset=utf-8", "page=2&token=abc", "page=2&token=***"),
        ("application/json", '{"token": "abc", "page": 2}', '{"token": "***", "page": 2}'),
        ("application/json", '{"token": ["a]", "b"], "page": 2}', '{"token": "***", "page": 2}'),
        ("application/json", '{"token": {"id": "a}"}, "page": 2}', '{"token": "***", "page": 2}'),
        ("application/json", '{"token": null}', '{"token": null}'),
        ("text/plain", "token=abc", "token=abc"),
    ],
)
def test_a_masker_reads_a_body_by_its_type(content_type, written, shown):
    assert Masker(["token"]).text(written, content_type) == shown
