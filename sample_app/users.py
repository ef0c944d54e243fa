"""Users by SQLAlchemy's asynchronous session.

The endpoints never commit: the session's dependency does. They flush where they need the database's verdict.
"""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, status
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from sample_app.database import Session
from sample_app.models import User

router = APIRouter(tags=["users"])

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Email = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
]


class NewUser(BaseModel):
    """What a caller may choose."""

    name: Name
    email: Email


class UserOut(BaseModel):
    """What a caller sees."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    email: str


@router.post("/users", status_code=status.HTTP_201_CREATED, response_model=UserOut)
async def create_user(new: NewUser, session: Session) -> User:
    """Add a user; 409 when the address is taken.

    The unique constraint decides. To look the address up first would leave a gap in which two requests find it free.
    """
    user = User(name=new.name, email=new.email)
    session.add(user)
    try:
        await session.flush()
    except IntegrityError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, "this e-mail address is taken") from error
    return user


@router.get("/users", response_model=list[UserOut])
async def list_users(
    session: Session,
    after: Annotated[int, Query(ge=0, description="the last id of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> list[User]:
    """A page of users in the order of their ids.

    Pages are cut by id, not by offset: they stay cheap far into the table, and a new row shifts nothing.
    """
    page = select(User).where(User.id > after).order_by(User.id).limit(limit)
    return list(await session.scalars(page))


@router.get("/users/{user_id}", response_model=UserOut)
async def get_user(user_id: int, session: Session) -> User:
    """One user, or 404."""
    user = await session.get(User, user_id)
    if user is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "user not found")
    return user
