-- One table for a collection; `{table}`, `{index}` and expressions in braces are put in by `skerry.store.documents.sql`, from
-- names that were checked. Ids and texts compare by code point on every engine.
-- name: create_table
CREATE TABLE {table} (
  id       TEXT NOT NULL PRIMARY KEY,
  version  INTEGER NOT NULL,
  document TEXT NOT NULL
) STRICT;

-- name: create_table (postgresql)
CREATE TABLE {table} (
  id       TEXT COLLATE "C" PRIMARY KEY,
  version  BIGINT NOT NULL,
  document JSONB NOT NULL
);

-- name: create_index
CREATE INDEX {index} ON {table} ({columns}, id);

-- name: create_unique
CREATE UNIQUE INDEX {index} ON {table} ({columns});

-- name: has
SELECT 1 FROM sqlite_master WHERE name = ?;

-- Not to_regclass: that may remember that there was none, beyond the lock that was waited for.
-- name: has (postgresql)
SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relname = ?;

-- name: get
SELECT id, version, document FROM {table} WHERE id = ?;

-- name: get (postgresql)
SELECT id, version, document::text FROM {table} WHERE id = ?;

-- name: insert
INSERT INTO {table} (id, version, document) VALUES (?2, 1, ?1) ON CONFLICT (id) DO NOTHING;

-- name: insert (postgresql)
INSERT INTO {table} (id, version, document) VALUES (?2, 1, ?1::jsonb) ON CONFLICT (id) DO NOTHING;

-- name: replace
UPDATE {table} SET version = version + 1, document = ?1 WHERE id = ?2 AND version = ?3;

-- name: replace (postgresql)
UPDATE {table} SET version = version + 1, document = ?1::jsonb WHERE id = ?2 AND version = ?3;

-- name: put
INSERT INTO {table} (id, version, document) VALUES (?2, 1, ?1)
ON CONFLICT (id) DO UPDATE SET version = {table}.version + 1, document = excluded.document;

-- name: put (postgresql)
INSERT INTO {table} (id, version, document) VALUES (?2, 1, ?1::jsonb)
ON CONFLICT (id) DO UPDATE SET version = {table}.version + 1, document = excluded.document;

-- name: delete
DELETE FROM {table} WHERE id = ?;

-- name: delete_version
DELETE FROM {table} WHERE id = ? AND version = ?;

-- name: find
SELECT id, version, document FROM {table} WHERE {conditions} ORDER BY {order} LIMIT ?;

-- name: find (postgresql)
SELECT id, version, document::text FROM {table} WHERE {conditions} ORDER BY {order} LIMIT ?;

-- name: count
SELECT count(*) FROM {table} WHERE {conditions};
