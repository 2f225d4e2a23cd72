-- Statements for ClickHouse, in which {name} stands for a checked name. An insert has returned when its part is flushed, and a
-- merge is flushed before the parts that it replaces are deleted.
-- name: create
CREATE TABLE IF NOT EXISTS {name} ({columns}) ENGINE = ReplacingMergeTree ORDER BY ({sorting})
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1,
  min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1;

-- name: insert
INSERT INTO {name} ({columns});

-- A view with a name in it: of two services that come at once, one makes it.
-- name: claim
CREATE VIEW IF NOT EXISTS skerry_owner AS SELECT {owner} AS name;

-- name: owner
SELECT name FROM skerry_owner;

-- name: columns
SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = ? ORDER BY position;

-- name: table
SELECT engine, sorting_key FROM system.tables WHERE database = currentDatabase() AND name = ?;
