-- The number of the last event of each key. It counts on without gaps while the key is used; see `record`.
CREATE TABLE skerry_sequences (key TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- 0 where code before this wrote the row. An event with a time is delayed: it leaves its place in the order of its key.
ALTER TABLE skerry_outbox ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE skerry_outbox ADD COLUMN due_at REAL;
CREATE UNIQUE INDEX skerry_outbox_by_sequence ON skerry_outbox (key, sequence) WHERE sequence > 0;
CREATE INDEX skerry_outbox_by_due ON skerry_outbox (due_at) WHERE due_at IS NOT NULL;
