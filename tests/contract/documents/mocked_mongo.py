"""MongoDB in memory, by mongomock, behind the asynchronous face that the driver has.

mongomock knows the operators, also those that the server on the wire has wrong; it knows nothing of connections and time-outs.
"""

from __future__ import annotations

import mongomock


class Client:
    """As much of `AsyncMongoClient` as the adapter uses. Clients of one `mongomock.MongoClient` see the same documents.

    `before` and `after` are awaited around each call, with the name of its method: a slow line, or none.
    """

    def __init__(self, memory: mongomock.MongoClient) -> None:
        self._memory = memory
        self.before = self.after = nothing
        self.admin = Database(self, memory["admin"])

    def get_database(self, name, **_):
        return Database(self, self._memory[name])

    __getitem__ = get_database

    async def list_database_names(self):
        return self._memory.list_database_names()

    async def close(self):
        """The memory stays with the others that use it."""


async def nothing(_method):
    """The line is quick."""


class Database:
    def __init__(self, client, database):
        self._client = client
        self._database = database

    async def command(self, name):
        assert name in {"hello", "ping"}
        await self._client.before(name)
        return {"ok": 1}

    def __getitem__(self, name):
        return Collection(self._client, self._database[name])


class Collection:
    def __init__(self, client, collection):
        self._client = client
        self._collection = collection

    def find(self, *arguments):
        return Cursor(self._client, self._collection.find(*arguments))

    async def aggregate(self, *arguments):
        return Cursor(self._client, self._collection.aggregate(*arguments))

    def __getattr__(self, name):
        method = getattr(self._collection, name)

        async def call(*arguments, **options):
            await self._client.before(name)
            answer = method(*arguments, **options)
            await self._client.after(name)
            return answer

        return call


class Cursor:
    def __init__(self, client, cursor):
        self._client = client
        self._cursor = cursor

    def sort(self, order):
        return Cursor(self._client, self._cursor.sort(order))

    def limit(self, count):
        return Cursor(self._client, self._cursor.limit(count))

    async def close(self):
        self._cursor.close()

    async def __aiter__(self):
        await self._client.before("find")
        for document in self._cursor:
            yield document
