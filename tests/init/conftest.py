"""Projects of several shapes, and what `pytest --asyncapi-init` says of them."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_asyncapi.init.proposal import Findings, look

QUIET = ("-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider")

FULL_STACK = {
    "backend/pyproject.toml": '[project]\nname = "app"\nversion = "0.1.0"\n',
    "backend/alembic.ini": "[alembic]\nscript_location = app/alembic\n",
    "backend/app/__init__.py": "",
    "backend/app/core/__init__.py": "",
    "backend/app/api/__init__.py": "",
    "backend/app/alembic/env.py": "from app.models import SQLModel\ntarget_metadata = SQLModel.metadata\n",
    "backend/app/alembic/versions/.keep": "",
    "backend/app/core/config.py": """
        from typing import Literal

        from pydantic import PostgresDsn, computed_field
        from pydantic_core import MultiHostUrl
        from pydantic_settings import BaseSettings, SettingsConfigDict


        class Settings(BaseSettings):
            model_config = SettingsConfigDict(env_file="../.env", env_ignore_empty=True, extra="ignore")
            API_V1_STR: str = "/api/v1"
            ENVIRONMENT: Literal["local", "staging", "production"] = "local"
            PROJECT_NAME: str
            POSTGRES_SERVER: str
            POSTGRES_PORT: int = 5432
            POSTGRES_USER: str
            POSTGRES_PASSWORD: str = ""
            POSTGRES_DB: str = ""

            @computed_field
            @property
            def SQLALCHEMY_DATABASE_URI(self) -> PostgresDsn:
                return MultiHostUrl.build(
                    scheme="postgresql+psycopg",
                    username=self.POSTGRES_USER,
                    password=self.POSTGRES_PASSWORD,
                    host=self.POSTGRES_SERVER,
                    port=self.POSTGRES_PORT,
                    path=self.POSTGRES_DB,
                )


        settings = Settings()
        """,
    "backend/app/core/db.py": """
        from sqlalchemy.ext.asyncio import create_async_engine
        from sqlmodel import create_engine

        from app.core.config import settings

        engine = create_engine(str(settings.SQLALCHEMY_DATABASE_URI))
        async_engine = create_async_engine(str(settings.SQLALCHEMY_DATABASE_URI))
        """,
    "backend/app/models.py": """
        from sqlmodel import Field, SQLModel


        class UserBase(SQLModel):
            email: str = Field(unique=True, max_length=255)


        class UserCreate(UserBase):
            password: str


        class Member(UserBase, table=True):
            id: int | None = Field(default=None, primary_key=True)
            hashed_password: str


        class Thing(SQLModel, table=True):
            id: int | None = Field(default=None, primary_key=True)
            owner_id: int = Field(foreign_key="member.id")
        """,
    "backend/app/api/main.py": """
        from fastapi import APIRouter
        from sqlmodel import Session, select
        from sqlmodel.ext.asyncio.session import AsyncSession

        from app.core.db import async_engine, engine
        from app.models import Member

        api_router = APIRouter()


        @api_router.get("/members")
        def members():
            with Session(engine) as session:
                return session.exec(select(Member)).all()


        @api_router.get("/members-async")
        async def members_async():
            async with AsyncSession(async_engine) as session:
                return (await session.exec(select(Member))).all()
        """,
    "backend/app/main.py": """
        from fastapi import FastAPI

        from app.api.main import api_router
        from app.core.config import settings

        app = FastAPI(title=settings.PROJECT_NAME, openapi_url=f"{settings.API_V1_STR}/openapi.json")
        app.include_router(api_router, prefix=settings.API_V1_STR)
        """,
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    return folder


@pytest.fixture
def seen(tmp_path: Path) -> Callable[..., Findings]:
    """`seen({"main.py": "..."})` looks at a project of these files."""

    def see(files: dict[str, str], named: str = "") -> Findings:
        return look(write(tmp_path, files), named)

    return see


@pytest.fixture
def targets(seen: Callable[..., Findings]) -> Callable[..., list[str]]:
    """The apps of a project of these files, as `asyncapi_app` would name them."""

    def names(files: dict[str, str]) -> list[str]:
        return [app.target for app in seen(files).candidates]

    return names
