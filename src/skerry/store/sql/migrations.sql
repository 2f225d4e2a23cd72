-- name: has_table
SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'skerry_migrations';

-- name: has_table (postgresql)
SELECT 1 WHERE to_regclass('skerry_migrations') IS NOT NULL;

-- name: create
CREATE TABLE IF NOT EXISTS skerry_migrations (
  component TEXT NOT NULL, version TEXT NOT NULL, checksum TEXT NOT NULL, applied_at REAL NOT NULL,
  PRIMARY KEY (component, version)
) STRICT;

-- name: create (postgresql)
CREATE TABLE IF NOT EXISTS skerry_migrations (
  component TEXT NOT NULL, version TEXT NOT NULL, checksum TEXT NOT NULL, applied_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (component, version)
);

-- name: applied
SELECT version, checksum, applied_at FROM skerry_migrations WHERE component = ?;

-- name: find
SELECT 1 FROM skerry_migrations WHERE component = ? AND version = ?;

-- name: insert
INSERT INTO skerry_migrations VALUES (?, ?, ?, ?);

-- name: forget
DELETE FROM skerry_migrations WHERE component = ? AND version = ?;

-- name: patience (postgresql)
SELECT set_config('lock_timeout', ?, true);

-- name: index_state (postgresql)
SELECT indisvalid AS is_valid,
  (SELECT pid FROM pg_stat_progress_create_index WHERE index_relid = indexrelid LIMIT 1) AS builder
FROM pg_index WHERE indexrelid = to_regclass(?);
