"""What is particular to SQLAlchemy: sessions that begin by themselves, savepoints, transactions around a session."""

import asyncio
import gc
import sqlite3
import weakref
from contextlib import closing
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from skerry.errors import ConfigurationError, NoTransaction
from skerry.store import adapt, adapt_sync

INSERT = "INSERT INTO t VALUES (?)"


class Model(DeclarativeBase):
    pass


class Number(Model):
    __tablename__ = "t"
    n: Mapped[int] = mapped_column(primary_key=True)


class OwnSession(Session):
    """As people derive it."""


@pytest.fixture
def engine(tmp_path):
    found = sa.create_engine(f"sqlite:///{tmp_path / 'order.db'}", poolclass=sa.NullPool)
    Model.metadata.create_all(found)
    yield found
    found.dispose()


@pytest.fixture
def look(tmp_path):
    """The committed numbers."""

    def numbers():
        with closing(sqlite3.connect(tmp_path / "order.db")) as connection:
            return [row[0] for row in connection.execute("SELECT n FROM t ORDER BY n")]

    return numbers


def test_a_session_that_began_by_itself_is_open(engine, look):
    """The user's own first statement or object begins, and the user commits; before it nothing is open."""
    with OwnSession(engine) as session:
        with pytest.raises(NoTransaction, match="begin"):
            adapt_sync(session)
        assert not session.in_transaction()
        session.add(Number(n=1))
        adapt_sync(session).execute(INSERT, (2,))
        assert session.new, "nothing is flushed for it"
        session.commit()
    assert look() == [1, 2]


def test_another_transaction_of_the_session_is_not_the_same(engine, look):
    """An adapter belongs to one transaction: it does not go on in the next, begun by the session after a commit."""
    called = []
    with Session(engine) as session:
        session.begin()
        tx = adapt_sync(session)
        tx.execute(INSERT, (1,))
        session.commit()
        session.begin()
        with pytest.raises(NoTransaction, match="has ended"):
            tx.execute(INSERT, (2,))
        with pytest.raises(NoTransaction, match="has ended"):
            tx.on_commit(lambda: called.append(1))
        session.commit()
    assert (look(), called) == ([1], [])


def test_a_failed_session_is_refused(engine, look):
    """After a flush that failed inside a savepoint nothing can be written before the roll-back; it says so."""
    with Session(engine) as session:
        session.add(Number(n=1))
        session.commit()
        session.begin()
        session.begin_nested()
        session.add(Number(n=1))
        with pytest.raises(IntegrityError):
            session.flush()
        with pytest.raises(NoTransaction, match="failed"):
            adapt_sync(session)
    assert look() == [1]


@pytest.mark.parametrize("mode", ["engine", "connection"])
def test_a_connection_that_commits_each_statement_is_refused(engine, look, mode):
    """SQLAlchemy calls it a transaction, but in AUTOCOMMIT mode it is none."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection, connection.begin():
        holder = connection if mode == "connection" else Session(connection)
        if mode == "engine":
            holder.begin()
        with pytest.raises(NoTransaction, match="AUTOCOMMIT"):
            adapt_sync(holder).execute(INSERT, (1,))
        if mode == "engine":
            holder.close()
    assert look() == []


def test_transactions_begun_by_events_are_open(engine, look):
    """SQLAlchemy's own recipe for SQLite turns the driver's transactions off and begins by an event."""

    @sa.event.listens_for(engine, "connect")
    def connected(raw, record):
        raw.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begun(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    called = []
    with Session(engine) as session, session.begin():
        with session.begin_nested():
            adapt_sync(session).execute(INSERT, (1,))
            adapt_sync(session).on_commit(lambda: called.append(1))
        assert look() == called == []
    assert look() == called == [1]


def test_callbacks_follow_savepoints(engine):
    """A callback counts when every savepoint around it was kept, and its transaction committed."""
    called = []

    def note(session, name):
        adapt_sync(session).on_commit(lambda: called.append(name))

    with Session(engine) as session:
        with session.begin():
            note(session, "outer")
            with session.begin_nested() as lost:
                with session.begin_nested():
                    note(session, "kept in what was lost")
                lost.rollback()
            with session.begin_nested(), session.begin_nested():
                note(session, "kept in what was kept")
                session.flush()
            assert called == []
        assert called == ["outer", "kept in what was kept"]
        with session.begin():
            pass
        assert len(called) == 2
        session.begin()
        session.begin_nested()
        note(session, "rolled back at once")
        session.rollback()
        session.rollback()
        session.begin()
        note(session, "closed")
        session.close()
        session.begin()
        session.begin_nested()
        note(session, "committed at once")
        session.commit()
        session.commit()
    assert called[2:] == ["committed at once"]


def test_a_session_inside_another_transaction_does_not_call(engine, look):
    """Where a session joins the transaction of a connection, as in tests, its own commit makes nothing durable."""
    for mode in ("conditional_savepoint", "create_savepoint", "rollback_only"):
        called = []
        with engine.connect() as connection:
            outer = connection.begin()
            connection.execute(sa.insert(Number).values(n=9))  # sqlite3 begins at the first change only
            with Session(connection, join_transaction_mode=mode) as session:
                session.begin()
                tx = adapt_sync(session)
                tx.execute(INSERT, (1,))
                tx.on_commit(lambda called=called: called.append(1))
                session.commit()
            outer.rollback()
        assert (called, look()) == ([], [])


def test_sessions_carry_one_listener_and_go(engine):
    """A session used for many transactions hears each once, and nothing keeps it alive afterwards."""
    called = []
    session = Session(engine)
    for number in range(20):
        with session.begin():
            adapt_sync(session).on_commit(lambda number=number: called.append(number))
    assert called == list(range(20))
    assert len(list(session.dispatch.after_commit)) == 1
    gone = weakref.ref(session)
    session.close()
    del session
    gc.collect()
    assert gone() is None


def test_scoped_sessions_are_taken(engine, look):
    """Of either kind: what a registry hands out to this thread or task."""
    session = scoped_session(sessionmaker(engine))
    with pytest.raises(NoTransaction):
        adapt_sync(session)
    with session.begin():
        adapt_sync(session).execute(INSERT, (1,))
    session.remove()

    async def main():
        engine_ = create_async_engine(str(engine.url).replace("sqlite:", "sqlite+aiosqlite:"), poolclass=sa.NullPool)
        scoped = async_scoped_session(async_sessionmaker(engine_), scopefunc=asyncio.current_task)
        called = []
        async with scoped.begin():
            tx = adapt(scoped)
            await tx.execute(INSERT, (2,))
            tx.on_commit(lambda: called.append(asyncio.get_running_loop()))
        assert called == [asyncio.get_running_loop()]
        await scoped.remove()
        connection = engine_.connect()
        with pytest.raises(NoTransaction, match="not open"):
            adapt(connection)
        async with AsyncSession(engine_) as plain:
            with pytest.raises(NoTransaction):
                adapt(plain)
        await engine_.dispose()

    asyncio.run(main())
    assert look() == [1, 2]


def test_another_database_is_refused_by_name():
    """Where skerry's tables cannot live, it says where they can."""
    driver = SimpleNamespace(paramstyle="format", Error=Exception, version_info=(2, 0))
    engine = sa.create_engine("mysql+mysqldb://host/db", module=driver)
    with Session(engine) as session, session.begin(), pytest.raises(ConfigurationError, match=r"'mysql'.*'sqlite'"):
        adapt_sync(session)


def test_what_is_no_transaction_is_refused_by_name(engine):
    """An engine, a session's maker or a result is a TypeError that says what to give."""
    for thing in (engine, sessionmaker(engine), create_async_engine("sqlite+aiosqlite://")):
        with pytest.raises(TypeError, match=r"sqlalchemy\.\S+ is no transaction; give"):
            adapt_sync(thing)
        with pytest.raises(TypeError, match="is no transaction"):
            adapt(thing)
