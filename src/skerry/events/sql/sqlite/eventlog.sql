-- name: create_log
CREATE TABLE log (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  id       TEXT NOT NULL UNIQUE,
  type     TEXT NOT NULL,
  key      TEXT NOT NULL,
  body     TEXT NOT NULL,
  crc      INTEGER NOT NULL
) STRICT;

-- name: create_meta
CREATE TABLE meta (first INTEGER NOT NULL, epoch TEXT NOT NULL) STRICT;

-- name: begin_segment
INSERT INTO meta (first, epoch) VALUES (?, ?);

-- name: begin_offsets
INSERT INTO sqlite_sequence (name, seq) VALUES ('log', ?);

-- name: append
INSERT INTO log (id, type, key, body, crc) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING;

-- As bytes: a row that somebody else has written may hold what is no text.
-- name: read
SELECT position, CAST(id AS BLOB), CAST(type AS BLOB), CAST(key AS BLOB), CAST(body AS BLOB), crc FROM log WHERE position > ? ORDER BY position LIMIT ?;

-- name: span
SELECT first, coalesce((SELECT max(position) FROM log), first - 1), epoch FROM meta;
