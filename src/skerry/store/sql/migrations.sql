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

-- name: find
SELECT checksum FROM skerry_migrations WHERE component = ? AND version = ?;

-- name: insert
INSERT INTO skerry_migrations VALUES (?, ?, ?, ?);
