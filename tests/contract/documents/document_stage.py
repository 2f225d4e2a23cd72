"""The stage of the contract tests, and the engines it is built on."""

from __future__ import annotations

from contextlib import AsyncExitStack

from skerry.store.documents import Documents

ENGINES = ["sqlite", "postgresql", "mongo-wire", "mongomock"]


class Stage:
    """One or more open handles on one new database, as several processes of a service have them."""

    def __init__(self, open_store, closing: AsyncExitStack) -> None:
        self._open_store = open_store
        self._closing = closing
        self.stores = []

    @property
    def store(self):
        return self.stores[0]

    async def another(self, owner="product"):
        """A further handle on the same database."""
        store = self._open_store(owner)
        await store.open()
        self._closing.push_async_callback(store.close)
        self.stores.append(store)
        return store

    async def documents(self, model=dict, *, name="things", key="id", indexes=(), store=None):
        documents = Documents(store or self.store, name, model, key=key, indexes=indexes)
        await documents.prepare()
        return documents

    async def fill(self, documents, *bodies):
        """One unit of work for each."""
        for body in bodies:
            async with self.store.transaction() as tx:
                await documents.insert(tx, body)
