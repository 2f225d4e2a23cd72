"""Real servers for tests: on free ports, in folders of their own, killed with SIGKILL and started again on the same data.

    with PostgresServer(tmp_path) as server:
        database = await asyncpg.connect(server.url())

All calls block; none is for an event loop that something else waits for. To import this package, a conftest puts the folder
`tests` on `sys.path`.
"""
