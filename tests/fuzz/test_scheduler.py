"""The scheduler of the one connection: tasks that begin, write, wait, commit and roll back in any order leave the rows
of those that committed, as connections of their own would, whichever of them are cancelled meanwhile."""

import asyncio
import sqlite3

from hypothesis import example, given
from hypothesis import strategies as st

from pytest_asyncapi.database.frames import Member
from pytest_asyncapi.database.scheduler import Scheduler
from pytest_asyncapi.database.statements import Kind

STEPS = st.lists(st.sampled_from(["write", "read", "yield", "yield twice"]), max_size=5)
TRANSACTIONS = st.lists(st.tuples(STEPS, st.sampled_from(["commit", "commit", "rollback"])), min_size=1, max_size=3)
TASKS = st.lists(st.tuples(TRANSACTIONS, st.one_of(st.none(), st.integers(0, 12))), min_size=1, max_size=6)


class Link:
    """A connection that yields to the loop inside of every statement, and bears no second one meanwhile."""

    name = "fuzz"
    driver = "sqlite3"
    exclusive = False
    deferrable = False
    alive = True

    def __init__(self):
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.database.execute("CREATE TABLE rows (name TEXT)")
        self.busy = False
        self.overlaps = 0

    async def run(self, *statements):
        self.overlaps += self.busy
        self.busy = True
        try:
            for statement in statements:
                await asyncio.sleep(0)
                self.database.execute(statement)
        finally:
            self.busy = False

    control = run

    def is_aborted(self, error):
        return False

    async def check_deferred(self):
        pass

    async def close(self):
        self.database.close()

    def kill(self):
        self.alive = False

    def rows(self):
        return sorted(name for (name,) in self.database.execute("SELECT name FROM rows"))


async def work(scheduler, number, transactions, committed):
    for count, (steps, end) in enumerate(transactions):
        member = Member(scheduler, f"connection {number}")
        written = []
        try:
            await scheduler.begin(member)
            for place, step in enumerate(steps):
                if step.startswith("yield"):
                    await asyncio.sleep(0)
                    if step == "yield twice":
                        await asyncio.sleep(0)
                    continue
                name = f"{number}.{count}.{place}"
                sql = f"INSERT INTO rows VALUES ('{name}')" if step == "write" else "SELECT * FROM rows"
                async with scheduler.turn(member, sql, Kind.WRITE if step == "write" else Kind.READ):
                    await scheduler.link.run(sql)
                if step == "write":
                    written.append(name)
            before = member.frame
            await (scheduler.commit(member) if end == "commit" else scheduler.rollback(member))
            assert before is not None
            if end == "commit":
                committed += written
        except BaseException:
            scheduler.abandon(member)  # as a pool does with a connection that failed
            raise


async def run(tasks):
    link = Link()
    warned = []
    scheduler = Scheduler(link, lock_timeout=5, warn=warned.append)
    committed = []
    started = [
        asyncio.create_task(work(scheduler, number, transactions, committed))
        for number, (transactions, _) in enumerate(tasks)
    ]
    for turn in range(14):
        for task, (_, cancelled_at) in zip(started, tasks, strict=True):
            if cancelled_at == turn:
                task.cancel()
        await asyncio.sleep(0)
    results = await asyncio.gather(*started, return_exceptions=True)
    while asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.sleep(0)
    rows = link.rows()
    leaked = await scheduler.close()
    empty = link.rows()
    await link.close()
    return link, results, committed, rows, leaked, empty


READ, COMMIT = ["read", "read"], "commit"


@given(TASKS)
# rows committed over two transactions that have only read, of which the upper reads on and the lower is rolled back
@example(
    [
        ([([], COMMIT), ([], COMMIT), (READ, COMMIT)], None),
        ([(["read"], COMMIT), (["read", "yield", "yield", "yield twice", "yield twice"], "rollback")], None),
        ([([], COMMIT), ([], COMMIT), (["write"], COMMIT)], None),
    ]
)
def test_what_was_committed_is_there_and_nothing_else(tasks):
    quiet = [(transactions, None) for transactions, _ in tasks]

    link, results, committed, rows, leaked, empty = asyncio.run(run(quiet))

    assert [result for result in results if result is not None] == []
    assert rows == sorted(committed)
    assert (link.overlaps, leaked, empty) == (0, [], [])


@given(TASKS)
def test_a_cancellation_takes_only_its_own_transaction(tasks):
    link, results, committed, rows, leaked, empty = asyncio.run(run(tasks))

    errors = [each for each in results if each is not None and not isinstance(each, asyncio.CancelledError)]
    assert errors == []
    assert set(committed) <= set(rows)  # a cancelled COMMIT may have been carried out
    possible = {f"{number}.{count}" for number, (transactions, at) in enumerate(tasks) if at is not None
                for count, (_, end) in enumerate(transactions) if end == "commit"}  # fmt: skip
    assert {name.rpartition(".")[0] for name in set(rows) - set(committed)} <= possible
    assert (link.overlaps, leaked, empty) == (0, [], [])
