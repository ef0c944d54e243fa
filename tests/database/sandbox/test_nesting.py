"""Which transaction may begin inside of which, and what the sandbox says when that shows something else than a pool."""

import asyncio
import contextvars
import gc

import pytest
from sqlalchemy import text

from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.sandbox import RollbackSandbox
from pytest_asyncapi.database.sessions import fresh_session
from pytest_asyncapi.errors import SandboxClosed, SandboxEntangled, SandboxWarning


async def insert(app, email, *, commit=True):
    async with app.Session() as session:
        session.add(app.User(email=email))
        await session.flush()
        await (session.commit() if commit else session.rollback())


async def test_second_session_of_the_same_task(app, sandbox):
    """An audit log that commits on its own, inside of an open transaction that only reads."""
    async with app.Session() as session:
        await session.execute(text("SELECT 1"))
        await insert(app, "ada")
        await session.rollback()

    assert await app.emails() == ["ada"]
    assert sandbox.warnings == []


async def test_children_nest_in_the_transaction_of_their_parent(app, sandbox):
    """A gather inside of an open transaction, and tasks of a group."""
    async with app.Session() as session:
        await session.execute(text("SELECT 1"))
        await asyncio.gather(*(insert(app, f"gather{number}") for number in range(5)))
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(insert(app, f"group{number}"))
        await session.commit()

    assert len(await app.emails()) == 10


async def test_task_that_is_older_than_the_transaction_that_awaits_it(app, sandbox):
    """It descends from nobody, but the holder cannot end before it."""
    go = asyncio.Event()

    async def older():
        await go.wait()
        await insert(app, "older")

    task = asyncio.create_task(older())
    await asyncio.sleep(0)
    async with app.Session() as session:
        await session.execute(text("SELECT 1"))
        go.set()
        await task

    assert await app.emails() == ["older"]


async def test_holder_begins_to_await_one_who_waits_already(app, sandbox, queued):
    """The wait was in vain when it began, and is not any more."""
    async with app.Session() as session:
        session.add(app.User(email="holder"))
        await session.flush()
        stranger = contextvars.Context()  # it descends from nobody
        task = asyncio.get_running_loop().create_task(insert(app, "late"), context=stranger)
        await queued()
        assert not task.done()
        with pytest.warns(SandboxWarning, match="sees its uncommitted rows"):
            await task
        await session.commit()

    assert await app.emails() == ["holder", "late"]


async def test_stranger_waits_for_the_holder(app, sandbox, queued):
    """Somebody who neither descends from the holder nor is awaited by it does not see its rows."""
    order = []
    holds = asyncio.Event()

    async def holder():
        async with app.Session() as session:
            session.add(app.User(email="holder"))
            await session.flush()
            holds.set()
            await queued()
            await session.commit()
            order.append("holder")

    async def stranger():
        await holds.wait()
        order.append(await app.emails())

    await asyncio.gather(holder(), stranger())

    assert order == ["holder", ["holder"]]


async def test_background_task_sees_uncommitted_rows_and_is_warned_of(app, sandbox):
    """FastAPI runs background tasks before a dependency with `yield` commits: on a pool they see nothing yet."""
    async with app.Session() as session:
        session.add(app.User(email="ada"))
        await session.flush()
        with pytest.warns(SandboxWarning, match="sees its uncommitted rows; on separate connections it would not"):
            assert await asyncio.create_task(app.emails()) == ["ada"]
        await session.commit()

    assert len(sandbox.warnings) == 1
    assert "test_nesting.py" in sandbox.warnings[0]


async def test_commit_inside_of_a_transaction_that_rolls_back_is_warned_of(app, sandbox):
    """On a pool the audit row would survive; one connection cannot do that."""
    async with app.Session() as session:
        session.add(app.User(email="order"))
        await session.flush()
        with pytest.warns(SandboxWarning, match="sees its uncommitted rows"):
            await insert(app, "audit")
        await session.rollback()

    with pytest.warns(SandboxWarning, match=r"and with it what 1 other transaction\(s\) had committed"):
        assert await app.emails() == []


async def test_test_session_that_only_read_may_roll_back(app, session):
    """`db_session.rollback()` to look again does not undo what the app has committed meanwhile."""
    assert (await session.execute(text("SELECT email FROM users"))).all() == []
    await insert(app, "ada")
    await session.rollback()
    assert (await session.execute(text("SELECT email FROM users"))).all() == [("ada",)]
    await insert(app, "bob")
    assert (await session.execute(text("SELECT email FROM users ORDER BY email"))).all() == [("ada",), ("bob",)]
    session.add(app.User(email="eve"))
    await session.flush()
    await session.rollback()

    assert await app.emails() == ["ada", "bob"]


async def test_test_session_undoes_commits_on_top_of_its_rows(app, session, sandbox):
    """What the app committed on top of flushed rows goes with them, and somebody who looks is told."""
    session.add(app.User(email="ada"))
    await session.flush()
    await insert(app, "bob")
    await session.rollback()
    assert sandbox.warnings == []

    with pytest.warns(SandboxWarning, match="the test's session .* was rolled back, and with it what 1 other"):
        assert await app.emails() == []


async def test_end_of_a_test_is_no_reason_to_warn(app):
    """The test's session is closed with what the app has committed on top of it; nobody looks any more."""
    async with RollbackSandbox(hooks) as sandbox, fresh_session(sandbox.engine(app.engine)) as session:
        session.add(app.User(email="ada"))
        await session.flush()
        await insert(app, "bob")

    assert sandbox.warnings == []
    assert sandbox.leaks == []


@pytest.mark.filterwarnings("ignore::pytest_asyncapi.errors.SandboxWarning")
async def test_two_sessions_of_one_task_write_by_turns(app, sandbox):
    """They cannot wait for each other; in the end all is committed."""
    async with app.Session() as first, app.Session() as second:
        first.add(app.User(email="first"))
        await first.flush()
        second.add(app.User(email="second"))
        await second.flush()
        first.add(app.User(email="first again"))
        await first.flush()
        await first.commit()
        second.add(app.User(email="second again"))
        await second.commit()

    assert await app.emails() == ["first", "first again", "second", "second again"]


@pytest.mark.filterwarnings("ignore::pytest_asyncapi.errors.SandboxWarning")
async def test_earlier_session_cannot_roll_back_under_a_later_one(app, sandbox):
    """That is an error, and not a row too much or too little."""
    first, second = app.Session(), app.Session()
    first.add(app.User(email="first"))
    await first.flush()
    second.add(app.User(email="second"))
    await second.flush()
    with pytest.raises(
        SandboxEntangled, match="wants to roll back its writes\nwhile a later transaction of the same task"
    ):
        await first.rollback()
    await second.commit()
    await first.close()
    await second.close()

    assert (
        await app.emails() == []
    )  # the earlier one is undone, when the later one has ended, with what is inside of it


@pytest.mark.filterwarnings("ignore::pytest_asyncapi.errors.SandboxWarning")
async def test_later_session_that_takes_rows_of_the_earlier_one_with_it(app, sandbox):
    first, second = app.Session(), app.Session()
    first.add(app.User(email="first"))
    await first.flush()
    second.add(app.User(email="second"))
    await second.flush()
    first.add(app.User(email="first again"))
    await first.flush()
    with pytest.raises(SandboxEntangled, match=r"and with it 1 statement\(s\) that an earlier transaction"):
        await second.rollback()
    await first.commit()
    await first.close()
    await second.close()

    assert await app.emails() == ["first"]


async def test_session_left_open_is_named(app):
    """With its label, where it began, and its last statement."""
    async with RollbackSandbox(hooks) as sandbox:
        session = app.Session()
        session.add(app.User(email="ada"))
        await session.flush()

    (leak,) = sandbox.leaks
    assert "SQLAlchemy connection in task" in str(leak)
    assert "test_nesting.py" in str(leak)
    assert "in test_session_left_open_is_named" in str(leak)
    assert "INSERT INTO users" in str(leak)
    session.add(app.User(email="bob"))
    with pytest.raises(SandboxClosed, match="after the test that it belongs to has ended"):
        await session.flush()
    await session.close()


async def test_session_that_was_dropped_is_rolled_back(app, sandbox, rolled_back):
    """The garbage collector takes it; others go on, and its rows are gone."""
    if app.name == "memory":
        pytest.skip("SQLAlchemy's own StaticPool keeps it")

    async def careless():
        session = app.Session()
        session.add(app.User(email="lost"))
        await session.flush()

    await asyncio.create_task(careless())
    with pytest.warns(Warning, match="non-checked-in connection"):
        gc.collect()
    await rolled_back(sandbox)
    await insert(app, "ada")

    assert await app.emails() == ["ada"]


async def test_transaction_of_a_task_that_has_ended_lets_others_in(app, sandbox):
    """A fixture's session that was only flushed: nobody could ever end it for those who wait."""
    session = app.Session()

    async def fixture():
        session.add(app.User(email="seed"))
        await session.flush()

    await asyncio.create_task(fixture())
    with pytest.warns(SandboxWarning, match="uncommitted rows"):
        assert await asyncio.create_task(app.emails()) == ["seed"]
    await session.close()

    assert await app.emails() == []


async def test_savepoint_of_the_test(app, session, sandbox):
    """All that is done in the block is undone: of the test and of the app, committed or not."""
    session.add(app.User(email="ada"))
    await session.flush()
    async with sandbox.savepoint():
        await insert(app, "bob")
        session.add(app.User(email="eve"))
        await session.commit()
        assert await app.emails() == ["ada", "bob", "eve"]
    session.expire_all()

    assert await app.emails() == ["ada"]
    await insert(app, "bob")
    assert await app.emails() == ["ada", "bob"]


async def test_savepoint_before_anything_else(app, sandbox):
    """Also when the app has not connected yet."""
    async with sandbox.savepoint():
        await insert(app, "bob")
    assert await app.emails() == []


async def test_session_that_began_in_a_savepoint_goes_on(app, session, sandbox):
    await insert(app, "ada")
    async with sandbox.savepoint():
        session.add(app.User(email="eve"))
        await session.flush()
    session.expunge_all()
    assert await app.emails() == ["ada"]
    session.add(app.User(email="bob"))
    await session.commit()

    assert await app.emails() == ["ada", "bob"]


@pytest.mark.filterwarnings("ignore::pytest_asyncapi.errors.SandboxWarning")
async def test_savepoint_of_a_session_that_only_read_outlives_a_commit_over_it(app, sandbox):
    """A transaction that has only read is begun anew over what others commit, unless it has savepoints of its own."""
    async with app.Session() as session:
        async with session.begin_nested():
            assert (await session.execute(text("SELECT count(*) FROM users"))).scalar() == 0
            await insert(app, "ada")
            assert (await session.execute(text("SELECT count(*) FROM users"))).scalar() == 1
        await session.commit()

    assert await app.emails() == ["ada"]


async def test_transaction_that_only_read_holds_nobody_up(app, sandbox):
    """A session that has read and now waits for something else: strangers begin, write and commit, as on a pool."""
    done = asyncio.Event()

    async def reader():
        async with app.Session() as session:
            before = (await session.execute(text("SELECT count(*) FROM users"))).scalar()
            await done.wait()
            after = (await session.execute(text("SELECT count(*) FROM users"))).scalar()
            await session.rollback()
            return before, after

    async def writer():
        await asyncio.sleep(0)
        await asyncio.gather(*(insert(app, f"user{number}") for number in range(5)))
        done.set()

    reading = asyncio.get_running_loop().create_task(reader(), context=contextvars.Context())
    await asyncio.get_running_loop().create_task(writer(), context=contextvars.Context())

    assert await reading == (0, 5)
    assert len(await app.emails()) == 5
    assert sandbox.warnings == []


async def test_lost_update_is_lost_as_on_a_pool(app, sandbox):
    """Two that read, and then write what they have read: the second write wins, and the test shows it."""
    await app.request("0")
    both = asyncio.Barrier(2)

    async def increment():
        async with app.Session() as session:
            value = int((await session.execute(text("SELECT email FROM users"))).scalar())
            await both.wait()
            await session.execute(text("UPDATE users SET email = :value"), {"value": str(value + 1)})
            await session.commit()

    strangers = [asyncio.get_running_loop().create_task(increment(), context=contextvars.Context()) for _ in range(2)]
    await asyncio.gather(*strangers)

    assert await app.emails() == ["1"]
