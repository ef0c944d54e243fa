"""Engines, tables, libraries and settings, read from the source."""

from collections.abc import Callable

import pytest

from pytest_asyncapi.init.proposal import Findings
from pytest_asyncapi.init.sources import shown

See = Callable[..., Findings]
APP = "from fastapi import FastAPI\nimport db\napp = FastAPI()\n"


@pytest.mark.parametrize(
    ("db", "dialect", "asynchronous"),
    [
        ("e = create_async_engine('postgresql+asyncpg://u:p@h/d')", "postgresql+asyncpg", True),
        ("e = create_engine(url='sqlite:///a.db')", "sqlite", False),
        ("URL = 'sqlite+aiosqlite://'\ne = create_async_engine(URL)", "sqlite+aiosqlite", True),
        ("import os\ne = create_async_engine(os.environ.get('U', 'mysql+aiomysql://h/d'))", "mysql+aiomysql", True),
        (
            "class S:\n    db_url: str = 'postgresql+psycopg://h/d'\ne = create_engine(str(S().db_url))",
            "postgresql+psycopg",
            False,
        ),
        ("h = 'x'\ne = create_async_engine(f'postgresql+asyncpg://{h}/d')", "postgresql+asyncpg", True),
        ("import os\ne = create_async_engine(os.environ['DB'])", "postgresql+asyncpg", True),
        ("import asyncpg\ne = asyncpg.create_pool(dsn='x')", "postgresql", True),
        ("import aiosqlite\ne = aiosqlite.connect('a.db')", "sqlite", True),
        ("import psycopg\ne = psycopg.connect('host=h')", "postgresql", False),
        ("def make(url):\n    return create_async_engine(url)", "", True),
    ],
)
def test_what_an_engine_speaks(see_db: Callable[[str], Findings], db: str, dialect: str, asynchronous: bool) -> None:
    [engine] = see_db(db).engines

    assert (engine.dialect, engine.asynchronous, engine.at_import) == (dialect, asynchronous, "def " not in db)


@pytest.fixture
def see_db(seen: See) -> Callable[[str], Findings]:
    head = "from sqlalchemy import create_engine\nfrom sqlalchemy.ext.asyncio import create_async_engine\n"
    return lambda source: seen({"main.py": APP, "db.py": head + source, ".env": "DB=postgresql+asyncpg://h/d\n"})


@pytest.mark.parametrize(("names", "target"), [("User", "models:User.metadata"), ("*", "models:Base.metadata")])
def test_the_module_that_knows_all_tables_is_named(seen: See, names: str, target: str) -> None:
    base = "from sqlalchemy.orm import DeclarativeBase\nclass Base(DeclarativeBase): ...\n"
    files = {
        "main.py": "from fastapi import FastAPI\nimport models\nimport engine\napp = FastAPI()\n",
        "engine.py": "from sqlalchemy.ext import asyncio as a\ne = a.create_async_engine('sqlite+aiosqlite://')\n",
        "models/__init__.py": f"from models.user import {names}\nfrom models.item import I\n",
        "models/base.py": base,
        "models/user.py": "from models.base import Base\nclass User(Base):\n    __tablename__ = 'users'\n",
        "models/item.py": "from .base import Base\nclass Mixin(Base):\n    __abstract__ = True\nclass I(Mixin): ...\n",
    }

    tables = seen(files).tables

    assert tables is not None
    assert (tables.target, tables.count, tables.example) == (target, 2, "models.item:I")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (
            "from sqlalchemy.orm import declarative_base\nBase = declarative_base()\nclass A(Base): ...",
            "db:Base.metadata",
        ),
        ("from sqlmodel import SQLModel\nclass A(SQLModel, table=True): ...", "db:SQLModel.metadata"),
        ("from sqlalchemy import MetaData, Table\nmeta = MetaData()\na = Table('a', meta)", "db:meta"),
        ("from sqlmodel import SQLModel\nclass A(SQLModel): ...", None),
    ],
)
def test_kinds_of_tables(seen: See, source: str, target: str | None) -> None:
    tables = seen({"main.py": APP, "db.py": source}).tables

    assert (tables and tables.target) == target


def test_libraries_of_the_app_and_not_of_its_tests(seen: See) -> None:
    db = "import redis.asyncio\nimport aiohttp\nfrom httpx import get\n"
    findings = seen(
        {"main.py": APP, "db.py": db, "tests/conftest.py": "import requests\n", "other.py": "import valkey"}
    )

    assert findings.redis == ["redis"]
    assert findings.http == ["aiohttp", "httpx"]


def test_settings_without_a_default_get_a_harmless_value(seen: See) -> None:
    settings = """
        import os
        from typing import Literal
        from pydantic import EmailStr, Field, PostgresDsn, RedisDsn, SecretStr
        from pydantic_settings import BaseSettings, SettingsConfigDict

        class Base(BaseSettings): ...

        class Settings(Base):
            model_config = SettingsConfigDict(env_prefix="shop_", env_file=".env")
            name: str = "shop"
            database_url: PostgresDsn
            cache_url: RedisDsn
            admin: EmailStr = Field(...)
            key: SecretStr = Field(min_length=2)
            size: int
            mode: Literal["dev", "prod"]
            known: str
            limit: int = Field(default=3)

        TOKEN = os.environ["TOKEN"]

        def later():
            return os.environ["LATER"]
        """
    findings = seen({"main.py": APP, "db.py": settings, ".env": "SHOP_KNOWN=1\n"})

    assert {each.name: each.value for each in findings.required} == {
        "SHOP_DATABASE_URL": "postgresql+asyncpg://user:password@localhost/test",
        "SHOP_CACHE_URL": "redis://localhost:6379/0",
        "SHOP_ADMIN": "test@example.com",
        "SHOP_KEY": "test",
        "SHOP_SIZE": "1",
        "SHOP_MODE": "dev",
        "TOKEN": "test",
    }


def test_the_folder_with_a_configuration_is_where_pytest_runs(seen: See) -> None:
    findings = seen(
        {"api/pyproject.toml": "", "api/app/__init__.py": "", "api/app/main.py": APP, "web/package.json": ""}
    )

    assert shown(findings.home, findings.project.start) == "api"
    assert shown(findings.config.path, findings.project.start) == "api/pyproject.toml"
