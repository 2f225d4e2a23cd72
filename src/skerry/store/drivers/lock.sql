-- SQLite has one writer: whoever writes is alone until the transaction ends. This writes nothing, but as the writer.
-- name: lock
DELETE FROM skerry_migrations WHERE 0 AND component = ?;

-- name: lock (postgresql)
SELECT pg_advisory_xact_lock(hashtextextended(?, 0));
